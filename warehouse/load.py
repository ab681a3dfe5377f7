"""Load runs into a warehouse, each complete or not at all, and remove runs from it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl
from msgspec.structs import replace

from ridgeline.warehouse.database import connect, transaction
from ridgeline.warehouse.digests import TABLES, store_digests
from ridgeline.warehouse.early_rollups import READ, computing
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.insertion import insert
from ridgeline.warehouse.rollups import (
    GEOMETRY,
    GEOMETRY_COLUMNS,
    KEPT_TABLES,
    account_prices,
    planned_briefly,
    refresh,
    with_rows,
)
from ridgeline.warehouse.schema.tables import RUN_TABLES
from ridgeline.warehouse.selection import resolve

BATCH_RUNS = 32
BATCH_KERNELS = 20_000
BATCH_S = 1.0

_SHARED = ("signatures", "sequences")
"""The tables of :class:`RunRows` that runs share."""


class RunRows(msgspec.Struct):
    """All rows of one run, by table. Columns that are absent are NULL."""

    run_id: str
    records: dict[str, list[dict[str, Any]]] = msgspec.field(default_factory=dict)
    """Rows of small tables, without ``run_id``."""
    frames: dict[str, pl.DataFrame] = msgspec.field(default_factory=dict)
    """Rows of large tables, without ``run_id``."""
    signatures: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """Newly priced signatures."""
    sequences: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """Newly modelled sequences."""


def load(connection: duckdb.DuckDBPyConnection, run: RunRows, *, for_lake: bool = False) -> None:
    """Insert the rows of ``run`` and the ledger's price account in one transaction, in place of earlier rows.

    With ``for_lake`` the run gets no digests, and only the rollups that its price account needs: a lake stores neither.
    """
    with transaction(connection):
        _insert_facts(connection, run, {*run.frames, *run.records, *_SHARED})
        if for_lake:
            refresh(connection, [run.run_id], ["kernel_counters", "launch_geometry", "kernel_groups"])
            account_prices(connection, [run.run_id])
        else:
            _summarize(connection, [run], {})


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
        self._begun_s = 0.0
        self._alone = False
        """True once the transaction is rolled back: from then on runs only wait for ``commit``."""
        self._started: RunRows | None = None
        """The run that :meth:`begin` entered."""
        self._inserted: set[str] = set()
        """The tables of it that are inserted."""
        self._early: dict[str, Future[pl.DataFrame]] = {}
        """The early rollups of the batch's first run, by view, if a thread computes them."""

    @property
    def is_full(self) -> bool:
        """True where the batch should be committed before another run is added."""
        elapsed_s = time.monotonic() - self._begun_s
        kernels = sum(len(run.frames.get("kernels", ())) for run in self._runs)
        return self._alone or len(self._runs) >= BATCH_RUNS or kernels >= BATCH_KERNELS or elapsed_s >= BATCH_S

    def begin(self, run: RunRows) -> None:
        """Insert the tables that a run has so far, while its other rows are made and its early rollups computed.

        Call it for the only run of a batch, then :meth:`add` with the same object and all its rows, or :meth:`abandon`.
        The kernels, which may lack their modelled bytes, are inserted then.
        """
        self._enter(run)
        self._started = run
        with self._rolled_back_on_error():
            self._compute_early(run)
            tables = {*run.frames, *run.records, "signatures"} - {"warnings", "kernels"}
            _insert_facts(self._connection, run, tables)
            self._inserted = tables

    def abandon(self) -> None:
        """Remove the run that was begun, if there is one."""
        if self._started:
            if not self._alone:
                self._roll_back()
            self._empty()

    def add(self, run: RunRows) -> None:
        """Insert the run's rows; the connection sees them at once, other connections after :meth:`commit`."""
        if run is not self._started:
            self._enter(run)
        if self._alone:
            return
        with self._rolled_back_on_error():
            is_alone = len(self._runs) == 1 and len(run.frames.get("kernels", ())) >= BATCH_KERNELS
            if is_alone and not self._early:
                self._compute_early(run)
            _insert_facts(self._connection, run, {*run.frames, *run.records, *_SHARED} - self._inserted)

    def _enter(self, run: RunRows) -> None:
        if not self._runs:
            self._begun_s = time.monotonic()
            self._transaction.enter_context(transaction(self._connection))
        self._runs.append(run)

    def _compute_early(self, run: RunRows) -> None:
        """Compute rollups beside the insertion of the rows, which they would otherwise wait for."""
        rows = {table: run.frames.get(table, run.records.get(table, ())) for table in READ}
        self._transaction.enter_context(planned_briefly(self._connection))
        rollups = computing(self._connection, run.run_id, rows, with_rows({*_filled(run)}))
        self._early = self._transaction.enter_context(rollups)

    def _empty(self) -> None:
        self._runs, self._alone, self._started, self._inserted, self._early = [], False, None, set(), {}

    @contextmanager
    def _rolled_back_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as e:
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
        runs, alone = self._runs, self._alone
        early = self._early if len(runs) == 1 else {}
        self._empty()
        if runs and not alone:
            try:
                with self._transaction:
                    _summarize(self._connection, runs, early)
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
        self._alone = True
        with suppress(_RollBack), self._transaction:
            raise _RollBack


