"""Load runs, each whole or not at all, in place of what the warehouse had of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import numpy as np
import polars as pl

from ridgeline.warehouse.digests import seal
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.rollups import KEPT_TABLES, refresh
from ridgeline.warehouse.tables import RUN_TABLES
from ridgeline.warehouse.transactions import transaction

SLICE_ROWS = 1 << 18
"""Rows handed to DuckDB at once."""
FEW_ROWS = 1000

BATCH_RUNS = 32
BATCH_KERNELS = 20_000
BATCH_S = 1.0


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
        _insert_facts(connection, run)
        if passing:
            refresh(connection, [run.run_id], ["kernel_counters"])
            account_prices(connection, [run.run_id], "defined_kernel_groups")
        else:
            _summarize(connection, [run.run_id])


class Batch:
    """Runs loaded in one transaction.

    DuckDB plans the queries of rollups and digests in 0.15 s, for one run as for thirty. A batch is full after
    ``BATCH_RUNS`` runs, ``BATCH_KERNELS`` kernels or ``BATCH_S`` seconds, so that a large run is a batch of its own.
    If a run cannot be stored, the batch is rolled back and each of its runs is loaded alone.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._transaction = ExitStack()
        self._runs: list[RunRows] = []
        self._kernels = 0
        self._begun_s = 0.0
        self._alone = False

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def is_full(self) -> bool:
        """True where the batch should be committed before another run is added."""
        elapsed_s = time.monotonic() - self._begun_s
        return self._alone or len(self) >= BATCH_RUNS or self._kernels >= BATCH_KERNELS or elapsed_s >= BATCH_S

    def add(self, run: RunRows) -> None:
        """Insert the run's rows; the connection sees them at once, other connections after :meth:`commit`."""
        if not self._runs:
            self._begun_s = time.monotonic()
            self._transaction.enter_context(transaction(self._connection))
        self._runs.append(run)
        self._kernels += len(run.frames.get("kernels", ()))
        if self._alone:
            return
        try:
            _insert_facts(self._connection, run)
        except BaseException as e:
            self._alone = True
            self._roll_back()
            if not isinstance(e, Exception):
                self._runs.pop()
                raise

    def commit(self) -> list[Exception | None]:
        """Store the batch and empty it; for each run the error that kept it out of the warehouse, or None.

        Raises :class:`StorageError` where nothing can be written.
        """
        if self._runs and not self._alone and self._is_aborted():
            self._roll_back()
            self._alone = True
        runs, alone = self._runs, self._alone
        self._runs, self._kernels, self._alone = [], 0, False
        if runs and not alone:
            try:
                with self._transaction:
                    _summarize(self._connection, [run.run_id for run in runs])
                return [None] * len(runs)
            except WarehouseError:
                raise
            except Exception:
                pass  # one run's fault, perhaps
        return [self._load_alone(run) for run in _self_contained(runs)]

    def _is_aborted(self) -> bool:
        """True where a query failed since the transaction began: DuckDB gives up the transaction for it."""
        try:
            self._connection.execute("SELECT 1")
        except duckdb.Error:
            return True
        return False

    def _roll_back(self) -> None:
        with suppress(_RollBack), self._transaction:
            raise _RollBack

    def _load_alone(self, run: RunRows) -> Exception | None:
        try:
            load(self._connection, run)
        except WarehouseError:
            raise
        except Exception as e:
            return e
        return None


def _self_contained(runs: Sequence[RunRows]) -> Iterator[RunRows]:
    """The runs, each with the prices of those before it, which it may refer to."""
    signatures: dict[str, dict[str, Any]] = {}
    sequences: dict[str, dict[str, Any]] = {}
    for run in runs:
        signatures |= {row["signature_id"]: row for row in run.signatures}
        sequences |= {row["sequence_id"]: row for row in run.sequences}
        yield replace(run, signatures=list(signatures.values()), sequences=list(sequences.values()))


class _RollBack(Exception):
    """Ends a transaction without a commit."""


def _insert_facts(connection: duckdb.DuckDBPyConnection, run: RunRows) -> None:
    """Insert the run's rows in place of any that the warehouse has of it, inside the caller's transaction."""
    if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run.run_id]).fetchone():
        remove(connection, [run.run_id])
    if run.signatures:
        frame = pl.DataFrame(run.signatures, infer_schema_length=None)
        insert(connection, "signatures", frame, verb="INSERT OR REPLACE")
    remember_sequences(connection, run.sequences)
    for table, frame in run.frames.items():
        insert(connection, table, frame, run.run_id)
    for table, records in run.records.items():
        insert(connection, table, pl.DataFrame(records, infer_schema_length=None), run.run_id)


def _summarize(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Make the rollups, the price accounts and the digests of runs, inside the caller's transaction."""
    refresh(connection, run_ids)
    account_prices(connection, run_ids)
    seal(connection, run_ids)


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


def account_prices(
    connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str], groups: str = "kernel_groups"
) -> None:
    """Make the accounts of prices of runs from their rollups, inside the caller's transaction."""
    of_runs = f"run_id IN ({', '.join('?' for _ in run_ids)})"
    connection.execute(f"DELETE FROM ledger WHERE {of_runs} AND account = 'price'", list(run_ids))
    connection.execute(
        "INSERT INTO ledger SELECT run_id, 'price', dram_bytes_source, sum(kernels), sum(duration_ns)"
        f" FROM {groups} WHERE {of_runs} GROUP BY ALL",
        list(run_ids),
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
