"""Rows into tables: inserts the rows of a frame, or dictionaries, and lets queries read a frame in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import duckdb
import polars as pl

SLICE_ROWS = 2 * 122_880
"""Rows that DuckDB inserts by one statement: whole row groups, since a row group that two statements fill is written
twice."""

FEW_ROWS = 8
"""Up to this number, rows of a run are values of the statement: a frame of them takes 1 ms more to make and to read.

Rows that runs share have long lists, which DuckDB reads faster from a frame.
"""


def insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: pl.DataFrame | Sequence[dict[str, Any]],
    run_id: str | None = None,
    *,
    verb: str = "INSERT",
) -> None:
    """Insert the rows of a frame, or dictionaries, into ``table``, with ``run_id`` unless it is None.

    ``verb`` is INSERT or INSERT OR REPLACE.
    """
    if run_id is not None and not isinstance(rows, pl.DataFrame) and len(rows) <= FEW_ROWS:
        _insert_values(connection, table, [{"run_id": run_id, **row} for row in rows], verb)
        return
    frame = as_frame(rows)
    # By name, so that columns which the frame lacks are NULL.
    columns, parameters = ("*", []) if run_id is None else ("? AS run_id, *", [run_id])
    for part in frame.iter_slices(SLICE_ROWS):
        new_rows = ArrowStream(part)  # noqa: F841 -- DuckDB finds the variable; to register it would take 0.7 ms
        connection.execute(f"{verb} INTO {table} BY NAME SELECT {columns} FROM new_rows", parameters)


def as_frame(rows: pl.DataFrame | Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame that DuckDB can insert by name."""
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, infer_schema_length=None)
    # A column of only NULL has no type to insert. NaN would be stored as a number, where NULL is meant.
    kinds = {*frame.dtypes}
    frame = frame.drop(pl.selectors.by_dtype(pl.Null)) if pl.Null in kinds else frame
    return frame.with_columns(pl.selectors.float().fill_nan(None)) if pl.Float64 in kinds else frame


def _insert_values(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[dict[str, Any]], verb: str
) -> None:
    """Insert rows as values of one statement; a key that a row lacks is NULL."""
    columns = list(dict.fromkeys(chain.from_iterable(rows)))
    if columns:
        places = ", ".join([f"({', '.join('?' * len(columns))})"] * len(rows))
        values = [row.get(column) for row in rows for column in columns]
        # NaN, which differs from itself, would be stored as a number, where NULL is meant.
        parameters = [None if value != value else value for value in values]
        connection.execute(f"{verb} INTO {table} ({', '.join(columns)}) VALUES {places}", parameters)


class ArrowStream:
    """A frame without its other interfaces: DuckDB recognizes a polars frame, and then needs pyarrow to read it."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.__arrow_c_stream__ = frame.__arrow_c_stream__


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> Iterator[None]:
    """Let queries of the block read ``frame`` in place, as the table ``name``."""
    connection.register(name, ArrowStream(frame))
    yield
    connection.unregister(name)
