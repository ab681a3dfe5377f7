"""Open a lake with the warehouse's tables and views: in place, or loaded into memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from ridgeline.warehouse.database import IN_MEMORY, SCHEMA_VERSION, closed_on_error, connect, transaction
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.lake.commits import Commit, newest, read_commits
from ridgeline.warehouse.lake.files import Lake, literal, names, one_line_errors, parquet, table_columns
from ridgeline.warehouse.rollups import KEPT, refresh


def open_lake(location: str | Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with the warehouse's tables and views over a lake as it is now.

    Queries read the lake's files; the connection reaches no others. Raises :class:`WarehouseError` if there is no lake.
    """
    lake = Lake(location)
    with closed_on_error(connect(IN_MEMORY)) as connection, one_line_errors(lake):
        commits = snapshot(connection, lake)
        # Put views of the files in the place of an empty warehouse's tables. DuckDB binds a view's query when it is
        # created, and again inside each view above it: over Parquet each binding opens files, and 40 views take ten
        # times as long. What rollups compute comes first, while all tables are still there.
        for view in KEPT:
            connection.execute(f"DROP VIEW {view}; ALTER VIEW defined_{view} RENAME TO {view}; DROP TABLE kept_{view}")
        connection.execute("DROP TABLE digests; DROP TABLE schema_version")
        connection.execute(
            "CREATE VIEW schema_version AS"
            f" SELECT CAST({SCHEMA_VERSION} AS INTEGER) AS version, CAST(NULL AS TIMESTAMP) AS created_at"
        )
        # A table of its own: the views read these rows many times.
        connection.execute("ALTER TABLE ceilings RENAME TO datasheet_ceilings")
        tables = [table for table in table_columns() if table != "runs"]
        for table in tables:
            query = _rows(lake, commits, table)
            if table == "ceilings":
                query += " UNION ALL FROM datasheet_ceilings"
            else:
                connection.execute(f"DROP TABLE {table}")
            connection.execute(f"CREATE VIEW {table} AS {query}")
        connection.execute("DROP TABLE memory.main.runs")
        allowed = (literal(file) for table in tables for file in table_files(lake, commits, table))
        connection.execute(f"SET allowed_paths = [{', '.join(allowed)}]")
        connection.execute("SET enable_external_access = false")
    return connection


def load_lake(location: str | Path) -> duckdb.DuckDBPyConnection:
    """Return a warehouse in memory with all rows of a lake as it is now, for many questions of all its runs.

    Raises :class:`WarehouseError` if there is no lake.
    """
    lake = Lake(location)
    with closed_on_error(connect(IN_MEMORY)) as connection, one_line_errors(lake):
        commits = snapshot(connection, lake)
        with transaction(connection):
            connection.execute("INSERT INTO memory.main.runs SELECT * FROM temp.runs")
            for table in table_columns():
                if table != "runs":
                    connection.execute(f"INSERT INTO memory.main.{table} {_rows(lake, commits, table)}")
        connection.execute("DROP TABLE temp.runs")  # it would hide the warehouse's own
        refresh(connection)
        connection.execute("SET enable_external_access = false")
    return connection


def snapshot(connection: duckdb.DuckDBPyConnection, lake: Lake) -> list[Commit]:
    """Return the newest commits of a lake and create a temporary table ``runs`` of their rows.

    Raises :class:`WarehouseError` if the lake has no runs.
    """
    commits = newest(read_commits(connection, lake))
    if not commits:
        raise WarehouseError(
            f"{lake.name}: no runs in this lake: `ridgeline export {lake.name}` or `analyze PATH --lake {lake.name}`"
        )
    files = [lake.address(commit.file("runs")) for commit in commits]
    columns = names(table_columns()["runs"])
    query = f"SELECT {columns} FROM commits WHERE filename IN (SELECT unnest(?))"
    connection.execute(f"CREATE TEMP TABLE runs AS {query}", [files])
    connection.execute("DROP TABLE commits")
    return commits


def table_files(lake: Lake, commits: Iterable[Commit], table: str) -> list[str]:
    """Return the addresses of a table's files."""
    return [lake.address(commit.file(table)) for commit in commits if commit.rows.get(table)]


def _rows(lake: Lake, commits: Iterable[Commit], table: str) -> str:
    """Return a query for a table's rows in the whole lake."""
    columns = table_columns()[table]
    query = f"SELECT {names(columns)} FROM ({parquet(columns, table_files(lake, commits, table))})"
    return newest_signatures(f"({query})") if table == "signatures" else query


def newest_signatures(table: str) -> str:
    """Return a query for the signatures of ``table``, each once, as the newest pricing rules price it."""
    columns = table_columns()["signatures"]
    # Every column takes part in the order, so that readers agree where rows of one version differ.
    ties = ", ".join(column for column in columns if column not in ("signature_id", "rules_version"))
    return (
        f"SELECT {', '.join(columns)} FROM (SELECT *, ROW_NUMBER() OVER"
        f" (PARTITION BY signature_id ORDER BY rules_version DESC, {ties}) AS place FROM {table}) WHERE place = 1"
    )
