"""Rollups of a run that are computed from its rows in memory, while these are inserted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl

from ridgeline.warehouse.insertion import ArrowStream, as_frame
from ridgeline.warehouse.rollups import EARLY

READ = ("devices", "kernels", "kernel_classes", "steps", "gaps")
"""The tables that the views of :data:`EARLY` read."""

Rows = pl.DataFrame | Sequence[dict[str, Any]]


@contextmanager
def computing(
    connection: duckdb.DuckDBPyConnection, run_id: str, rows: Mapping[str, Rows], views: Collection[str]
) -> Iterator[dict[str, Future[pl.DataFrame]]]:
    """Compute in a thread those of ``views`` that are in :data:`EARLY`; yield a future of the rows by view.

    ``rows`` has the run's rows of :data:`READ`, without ``run_id``: the thread's own connection does not see what the
    transaction of ``connection`` inserts.
    """
    with connection.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(_read_from, cursor, run_id, rows)
        yield {view: pool.submit(_computed, cursor, run_id, view, prepared) for view in EARLY if view in views}


def _read_from(cursor: duckdb.DuckDBPyConnection, run_id: str, rows: Mapping[str, Rows]) -> None:
    """Let the cursor's queries read ``rows`` in place of tables: it looks up temporary names first, for views too."""
    for table in READ:
        frame = as_frame(rows[table])
        values = {"run_id": f"'{run_id}'"} | {name: name for name in frame.columns}
        columns = [
            f"CAST({values.get(name, 'NULL')} AS {kind}) AS {name}"
            for name, kind, *_ in cursor.execute(f"DESCRIBE main.{table}").fetchall()
        ]
        if frame.columns:
            cursor.register(f"rows_of_{table}", ArrowStream(frame))
        source = f"FROM rows_of_{table}" if frame.columns else "WHERE false"
        cursor.execute(f"CREATE TEMP VIEW {table} AS SELECT {', '.join(columns)} {source}")


def _computed(cursor: duckdb.DuckDBPyConnection, run_id: str, view: str, prepared: Future[None]) -> pl.DataFrame:
    prepared.result()  # else the view would read the tables, which have no rows of the run
    cursor.execute(f"CREATE TEMP TABLE {view} AS FROM main.defined_{view} WHERE run_id = ?", [run_id])
    return pl.DataFrame(cursor.sql(f"FROM temp.{view}"))
