"""The DuckDB warehouse: facts in tables, placement under the roofs in views.

>>> import ridgeline
>>> connection = ridgeline.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> connection.sql("SELECT name, outcome FROM runs")  # doctest: +SKIP

``polars.DataFrame(answer)`` makes a frame of an answer without a copy. With pyarrow, which Ridgeline does not need,
``answer.pl()`` does the same and ``answer.to_arrow_table()`` gives an Arrow table.
"""

from typing import TYPE_CHECKING, Any

from ridgeline.warehouse.errors import QueryError, SelectionError, StorageError, WarehouseError

if TYPE_CHECKING:
    from ridgeline.warehouse.database import SCHEMA_VERSION, connect
    from ridgeline.warehouse.rollups import refresh
    from ridgeline.warehouse.views import materialize

__all__ = [
    "SCHEMA_VERSION",
    "QueryError",
    "SelectionError",
    "StorageError",
    "WarehouseError",
    "connect",
    "materialize",
    "refresh",
]

_MODULES = {"SCHEMA_VERSION": "database", "connect": "database", "materialize": "views", "refresh": "rollups"}


def __getattr__(name: str) -> Any:
    """Import DuckDB with the first use of a name that needs it: importing the package and its errors stays cheap."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ridgeline.warehouse.{_MODULES[name]}"), name)
