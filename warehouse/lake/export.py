"""Write runs of a warehouse into a lake."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb

from ridgeline.warehouse.database import SCHEMA_VERSION, transaction
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.lake.commits import Commit, read_commits
from ridgeline.warehouse.lake.files import Lake, literal, names, one_line_errors, partition, table_columns
from ridgeline.warehouse.load import remove
from ridgeline.warehouse.schema.tables import RUN_TABLES


class Exported(NamedTuple):
    """The outcome of one run's export, with the rows and bytes of its files."""

    run_id: str
    name: str
    outcome: Literal["written", "unchanged"]
    rows: int
    bytes: int


def export(
    connection: duckdb.DuckDBPyConnection,
    location: str | Path,
    run_ids: Sequence[str] | None = None,
    report: Callable[[Exported], None] = lambda _: None,
) -> list[Exported]:
    """Write runs of a warehouse, all by default, into a lake; call ``report`` after each.

    Runs that the lake has with the same rows are left alone, older versions of the runs are replaced. Raises
    :class:`WarehouseError`.
    """
    lake = Lake(location)
    results = []
    with one_line_errors(lake):
        lake.register(connection)
        if run_ids is None:
            run_ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs ORDER BY name").fetchall()]
        # One query a table for all runs: a query a run and table would plan 18 queries for every run.
        counts: dict[str, dict[str, int]] = {run_id: {} for run_id in run_ids}
        for table in RUN_TABLES:
            query = f"SELECT run_id, count(*) FROM {table} WHERE list_contains(?, run_id) GROUP BY run_id"
            for run_id, rows in connection.execute(query, [list(run_ids)]).fetchall():
                counts[run_id][table] = rows
        for run_id in run_ids:
            results.append(_export_run(connection, lake, run_id, counts[run_id]))
            report(results[-1])
    return results


def move_run(connection: duckdb.DuckDBPyConnection, location: str | Path, run_id: str) -> None:
    """Write a run of a warehouse into a lake and remove it from the warehouse. Raises :class:`WarehouseError`."""
    try:
        export(connection, location, [run_id])
    finally:
        with transaction(connection):
            remove(connection, [run_id])


def _export_run(connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str, rows: Mapping[str, int]) -> Exported:
    run = connection.execute(
        "SELECT name, content_sha256, rules_version, experiment FROM runs WHERE run_id = ?", [run_id]
    ).fetchone()
    if run is None:
        raise WarehouseError(f"{run_id}: no such run in the warehouse")
    name, content_sha256, rules_version, experiment = run
    ((signatures,),) = connection.execute(f"SELECT count(*) FROM ({_rows_of_run('signatures', run_id)})").fetchall()
    rows = {table: count for table, count in sorted({**rows, "signatures": signatures}.items()) if count}
    # All that the rows follow from: equal generations mean equal rows, without reading any.
    identity = json.dumps([content_sha256, rules_version, SCHEMA_VERSION, rows])
    generation = hashlib.sha256(identity.encode()).hexdigest()[:16]
    commit = Commit(run_id, name, content_sha256, rules_version, generation, rows, partition(experiment, run_id))
    previous: list[Commit] = []
    if lake.commit_files(run_id):
        with duckdb.connect(":memory:") as reader:
            previous = read_commits(reader, lake, run_id)
    if [(old.name, old.generation, old.folder) for old in previous] == [(name, generation, commit.folder)]:
        return Exported(run_id, name, "unchanged", sum(rows.values()), 0)
    written = 0
    for table in rows:
        if table != "runs":
            written += lake.write(connection, _rows_of_run(table, run_id), commit.file(table))
    written += lake.write(connection, commit.query(), commit.file("runs"))  # last: from here on the run is in the lake
    # Delete what earlier commits name, each commit before its files, so that no reader finds one without them. Files
    # that no commit names stay: another writer may be about to commit them.
    for old in previous:
        if old.folder != commit.folder:
            lake.remove([old.file("runs")])
        if (old.folder, old.generation) != (commit.folder, commit.generation):
            lake.remove(old.file(table) for table in old.rows if table != "runs")
    return Exported(run_id, name, "written", sum(rows.values()), written)


def _rows_of_run(table: str, run_id: str) -> str:
    """Return a query for the rows of a table that belong to a run; of ``signatures``, for those it refers to."""
    columns, run = names(table_columns()[table]), literal(run_id)
    if table != "signatures":
        return f"SELECT {columns} FROM {table} WHERE run_id = {run}"
    referred = " UNION ".join(
        f"SELECT signature_id FROM {referrer} WHERE run_id = {run}" for referrer in ("kernel_classes", "operators")
    )
    return f"SELECT {columns} FROM signatures WHERE signature_id IN ({referred})"
