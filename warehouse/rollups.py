"""Rollups: views whose rows a warehouse file keeps, so that summaries do not read millions of kernels.

``views/`` defines them. In a file the view ``defined_NAME`` computes the rows from the facts, the table ``kept_NAME``
holds them, and ``NAME`` reads that table. Loading, repricing and removing a run refresh its rows. After any other
change of facts, such as ceilings inserted by hand, call :func:`refresh`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import duckdb

KEPT = (
    "kernel_counters",
    "launch_geometry",
    "kernel_groups",
    "step_parts",
    "step_launches",
    "gap_summary",
    "covered_time",
    "step_idle",
    "step_waits",
    "shared_time",
    "launch_summary",
)
"""The pivot of counters, the geometry of launches, and the views that aggregate millions of rows to few; each after
those it reads."""

_OF_PLACED = ("kernel_groups", "step_parts")
"""The views that read ``placed_kernels``: computed last."""

EARLY = tuple(view for view in KEPT if view not in ("kernel_counters", *_OF_PLACED))
"""Those that read neither counters nor bytes or prices of kernels: :mod:`early_rollups` computes them."""

NEAR = 1e-7
"""Relative difference up to which sums are equal: floating-point sums depend on the order of rows."""

KERNELS_TOGETHER = 1_000_000
"""Kernels of one query, unless a run has more: planning a query takes as long as running it over thousands of them."""

FEW_KERNELS = 100_000
"""Up to this number of kernels, :func:`refresh` evaluates ``placed_kernels`` once, into memory."""

GEOMETRY = "geometry"
"""Stands for launch geometry among the tables of :func:`with_rows`."""

GEOMETRY_COLUMNS = ("grid_x", "block_x", "registers", "shared_bytes", "occupancy")
"""A kernel class with one of these has a row in ``launch_geometry``."""

_NEEDED = {
    "kernel_counters": "counters",
    "launch_geometry": GEOMETRY,
    "step_parts": "steps",
    "step_launches": "steps",
    "gap_summary": "gaps",
    "step_idle": "steps",
    "step_waits": "steps",
}
"""The tables without whose rows a view has none."""

_COSTLY_OPTIMIZERS = ("common_subexpressions", "join_order", "projection_placement", "statistics_propagation")
"""Optimizers of DuckDB that take longer than they save when rollups are computed, of few kernels as of 170,000."""

_PLACED = """
    run_id, class_id, step_id, step_phase, kind, duration_ns, flops, dram_bytes, dram_bytes_source, compulsory_bytes,
    cache_model_bytes, counter_dram_bytes, roof_time_ns, compute_time_ns, nearest_roof, bound, basis, diagnosis
"""
"""The columns of ``placed_kernels`` that rollups read."""

KEPT_TABLES = tuple(f"kept_{view}" for view in KEPT)


def refresh(
    connection: duckdb.DuckDBPyConnection,
    run_ids: Iterable[str] | None = None,
    views: Sequence[str] = KEPT,
    *,
    are_new: bool = False,
) -> None:
    """Recompute the kept rows of ``views`` from the facts, for the runs or, if ``run_ids`` is None, for all runs.

    Runs that ``are_new`` have no kept rows to replace. Runs inside the caller's transaction, if there is one.
    """
    if run_ids is None:
        for view in views:
            connection.execute(f"DELETE FROM kept_{view}")
        are_new = True
        run_ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs ORDER BY run_id").fetchall()]
    with planned_briefly(connection):
        for together in _batches(connection, list(run_ids)):
            of_runs = f"WHERE run_id IN ({', '.join('?' * len(together))})"
            if not are_new:
                for view in views:
                    connection.execute(f"DELETE FROM kept_{view} {of_runs}", together)
            _compute(connection, [view for view in views if view not in _OF_PLACED], of_runs, together)
            if of_placed := [view for view in views if view in _OF_PLACED]:
                with _placed_once(connection, of_runs, together):
                    _compute(connection, of_placed, of_runs, together)


def with_rows(tables: Collection[str]) -> list[str]:
    """Return the views that can have rows of a run whose rows are in ``tables``, which names :data:`GEOMETRY` too."""
    return [view for view in KEPT if _NEEDED.get(view, "kernels") in {*tables, "kernels"}]


@contextmanager
def planned_briefly(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB plan the queries of the block without :data:`_COSTLY_OPTIMIZERS`."""
    name = "disabled_optimizers"
    ((disabled,),) = connection.execute(f"SELECT current_setting('{name}')").fetchall()
    connection.execute(f"SET {name} = '{','.join(filter(None, (disabled, *_COSTLY_OPTIMIZERS)))}'")
    try:
        yield
    finally:
        # On a cursor: after a failure the connection takes no statement until its transaction is rolled back.
        with suppress(duckdb.Error), connection.cursor() as cursor:
            cursor.execute(f"SET {name} = '{disabled}'")


