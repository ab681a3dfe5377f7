"""Rows of a few views that a warehouse file keeps, so that summaries of millions of kernels answer at once.

The definitions are those of ``views/``; in a file such a view reads ``kept_NAME``, a table of the rows that
``defined_NAME`` computes from the facts. Loading, repricing and removing a run see to its rows. Whoever changes facts
by other means, say inserts ceilings by hand, calls :func:`refresh`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

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

NEAR = 1e-7
"""How far apart equal sums may be, in parts of themselves."""

RUNS_TOGETHER = 32
"""Runs whose rows are computed by one query: to plan it takes longer than to run it for few kernels."""

FEW_KERNELS = 20_000
"""Up to so many, :func:`refresh` evaluates ``placed_kernels`` once, into memory."""

KEPT_TABLES = tuple(f"kept_{view}" for view in KEPT)


def refresh(
    connection: duckdb.DuckDBPyConnection, run_ids: Iterable[str] | None = None, views: Sequence[str] = KEPT
) -> None:
    """Compute what is kept of the runs anew from the facts, of every run if none are named; of those views.

    Inside the caller's transaction, if there is one.
    """
    if run_ids is None:
        for view in views:
            connection.execute(f"DELETE FROM kept_{view}")
        run_ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs ORDER BY run_id").fetchall()]
    wanted = list(run_ids)
    for first in range(0, len(wanted), RUNS_TOGETHER):
        together = wanted[first : first + RUNS_TOGETHER]
        of_runs = f"WHERE run_id IN ({', '.join('?' * len(together))})"
        # placed_kernels reads the kept counters, so these come before it is evaluated
        _recompute(connection, [view for view in views if view == "kernel_counters"], of_runs, together)
        with _placed_once(connection, of_runs, together):
            _recompute(connection, [view for view in views if view != "kernel_counters"], of_runs, together)


def _recompute(connection: duckdb.DuckDBPyConnection, views: Iterable[str], of_runs: str, run_ids: list[str]) -> None:
    for view in views:
        connection.execute(f"DELETE FROM kept_{view} {of_runs}", run_ids)
        connection.execute(f"INSERT INTO kept_{view} SELECT * FROM defined_{view} {of_runs}", run_ids)


@contextmanager
def _placed_once(connection: duckdb.DuckDBPyConnection, of_runs: str, run_ids: list[str]) -> Iterator[None]:
    """Evaluate ``placed_kernels`` of the runs once for all views that ask it, if the runs have few kernels.

    To plan that view takes 15 ms, and its columns are planned once for each place where a rollup names them.
    """
    few = f"SELECT COUNT(*) <= {FEW_KERNELS} FROM (SELECT 1 FROM kernels {of_runs} LIMIT {FEW_KERNELS + 1})"
    if not connection.execute(few, run_ids).fetchall()[0][0]:
        yield
        return
    # DuckDB looks up the names in a view's query when the view is used, temporary tables first.
    connection.execute(f"CREATE TEMP TABLE placed_kernels AS SELECT * FROM main.placed_kernels {of_runs}", run_ids)
    try:
        yield
    finally:
        with suppress(duckdb.TransactionException):  # a failure has ended the transaction, and the table with it
            connection.execute("DROP TABLE temp.placed_kernels")


def stale(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Runs, by id, and views of which what is kept is not what the facts say; sums to seven digits."""
    return [
        (run_id, view) for view in KEPT for (run_id,) in connection.execute(_differences(connection, view)).fetchall()
    ]


def _differences(connection: duckdb.DuckDBPyConnection, view: str) -> str:
    """SQL for the runs of which a row is kept that is not defined, or the other way round.

    Floating sums depend on their order, so rows meet by all other columns, and their sums may differ a little.
    """
    columns = connection.execute(f"DESCRIBE kept_{view}").fetchall()
    sums = [name for name, kind, *_ in columns if kind == "DOUBLE"]
    keys = [name for name, kind, *_ in columns if kind != "DOUBLE"]
    place = f"ROW_NUMBER() OVER (PARTITION BY {', '.join(keys)} ORDER BY {', '.join(sums or keys)}) AS place"
    same = " AND ".join(f"k.{name} IS NOT DISTINCT FROM d.{name}" for name in [*keys, "place"])
    near = " AND ".join(
        f"(k.{name} IS NOT DISTINCT FROM d.{name}"
        f" OR ABS(k.{name} - d.{name}) <= {NEAR} * GREATEST(ABS(k.{name}), ABS(d.{name})))"
        for name in sums
    )
    return f"""
        SELECT DISTINCT COALESCE(k.run_id, d.run_id)
        FROM (SELECT *, {place} FROM kept_{view}) k
        FULL JOIN (SELECT *, {place} FROM defined_{view}) d ON {same}
        WHERE k.place IS NULL OR d.place IS NULL OR COALESCE({near or "true"}, false) = false"""
