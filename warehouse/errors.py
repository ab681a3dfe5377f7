"""What can go wrong with a warehouse."""

from __future__ import annotations


class WarehouseError(Exception):
    """The warehouse cannot be opened or used; the message says why and what to do."""


class QueryError(WarehouseError):
    """The SQL cannot be run, or its result not written."""


class SelectionError(WarehouseError):
    """A run that was named is unknown or ambiguous."""


class StorageError(WarehouseError):
    """The warehouse's file cannot be written: a full disk, a read-only place."""