def _batches(connection: duckdb.DuckDBPyConnection, run_ids: list[str]) -> Iterator[list[str]]:
    """Yield the runs in order, in batches of up to :data:`KERNELS_TOGETHER` kernels, or of one larger run."""
    if len(run_ids) < 2:
        yield from [run_ids] * len(run_ids)
        return
    counts = dict(connection.execute("SELECT run_id, count(*) FROM kernels GROUP BY run_id").fetchall())
    batch: list[str] = []
    kernels = 0
    for run_id in run_ids:
        kernels += counts.get(run_id, 0)
        if batch and kernels > KERNELS_TOGETHER:
            yield batch
            batch, kernels = [], counts.get(run_id, 0)
        batch.append(run_id)
    yield batch


def _compute(connection: duckdb.DuckDBPyConnection, views: Iterable[str], of_runs: str, run_ids: list[str]) -> None:
    for view in views:
        connection.execute(f"INSERT INTO kept_{view} SELECT * FROM defined_{view} {of_runs}", run_ids)


@contextmanager
def _placed_once(connection: duckdb.DuckDBPyConnection, of_runs: str, run_ids: list[str]) -> Iterator[None]:
    """Evaluate ``placed_kernels`` of the runs once for all views that read it, if the runs have few kernels.

    Planning that view takes 15 ms, and again for each place where a rollup names one of its columns.
    """
    few = f"SELECT COUNT(*) <= {FEW_KERNELS} FROM (SELECT 1 FROM kernels {of_runs} LIMIT {FEW_KERNELS + 1})"
    if not connection.execute(few, run_ids).fetchall()[0][0]:
        yield
        return
    # DuckDB looks up the names in a view's query when the view is used, temporary tables first.
    placed = f"SELECT {_PLACED} FROM main.placed_kernels {of_runs}"
    connection.execute(f"CREATE TEMP TABLE placed_kernels AS {placed}", run_ids)
    try:
        yield
    finally:
        with suppress(duckdb.TransactionException):  # a failure has ended the transaction, and the table with it
            connection.execute("DROP TABLE temp.placed_kernels")


def account_prices(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str] | None = None) -> None:
    """Replace the ledger's price account of the runs, or of all if ``run_ids`` is None, by sums over their
    ``kernel_groups``, inside the caller's transaction.
    """
    of_runs = "true" if run_ids is None else f"run_id IN ({', '.join('?' for _ in run_ids)})"
    connection.execute(f"DELETE FROM ledger WHERE {of_runs} AND account = 'price'", list(run_ids or ()))
    connection.execute(
        "INSERT INTO ledger SELECT run_id, 'price', dram_bytes_source, sum(kernels), sum(duration_ns)"
        f" FROM kernel_groups WHERE {of_runs} GROUP BY ALL",
        list(run_ids or ()),
    )


def stale(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Return the runs (ids) and views whose kept rows differ from those that the facts give; sums within ``NEAR``."""
    with _placed_once(connection, "", []):
        return [
            (run_id, view)
            for view in KEPT
            for (run_id,) in connection.execute(_differences(connection, view)).fetchall()
        ]


def _differences(connection: duckdb.DuckDBPyConnection, view: str) -> str:
    """Return a query for the runs whose rows in ``kept_VIEW`` and ``defined_VIEW`` differ.

    Floating-point sums depend on the order of rows, so rows are joined by all other columns and sums compared within
    ``NEAR``. Rows with equal keys are numbered (``place``) in the order of their sums, to join one to one.
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
