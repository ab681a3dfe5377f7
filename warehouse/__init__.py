"""The DuckDB warehouse: facts in tables, placement in views.

>>> import warehouse
>>> connection = warehouse.connect("ridgeline.duckdb")  # doctest: +SKIP
>>> connection.sql("SELECT name, outcome FROM runs")  # doctest: +SKIP
"""

from warehouse.database import SCHEMA_VERSION, connect, hold
from warehouse.errors import QueryError, WarehouseError
from warehouse.rollups import refresh

__all__ = ["SCHEMA_VERSION", "QueryError", "WarehouseError", "connect", "hold", "refresh"]
