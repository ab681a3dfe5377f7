"""Load a run's rows in one transaction, replacing what the warehouse had of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import polars as pl

from warehouse.digests import seal
from warehouse.rollups import KEPT_TABLES, refresh
from warehouse.tables import RUN_TABLES
from warehouse.transactions import transaction

SLICE_ROWS = 1 << 18
"""Rows handed to DuckDB at once."""
FEW_ROWS = 1000


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


def load(connection: duckdb.DuckDBPyConnection, run: RunRows, *, passing: bool = False) -> None:
    """Replace the run and close its ledger's price account, all or nothing.

    One that is only ``passing`` through, on its way into a lake, gets neither digests nor rollups but those of which
    its prices are.
    """
    with transaction(connection):
        if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run.run_id]).fetchone():
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
        if passing:
            refresh(connection, [run.run_id], ["kernel_counters"])
            account_prices(connection, run.run_id, "defined_kernel_groups")
            return
        refresh(connection, [run.run_id])
        account_prices(connection, run.run_id)
        seal(connection, [run.run_id])


def remove(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Delete every row of the runs, inside the caller's transaction."""
    places = ", ".join("?" for _ in run_ids)
    for table in (*RUN_TABLES, *KEPT_TABLES, "digests") if run_ids else ():
        connection.execute(f"DELETE FROM {table} WHERE run_id IN ({places})", list(run_ids))


def remember_sequences(connection: duckdb.DuckDBPyConnection, records: Sequence[dict[str, Any]]) -> None:
    """Store rows of ``sequences``, inside the caller's transaction."""
    for record in records:
        values = [record[column] for column in ("sequence_id", "read_bytes", "write_bytes")]
        connection.execute("INSERT OR REPLACE INTO sequences VALUES (?, ?, ?)", values)


def account_prices(connection: duckdb.DuckDBPyConnection, run_id: str, groups: str = "kernel_groups") -> None:
    """Make the run's account of prices from its rollups, in place of one it has, inside the caller's transaction."""
    connection.execute("DELETE FROM ledger WHERE run_id = ? AND account = 'price'", [run_id])
    connection.execute(
        "INSERT INTO ledger SELECT run_id, 'price', dram_bytes_source, sum(kernels), sum(duration_ns)"
        f" FROM {groups} WHERE run_id = ? GROUP BY ALL",
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
    """Add a frame's rows, with the run they belong to: a slice at a time, each text of a long column once."""
    if frame.is_empty():
        return
    frame = pl.DataFrame(_coded(series) for series in frame if series.dtype != pl.Null)
    texts = {}
    for i, (column, kind) in enumerate(frame.schema.items()):
        if isinstance(kind, pl.Enum):
            texts[column] = f"texts_{i}"
            connection.register(texts[column], _texts(kind))
    values = [f"{texts[column]}.text" if column in texts else f'new_rows."{column}"' for column in frame.columns]
    joins = [f'LEFT JOIN {name} ON {name}.code = new_rows."{column}"' for column, name in texts.items()]
    into = ", ".join(f'"{column}"' for column in frame.columns)
    source = f"{', '.join(values)} FROM new_rows {' '.join(joins)}"
    for rows in frame.iter_slices(SLICE_ROWS):
        connection.register("new_rows", {series.name: _array(series) for series in rows})
        if run_id is None:
            connection.execute(f"{verb} INTO {table} ({into}) SELECT {source}")
        else:
            connection.execute(f"{verb} INTO {table} (run_id, {into}) SELECT ?, {source}", [run_id])
    for name in ("new_rows", *texts.values()):
        connection.unregister(name)


def _coded(series: pl.Series) -> pl.Series:
    """A long column of texts as codes of its distinct ones, or no row's text would be shared with another's."""
    if series.dtype != pl.String or len(series) < FEW_ROWS:
        return series
    return series.cast(pl.Enum(series.drop_nulls().unique().sort()))


def _texts(kind: pl.Enum) -> dict[str, Any]:
    """What the codes of a column stand for, as a table."""
    texts = kind.categories.to_list()
    return {"code": np.arange(len(texts)), "text": np.array(texts, dtype=object)}


def _array(series: pl.Series) -> Any:
    """A numpy array, masked where null: DuckDB reads those in place."""
    if series.dtype == pl.String:
        return np.array(series.to_list(), dtype=object)
    if series.dtype == pl.Enum:
        series = series.to_physical().cast(pl.Int64)
    if not series.null_count():
        return series.to_numpy()
    return np.ma.masked_array(series.fill_null(0).to_numpy(), mask=series.is_null().to_numpy())
