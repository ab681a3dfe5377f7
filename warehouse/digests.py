"""A digest of every run's rows, table by table, as they were stored: what changes them behind our back is found.

A digest is the sum of DuckDB's hashes of the rows, so that their order does not matter. It guards against accidents,
not against forgery. The hash is DuckDB's own and may change with its versions: each digest has that of a known row
beside it (``probe``), and is compared only where that still comes out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from ridgeline.warehouse.tables import RUN_TABLES, SHARED_TABLES

_PROBE = "CAST(hash({'a': 1, 'b': 'text', 'c': CAST(0.5 AS DOUBLE), 'd': [CAST(NULL AS DOUBLE)]}) AS VARCHAR)"
_DIGEST = "count(*) AS row_count, CAST(sum(CAST(hash({table}) AS HUGEINT)) AS VARCHAR) AS digest"


class Mismatch(NamedTuple):
    """A table whose rows of a run (None: of all runs) are not those that were stored."""

    run_id: str | None
    table: str
    sealed_rows: int
    rows: int


def seal(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Store digests of the runs' rows, and of what belongs to all, inside the caller's transaction."""
    runs = "(run_id IS NULL OR list_contains($runs, run_id))"
    wanted = {"runs": list(run_ids)}
    connection.execute(f"DELETE FROM digests WHERE {runs}", wanted)
    connection.execute(f"INSERT INTO digests SELECT *, {_PROBE} FROM ({_digests(runs)})", wanted)


def seal_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Store digests of everything, inside the caller's transaction."""
    connection.execute("DELETE FROM digests")
    connection.execute(f"INSERT INTO digests SELECT *, {_PROBE} FROM ({_digests('true')})")


def mismatches(connection: duckdb.DuckDBPyConnection) -> list[Mismatch]:
    """The tables whose rows are not those that digests were made of."""
    found = connection.execute(
        "SELECT COALESCE(d.run_id, n.run_id), COALESCE(d.table_name, n.table_name),"
        " COALESCE(d.row_count, 0), COALESCE(n.row_count, 0)"
        f" FROM digests d FULL JOIN ({_digests('true')}) n"
        " ON COALESCE(d.run_id, '') = COALESCE(n.run_id, '') AND d.table_name = n.table_name"
        f" WHERE COALESCE(d.probe, {_PROBE}) = {_PROBE}"
        " AND (d.row_count IS DISTINCT FROM n.row_count OR d.digest IS DISTINCT FROM n.digest)"
        " ORDER BY ALL"
    )
    return [Mismatch(*row) for row in found.fetchall()]


def incomparable(connection: duckdb.DuckDBPyConnection) -> int:
    """How many digests are of another hash than this DuckDB's."""
    (count,) = connection.execute(f"SELECT count(*) FROM digests WHERE probe <> {_PROBE}").fetchone() or (0,)
    return int(count)


def _digests(wanted: str) -> str:
    """A query of run_id, table_name, row_count and digest of everything stored, where the condition holds of runs."""
    of_runs = [
        f"SELECT run_id, '{table}' AS table_name, {_DIGEST.format(table=table)}"
        f" FROM {table} WHERE {wanted} GROUP BY run_id"
        for table in RUN_TABLES
    ]
    shared = [
        f"SELECT NULL, '{table}', {_DIGEST.format(table=table)} FROM {table} HAVING count(*) > 0"
        for table in SHARED_TABLES
    ]
    return " UNION ALL ".join(of_runs + shared)
