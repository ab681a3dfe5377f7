"""The warehouse's views in Apache Spark, over a lake: the one set of ``.sql`` files, transpiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import sqlglot
from sqlglot import exp

from ridgeline.warehouse import datasheets
from ridgeline.warehouse.database import SCHEMA_VERSION, view_files
from ridgeline.warehouse.lake import SHARED_TABLE, Commit, Lake, newest_signatures, snapshot, table_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def views(session: SparkSession, location: str | Path) -> list[str]:
    """Register the tables of a lake, as it is now, and the views over them in the session; the views' names.

    The lake must be where the driver and the executors reach it by the same path or URL. Raises ``WarehouseError`` if
    there is no lake.
    """
    lake = Lake(location)
    connection = duckdb.connect(":memory:")
    try:
        found = snapshot(connection, lake)
        runs = connection.execute("SELECT * FROM runs").fetchall()
    finally:
        connection.close()
    columns = table_columns()
    session.createDataFrame(runs, _schema(columns["runs"])).createOrReplaceTempView("runs")
    for table in columns:
        if table != "runs":
            _table(session, lake, found, table).createOrReplaceTempView(table)
    version = f"SELECT CAST({SCHEMA_VERSION} AS INT) AS version, CAST(NULL AS TIMESTAMP) AS created_at"
    session.sql(version).createOrReplaceTempView("schema_version")
    names = []
    for name, query in view_queries():
        session.sql(query).createOrReplaceTempView(name)
        names.append(name)
    return names


def view_queries() -> Iterator[tuple[str, str]]:
    """Every view's name and its query in Spark's SQL, each after those it asks."""
    for file in view_files():
        for statement in sqlglot.parse(file.read_text(), dialect="duckdb"):
            if isinstance(statement, exp.Create):
                yield statement.this.name, statement.expression.transform(_portable).sql("spark")


def _portable(node: exp.Expression) -> exp.Expression:
    """What sqlglot writes for Spark in a form that Spark does not read."""
    if isinstance(node, exp.PercentileCont) and node.expression:  # QUANTILE_CONT(x, q)
        return exp.Quantile(this=node.this, quantile=node.expression)
    return node


def _table(session: SparkSession, lake: Lake, found: list[Commit], table: str) -> DataFrame:
    """The rows of a table over the whole lake."""
    schema = _schema(table_columns()[table])
    files = [_address(lake, commit.file(table)) for commit in found if commit.rows.get(table)]
    rows = session.read.schema(schema).parquet(*files) if files else session.createDataFrame([], schema)
    if table == "ceilings":
        return rows.unionAll(session.createDataFrame(list(datasheets.ceiling_rows()), schema))
    if table == SHARED_TABLE:
        rows.createOrReplaceTempView("lake_signatures")
        return session.sql(sqlglot.transpile(newest_signatures("lake_signatures"), read="duckdb", write="spark")[0])
    return rows


def _address(lake: Lake, file: str) -> str:
    """A file of the lake as Hadoop names it."""
    return f"file://{lake.address(file)}" if lake.is_local else lake.address(file)


def _schema(columns: Mapping[str, str]) -> str:
    """A table's columns as Spark writes them.

    >>> _schema({"run_id": "VARCHAR", "step": "BIGINT"})
    '`run_id` STRING, `step` BIGINT'
    """
    types = ((column, exp.DataType.build(text, dialect="duckdb").sql("spark")) for column, text in columns.items())
    return ", ".join(f"`{column}` {data_type}" for column, data_type in types)
