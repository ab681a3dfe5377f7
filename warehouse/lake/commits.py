"""The commits of a lake: one small file for each run, which names the run's other files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import duckdb

from ridgeline.warehouse.database import SCHEMA_VERSION
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.lake.files import COMMIT, Lake, literal, names, one_line_errors, parquet, table_columns

_ADDED = {
    "lake_generation": "VARCHAR",
    "lake_schema_version": "INTEGER",
    "lake_rows": "VARCHAR",
    "lake_committed_at": "TIMESTAMP",
}
"""Columns of a commit after those of ``runs``; ``lake_rows`` is JSON, the number of rows by table; the time is UTC."""


class Commit(NamedTuple):
    """A run in a lake."""

    run_id: str
    name: str
    content_sha256: str
    rules_version: int
    generation: str
    rows: Mapping[str, int]
    """The number of rows by table; tables without rows are absent."""
    folder: str
    """``experiment=E/run_id=R``, the run's folder under each table."""

    def file(self, table: str) -> str:
        """Return the path of a table's file under the lake."""
        return f"{table}/{self.folder}/{COMMIT if table == 'runs' else self.generation + '.parquet'}"

    def query(self) -> str:
        """Return a query for the row of the commit's file, over the table ``runs``."""
        now = datetime.now(UTC).replace(tzinfo=None).isoformat()
        added = (self.generation, SCHEMA_VERSION, json.dumps(self.rows), now)
        cast = (
            f"CAST({literal(value)} AS {_ADDED[name]}) AS {name}" for name, value in zip(_ADDED, added, strict=True)
        )
        columns = names(table_columns()["runs"])
        return f"SELECT {columns}, {', '.join(cast)} FROM runs WHERE run_id = {literal(self.run_id)}"


def commits(lake: Lake, run_id: str | None = None) -> list[Commit]:
    """Return the newest commit of each run of a lake, or of one run. Raises :class:`WarehouseError`."""
    with duckdb.connect(":memory:") as connection:
        return newest(read_commits(connection, lake, run_id))


def read_commits(connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str | None = None) -> list[Commit]:
    """Read the commits of all runs, or of one, into a temporary table ``commits``; return them, the newest last.

    Raises :class:`WarehouseError` for a file that is no commit, or one of a newer version.
    """
    with one_line_errors(lake):
        lake.register(connection)
        files = {lake.address(file): file for file in lake.commit_files(run_id)}
        source = parquet(table_columns()["runs"] | _ADDED, list(files))
        connection.execute(f"CREATE TEMP TABLE commits AS {source}")
        rows = connection.execute(
            "SELECT filename, run_id, name, content_sha256, rules_version, lake_schema_version, lake_generation,"
            " lake_rows FROM commits ORDER BY lake_committed_at, lake_generation, filename"
        ).fetchall()
    result = []
    for address, identifier, name, content_sha256, rules_version, schema_version, generation, counts in rows:
        file = files[address]
        if generation is None or schema_version is None or schema_version > SCHEMA_VERSION:
            reason = f"schema {schema_version} of a newer ridgeline" if generation else "not a commit of a run"
            raise WarehouseError(f"{file}: {reason}: this one reads lakes up to schema {SCHEMA_VERSION}")
        folder = file.removeprefix("runs/").removesuffix(f"/{COMMIT}")
        result.append(Commit(identifier, name, content_sha256, rules_version, generation, json.loads(counts), folder))
    return result


def newest(commits: Iterable[Commit]) -> list[Commit]:
    """Return the last commit of each run, by folder: a run that moves to another experiment has two for a moment."""
    by_run = {commit.run_id: commit for commit in commits}
    return sorted(by_run.values(), key=lambda commit: commit.folder)
