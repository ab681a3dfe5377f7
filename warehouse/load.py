"""Load a run's rows in one transaction, replacing what the warehouse had of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import polars as pl

from warehouse.digests import seal
from warehouse.tables import RUN_TABLES
from warehouse.transactions import transaction


@dataclass
class RunRows:
    """All rows of one run, by table; absent columns are NULL.

    Large tables are frames without ``run_id``, small ones records.
    """

    run_id: str
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    signatures: list[dict[str, Any]] = field(default_factory=list)
    """Newly priced ones."""
    sequences: list[dict[str, Any]] = field(default_factory=list)
    """Newly modelled ones."""


def load(connection: duckdb.DuckDBPyConnection, run: RunRows) -> None:
    """Replace the run and close its ledger's price account, all or nothing."""
    with transaction(connection):
        remove(connection, [run.run_id])
        if run.signatures:
            insert(
                connection,
                "signatures",
                pl.DataFrame(run.signatures, infer_schema_length=None),
                verb="INSERT OR REPLACE",
            )
        remember_sequences(connection, run.sequences)
        for table, frame in run.frames.items():
            insert(connection, table, frame, run.run_id)
        for table, records in run.records.items():
            insert(connection, table, pl.DataFrame(records, infer_schema_length=None), run.run_id)
        account_prices(connection, run.run_id)
        seal(connection, [run.run_id])


def remove(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Delete every row of the runs, inside the caller's transaction."""
    for table in (*RUN_TABLES, "digests"):
        connection.execute(f"DELETE FROM {table} WHERE list_contains(?, run_id)", [list(run_ids)])


def remember_sequences(connection: duckdb.DuckDBPyConnection, records: Sequence[dict[str, Any]]) -> None:
    """Store rows of ``sequences``, inside the caller's transaction."""
    for record in records:
        values = [record[column] for column in ("sequence_id", "read_bytes", "write_bytes")]
        connection.execute("INSERT OR REPLACE INTO sequences VALUES (?, ?, ?)", values)


def account_prices(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Make the run's account of prices from its kernels, in place of one it has, inside the caller's transaction."""
    connection.execute("DELETE FROM ledger WHERE run_id = ? AND account = 'price'", [run_id])
    connection.execute(
        "INSERT INTO ledger SELECT run_id, 'price', dram_bytes_source, count(*), sum(duration_ns)"
        " FROM placed_kernels WHERE run_id = ? GROUP BY ALL",
        [run_id],
    )


def insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    frame: pl.DataFrame,
    run_id: str | None = None,
    *,
    verb: str = "INSERT",
) -> None:
    """Add a frame's rows, with the run they belong to."""
    if frame.is_empty():
        return
    frame = frame.drop([series.name for series in frame if series.dtype == pl.Null])
    names = ", ".join(f'"{column}"' for column in frame.columns)
    connection.register("new_rows", _arrays(frame))
    if run_id is None:
        connection.execute(f"{verb} INTO {table} ({names}) SELECT {names} FROM new_rows")
    else:
        connection.execute(f"{verb} INTO {table} (run_id, {names}) SELECT ?, {names} FROM new_rows", [run_id])
    connection.unregister("new_rows")


def _arrays(frame: pl.DataFrame) -> dict[str, Any]:
    """Columns as numpy arrays, masked where null: DuckDB reads those in place."""
    return {series.name: _array(series) for series in frame}


def _array(series: pl.Series) -> Any:
    if series.dtype == pl.String:
        return np.array(series.to_list(), dtype=object)
    if not series.null_count():
        return series.to_numpy()
    return np.ma.masked_array(series.fill_null(0).to_numpy(), mask=series.is_null().to_numpy())
