"""Rows of a few views that a warehouse file keeps, so that summaries of millions of kernels answer at once.

The definitions are those of ``views/``; in a file such a view reads ``kept_NAME``, a table of the rows that
``defined_NAME`` computes from the facts. Loading, repricing and removing a run see to its rows. Whoever changes facts
by other means, say inserts ceilings by hand, calls :func:`refresh`.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

KEPT = (
    "kernel_counters",
    "kernel_groups",
    "step_parts",
    "step_launches",
    "gap_summary",
    "covered_time",
    "shared_time",
    "launch_summary",
)
"""Those that ask millions of rows and answer with few, and the pivot of counters, each after the ones it asks."""

KEPT_TABLES = tuple(f"kept_{view}" for view in KEPT)


def refresh(connection: duckdb.DuckDBPyConnection, run_ids: Iterable[str] | None = None) -> None:
    """Compute what is kept of the runs anew from the facts, of every run if none are named.

    Inside the caller's transaction, if there is one.
    """
    if run_ids is None:
        for table in KEPT_TABLES:
            connection.execute(f"DELETE FROM {table}")
        run_ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs ORDER BY run_id").fetchall()]
    for run_id in run_ids:
        for view in KEPT:
            connection.execute(f"DELETE FROM kept_{view} WHERE run_id = ?", [run_id])
            connection.execute(f"INSERT INTO kept_{view} SELECT * FROM defined_{view} WHERE run_id = ?", [run_id])


def stale(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Runs, by id, and views of which what is kept is not what the facts say; sums to the seven digits of a float."""
    found = []
    for view in KEPT:
        columns = connection.execute(f"DESCRIBE kept_{view}").fetchall()
        values = ", ".join(f"CAST({name} AS FLOAT)" if kind == "DOUBLE" else name for name, kind, *_ in columns)
        kept, defined = (f"SELECT {values} FROM {kind}_{view}" for kind in ("kept", "defined"))
        query = f"({kept} EXCEPT ALL {defined}) UNION ALL ({defined} EXCEPT ALL {kept})"
        found += [
            (run_id, view) for (run_id,) in connection.execute(f"SELECT DISTINCT run_id FROM ({query})").fetchall()
        ]
    return found
