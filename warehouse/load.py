"""Load runs into a warehouse, each complete or not at all, and remove runs from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from ridgeline.warehouse.database import connect, transaction
from ridgeline.warehouse.digests import store_digests
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.rollups import KEPT_TABLES, refresh
from ridgeline.warehouse.schema.tables import RUN_TABLES
from ridgeline.warehouse.selection import resolve

SLICE_ROWS = 1 << 18
"""Rows that DuckDB inserts by one statement."""
FEW_ROWS = 1000

BATCH_RUNS = 32
BATCH_KERNELS = 20_000
BATCH_S = 1.0


@dataclass
class RunRows:
    """All rows of one run, by table. Columns that are absent are NULL."""

    run_id: str
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows of small tables, without ``run_id``."""
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    """Rows of large tables, without ``run_id``."""
    signatures: list[dict[str, Any]] = field(default_factory=list)
    """Newly priced signatures."""
    sequences: list[dict[str, Any]] = field(default_factory=list)
    """Newly modelled sequences."""


def load(connection: duckdb.DuckDBPyConnection, run: RunRows, *, for_lake: bool = False) -> None:
    """Insert the rows of ``run`` and the ledger's price account in one transaction, in place of earlier rows.

    With ``for_lake`` the run gets no digests, and only the rollups that its price account needs: a lake stores neither.
    """
    with transaction(connection):
        _insert_facts(connection, run)
        if for_lake:
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
        """True once the transaction is rolled back: from then on runs only wait for ``commit``."""

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
            if not isinstance(e, Exception):  # an interruption, not the run's fault
                self._runs.pop()
                raise

    def commit(self) -> list[Exception | None]:
        """Store the batch and empty it; return for each run the error that kept it out of the warehouse, or None.

        Raises :class:`StorageError` if the file cannot be written.
        """
        if self._runs and not self._alone:
            try:
                # The caller's own queries run in the transaction too. If one failed, DuckDB has given it up.
                self._connection.execute("SELECT 1")
            except duckdb.Error:
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
                pass  # perhaps the fault of one run: the others can still be loaded
        return self._load_one_by_one(runs)

    def _load_one_by_one(self, runs: Sequence[RunRows]) -> list[Exception | None]:
        """Load each run in a transaction of its own; return the errors as :meth:`commit` does."""
        signatures: dict[str, dict[str, Any]] = {}
        sequences: dict[str, dict[str, Any]] = {}
        errors: list[Exception | None] = []
        for run in runs:
            # A run refers to prices that came with the runs before it, which may fail to load: each brings them all.
            signatures |= {row["signature_id"]: row for row in run.signatures}
            sequences |= {row["sequence_id"]: row for row in run.sequences}
            complete = replace(run, signatures=list(signatures.values()), sequences=list(sequences.values()))
            try:
                load(self._connection, complete)
            except WarehouseError:
                raise
            except Exception as e:
                errors.append(e)
            else:
                errors.append(None)
        return errors

    def _roll_back(self) -> None:
        with suppress(_RollBack), self._transaction:
            raise _RollBack


class _RollBack(Exception):
    """Ends a transaction without a commit."""


def forget(path: str | Path, runs: Sequence[str]) -> list[str]:
    """Remove ``runs`` (names, ids or unique prefixes of either), all or none; return them as ``name (id)``.

    What runs share, such as prices, stays. Raises :class:`SelectionError` for a run that is unknown or ambiguous,
    :class:`WarehouseError` if the warehouse does not exist or cannot be written.
    """
    path = Path(path)
    if not path.exists():
        raise WarehouseError(f"{path}: no such warehouse: name one with -w")
    connection = connect(path)
    try:
        run_ids = resolve(connection, runs) if runs else []
        removed = connection.execute(
            "SELECT run_id, name FROM runs WHERE list_contains(?, run_id) ORDER BY name, run_id", [run_ids]
        ).fetchall()
        with transaction(connection):
            remove(connection, run_ids)
    finally:
        connection.close()
    return [f"{name} ({run_id})" for run_id, name in removed]


