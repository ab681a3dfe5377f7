"""The warehouse's views in Apache Spark over a lake: the same ``.sql`` files, transpiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import sqlglot
from sqlglot import exp

from ridgeline.warehouse import datasheets
from ridgeline.warehouse.database import SCHEMA_VERSION
from ridgeline.warehouse.lake.files import Lake, table_columns
from ridgeline.warehouse.lake.reading import newest_signatures, snapshot, table_files
from ridgeline.warehouse.views import view_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def views(session: SparkSession, location: str | Path) -> list[str]:
    """Register the tables and views of a lake as it is now in the session; return the names of the views.

    The driver and the executors must reach the lake by the same path or URL. Raises ``WarehouseError`` if there is no
    lake.
    """
    lake = Lake(location)
    with duckdb.connect(":memory:") as connection:
        commits = snapshot(connection, lake)
        runs = connection.execute("SELECT * FROM runs").fetchall()
    for table, columns in table_columns().items():
        schema = _schema(columns)
        # Hadoop wants a scheme on local paths.
        prefix = "file://" if lake.is_local else ""
        files = [prefix + file for file in table_files(lake, commits, table)]
        if table == "runs":
            rows = session.createDataFrame(runs, schema)
        elif files:
            rows = session.read.schema(schema).parquet(*files)
        else:
            rows = session.createDataFrame([], schema)
        if table == "ceilings":
            rows = rows.unionAll(session.createDataFrame(list(datasheets.ceiling_rows()), schema))
        elif table == "signatures":
            rows.createOrReplaceTempView("lake_signatures")
            query = sqlglot.transpile(newest_signatures("lake_signatures"), read="duckdb", write="spark")[0]
            rows = session.sql(query)
        rows.createOrReplaceTempView(table)
    version = f"SELECT CAST({SCHEMA_VERSION} AS INT) AS version, CAST(NULL AS TIMESTAMP) AS created_at"
    session.sql(version).createOrReplaceTempView("schema_version")
    names = []
    for name, query in view_queries():
        session.sql(query).createOrReplaceTempView(name)
        names.append(name)
    return names


def view_queries() -> Iterator[tuple[str, str]]:
    """Yield the name of each view and its query in Spark's SQL, each after those it reads."""
    for file in view_files():
        for statement in sqlglot.parse(file.read_text(), dialect="duckdb"):
            if not isinstance(statement, exp.Create):
                continue
            for node in list(statement.find_all(exp.PercentileCont)):
                if node.expression:  # QUANTILE_CONT(x, q), which sqlglot writes in a form that Spark cannot parse
                    node.replace(exp.Quantile(this=node.this, quantile=node.expression))
            yield statement.this.name, statement.expression.sql("spark")


def _schema(columns: Mapping[str, str]) -> str:
    """Return a table's columns as Spark writes them.

    >>> _schema({"run_id": "VARCHAR", "step": "BIGINT"})
    '`run_id` STRING, `step` BIGINT'
    """
    types = ((column, exp.DataType.build(text, dialect="duckdb").sql("spark")) for column, text in columns.items())
    return ", ".join(f"`{column}` {data_type}" for column, data_type in types)
