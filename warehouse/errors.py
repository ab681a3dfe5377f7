"""What can go wrong with a warehouse."""

from __future__ import annotations


class WarehouseError(Exception):
    """The warehouse cannot be opened or used; the message says why and what to do."""


class QueryError(WarehouseError):
    """The SQL cannot be run, or its result not written."""