class _RollBack(Exception):
    """Ends a transaction without a commit."""


def copy_runs(source: duckdb.DuckDBPyConnection, target: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Copy all rows of the runs, and the prices that they refer to, from one warehouse or lake into another warehouse.

    Sequences of the cache model stay behind: they only save modelling further runs.
    """
    signatures = " UNION ".join(
        f"SELECT signature_id FROM {table} WHERE list_contains($runs, run_id)"
        for table in ("kernel_classes", "operators")
    )
    conditions = dict.fromkeys(RUN_TABLES, "list_contains($runs, run_id)")
    with transaction(target):
        for table, condition in {**conditions, "signatures": f"signature_id IN ({signatures})"}.items():
            rows = source.sql(f"SELECT * FROM {table} WHERE {condition}", params={"runs": list(run_ids)})
            insert(target, table, pl.DataFrame(rows), verb="INSERT OR REPLACE" if table == "signatures" else "INSERT")
        refresh(target, run_ids)


def forget(path: str | Path, runs: Sequence[str]) -> list[str]:
    """Remove ``runs``, as :func:`~ridgeline.warehouse.selection.resolve` reads them, all or none.

    Return them as ``name (id)``. What runs share, such as prices, stays. Raises :class:`SelectionError` for a run that
    is unknown or ambiguous, :class:`WarehouseError` if the warehouse does not exist or cannot be written.
    """
    path = Path(path)
    if not path.exists():
        raise WarehouseError(f"{path}: no such warehouse: name one with -w")
    with connect(path) as connection:
        run_ids = resolve(connection, runs) if runs else []
        removed = connection.execute(
            "SELECT run_id, name FROM runs WHERE list_contains(?, run_id) ORDER BY name, run_id", [run_ids]
        ).fetchall()
        with transaction(connection):
            remove(connection, run_ids)
    return [f"{name} ({run_id})" for run_id, name in removed]


def remove(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Delete every row of the runs, inside the caller's transaction."""
    placeholders = ", ".join("?" for _ in run_ids)
    for table in (*RUN_TABLES, *KEPT_TABLES, "digests") if run_ids else ():
        connection.execute(f"DELETE FROM {table} WHERE run_id IN ({placeholders})", list(run_ids))


def _insert_facts(connection: duckdb.DuckDBPyConnection, run: RunRows, tables: Collection[str]) -> None:
    """Insert the run's rows of ``tables`` in place of earlier ones, inside the caller's transaction."""
    if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run.run_id]).fetchone():
        remove(connection, [run.run_id])
    for table in filter(tables.__contains__, _SHARED):
        if shared := getattr(run, table):
            # DuckDB takes 3 ms longer to replace than to insert.
            is_empty = not connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall()
            insert(connection, table, shared, verb="INSERT" if is_empty else "INSERT OR REPLACE")
    rows: dict[str, pl.DataFrame | list[dict[str, Any]]] = {**run.frames, **run.records}
    for table in filter(tables.__contains__, rows):
        insert(connection, table, rows[table], run.run_id)


def _summarize(
    connection: duckdb.DuckDBPyConnection,
    runs: Sequence[RunRows],
    early: Mapping[str, Future[pl.DataFrame]],
) -> None:
    """Write the rollups, then the price accounts that they sum to, then digests of it all; in the caller's
    transaction. ``early`` has rollups by view that another thread computes, if there is one run.
    """
    run_ids = [run.run_id for run in runs]
    filled = {"ledger", *chain.from_iterable(map(_filled, runs))}
    views = [view for view in with_rows(filled) if view not in early]
    waiting = dict(early)
    if geometry := waiting.pop("launch_geometry", None):  # which the other views read
        insert(connection, "kept_launch_geometry", geometry.result())
    refresh(connection, run_ids, views, are_new=True)
    account_prices(connection, run_ids)
    store_digests(connection, run_ids, [table for table in TABLES if table in filled])
    for view, rows in waiting.items():
        insert(connection, f"kept_{view}", rows.result())


def _filled(run: RunRows) -> Iterator[str]:
    """Yield the tables of the run's rows, and ``GEOMETRY`` if a class of its kernels has any."""
    shared = {"signatures": run.signatures, "sequences": run.sequences}
    tables: dict[str, Sized] = {**run.frames, **run.records, **shared}
    yield from (table for table, rows in tables.items() if len(rows))
    classes = run.frames.get("kernel_classes", pl.DataFrame())
    if any(classes[column].null_count() < len(classes) for column in {*GEOMETRY_COLUMNS}.intersection(classes.columns)):
        yield GEOMETRY
