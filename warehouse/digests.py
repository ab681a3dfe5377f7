"""Digests of the stored rows, by run and table; ``ridgeline verify`` compares them with the rows that are there."""

# Why digests stay: transactions keep every load whole and DuckDB checksums its blocks, so neither a crash nor a damaged
# disk needs them. Only they show that another program changed facts by a valid SQL statement, such as an UPDATE of
# telemetry, where no sum or reference contradicts it. They guard against accidents, not against forgery.

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from ridgeline.warehouse.schema.tables import RUN_TABLES, SHARED_TABLES

TABLES = (*RUN_TABLES, *SHARED_TABLES)
PROBE = "CAST(hash({'a': 1, 'b': 'text', 'c': CAST(0.5 AS DOUBLE), 'd': [CAST(NULL AS DOUBLE)]}) AS VARCHAR)"
"""SQL for the hash of a constant row. DuckDB's hash may change with its version: digests are comparable where this is
the same."""


def store_digests(
    connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str] | None = None, tables: Sequence[str] = TABLES
) -> None:
    """Replace the digests of the runs' rows and of the shared rows, or all digests if ``run_ids`` is None.

    ``tables`` are those in which the runs have rows, and the shared ones that have changed. Runs inside the caller's
    transaction.
    """
    of_runs, replaced, parameters = "true", "true", {}
    if run_ids is not None:
        of_runs, parameters = "list_contains($runs, run_id)", {"runs": list(run_ids)}
        shared = ", ".join(f"'{table}'" for table in SHARED_TABLES if table in tables)
        replaced = f"{of_runs} OR table_name IN ({shared})" if shared else of_runs
    connection.execute(f"DELETE FROM digests WHERE {replaced}", parameters)
    connection.execute(f"INSERT INTO digests SELECT *, {PROBE} FROM ({digests_query(of_runs, tables)})", parameters)


def digests_query(condition: str = "true", tables: Sequence[str] = TABLES) -> str:
    """Return a query for run_id, table_name, row_count and digest of the rows whose run fulfils ``condition``, and of
    those of the shared ``tables``.
    """
    # A sum of the rows' hashes does not depend on their order. HUGEINT holds 2^63 hashes of 64 bits.
    digest = "count(*) AS row_count, CAST(sum(CAST(hash({0}) AS HUGEINT)) AS VARCHAR) AS digest FROM {0}"
    of_runs = [
        f"SELECT run_id, '{table}' AS table_name, {digest.format(table)} WHERE {condition} GROUP BY run_id"
        for table in RUN_TABLES
        if table in tables
    ]
    shared = [
        f"SELECT NULL, '{table}', {digest.format(table)} HAVING count(*) > 0"
        for table in SHARED_TABLES
        if table in tables
    ]
    return " UNION ALL ".join(of_runs + shared)
