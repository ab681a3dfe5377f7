"""The DuckDB warehouse: facts in tables, placement in views.

>>> import ridgeline
>>> connection = ridgeline.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> connection.sql("SELECT name, outcome FROM runs")  # doctest: +SKIP

An answer becomes a polars frame by ``polars.DataFrame(answer)``, without a copy. With pyarrow, which Ridgeline itself
does not need, ``answer.pl()`` is the same and ``answer.to_arrow_table()`` an Arrow table.
"""

from typing import TYPE_CHECKING, Any

from ridgeline.warehouse.errors import QueryError, SelectionError, StorageError, WarehouseError

if TYPE_CHECKING:
    from ridgeline.warehouse.database import SCHEMA_VERSION, connect, hold
    from ridgeline.warehouse.rollups import refresh

__all__ = [
    "SCHEMA_VERSION",
    "QueryError",
    "SelectionError",
    "StorageError",
    "WarehouseError",
    "connect",
    "hold",
    "refresh",
]

_MODULES = {"SCHEMA_VERSION": "database", "connect": "database", "hold": "database", "refresh": "rollups"}


def __getattr__(name: str) -> Any:
    """DuckDB is imported with the first use of what needs it, so that importing the package is cheap."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ridgeline.warehouse.{_MODULES[name]}"), name)