def remove(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Delete every row of the runs, inside the caller's transaction."""
    placeholders = ", ".join("?" for _ in run_ids)
    for table in (*RUN_TABLES, *KEPT_TABLES, "digests") if run_ids else ():
        connection.execute(f"DELETE FROM {table} WHERE run_id IN ({placeholders})", list(run_ids))


def store_sequences(connection: duckdb.DuckDBPyConnection, records: Sequence[dict[str, Any]]) -> None:
    """Insert or replace rows of ``sequences``, inside the caller's transaction."""
    for record in records:
        values = [record[column] for column in ("sequence_id", "read_bytes", "write_bytes")]
        connection.execute("INSERT OR REPLACE INTO sequences VALUES (?, ?, ?)", values)


def account_prices(
    connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str], groups: str = "kernel_groups"
) -> None:
    """Replace the ledger's price account of the runs by sums over the view ``groups``, inside the caller's
    transaction.
    """
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
    """Insert the rows of ``frame`` into ``table``, with ``run_id`` unless it is None.

    ``verb`` is INSERT or INSERT OR REPLACE.
    """
    if frame.is_empty():
        return
    # A long column of texts becomes codes of its distinct texts, which a join puts back: DuckDB would copy each row's
    # Python string, and 10 million kernels have a few hundred names. A column of only NULL has no type to insert.
    frame = pl.DataFrame(
        series.cast(pl.Enum(series.drop_nulls().unique().sort()))
        if series.dtype == pl.String and len(series) >= FEW_ROWS
        else series
        for series in frame
        if series.dtype != pl.Null
    )
    values, joins, registered = [], [], ["new_rows"]
    for i, (column, kind) in enumerate(frame.schema.items()):
        if isinstance(kind, pl.Enum):
            name, texts = f"texts_{i}", kind.categories.to_list()
            connection.register(name, {"code": np.arange(len(texts)), "text": np.array(texts, dtype=object)})
            registered.append(name)
            values.append(f"{name}.text")
            joins.append(f'LEFT JOIN {name} ON {name}.code = new_rows."{column}"')
        else:
            values.append(f'new_rows."{column}"')
    columns = ", ".join(f'"{column}"' for column in frame.columns)
    selected = f"{', '.join(values)} FROM new_rows {' '.join(joins)}"
    statement, parameters = f"{verb} INTO {table} ({columns}) SELECT {selected}", []
    if run_id is not None:
        statement, parameters = f"{verb} INTO {table} (run_id, {columns}) SELECT ?, {selected}", [run_id]
    for rows in frame.iter_slices(SLICE_ROWS):
        connection.register("new_rows", {series.name: _array(series) for series in rows})
        connection.execute(statement, parameters)
    for name in registered:
        connection.unregister(name)


def _array(series: pl.Series) -> Any:
    """Return a numpy array, masked where null, which DuckDB reads in place; frames it reads only through pyarrow."""
    if series.dtype == pl.String:
        return np.array(series.to_list(), dtype=object)
    if series.dtype == pl.Enum:
        series = series.to_physical().cast(pl.Int64)
    if not series.null_count():
        return series.to_numpy()
    return np.ma.masked_array(series.fill_null(0).to_numpy(), mask=series.is_null().to_numpy())


def _insert_facts(connection: duckdb.DuckDBPyConnection, run: RunRows) -> None:
    """Insert the run's rows in place of earlier ones, inside the caller's transaction."""
    if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run.run_id]).fetchone():
        remove(connection, [run.run_id])
    if run.signatures:
        frame = pl.DataFrame(run.signatures, infer_schema_length=None)
        insert(connection, "signatures", frame, verb="INSERT OR REPLACE")
    store_sequences(connection, run.sequences)
    for table, frame in run.frames.items():
        insert(connection, table, frame, run.run_id)
    for table, records in run.records.items():
        insert(connection, table, pl.DataFrame(records, infer_schema_length=None), run.run_id)


def _summarize(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Write the rollups, then the price accounts that they sum to, then digests of it all; in the caller's
    transaction.
    """
    refresh(connection, run_ids)
    account_prices(connection, run_ids)
    store_digests(connection, run_ids)
