"""Errors of the warehouse. Each message is one line: what was found, what was expected, what to do next."""

from __future__ import annotations

from ridgeline.errors import RidgelineError


class WarehouseError(RidgelineError):
    """The warehouse or lake cannot be opened or used."""


class QueryError(WarehouseError):
    """The SQL cannot be run, or its result cannot be written."""


class SelectionError(WarehouseError):
    """A named run does not exist, or the name is ambiguous."""


class StorageError(WarehouseError):
    """The file cannot be written: the disk is full or the place read-only."""
