"""Where runs are stored: a warehouse file, or a lake by way of a warehouse in memory."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ridgeline.analyze.resources.limits import Limits

if TYPE_CHECKING:
    import duckdb

    from ridgeline.warehouse.load import Batch, RunRows


class Stored(NamedTuple):
    """What a sink has of a run."""

    name: str
    content_sha256: str
    rules_version: int


class Sink(Protocol):
    """Stores runs, each whole or not at all. ``connection`` and ``stored`` are there once its context is entered."""

    connection: duckdb.DuckDBPyConnection
    """A warehouse with the prices of earlier runs."""

    def __enter__(self) -> Sink: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def scratch(self) -> Path | None:
        """The folder for temporary files; None for the usual one."""

    @property
    def is_new(self) -> bool:
        """True if the sink has no runs, so that a trace's signatures must all be priced."""

    @property
    def stored(self) -> dict[str, Stored]:
        """By run id, the runs that are stored, and those added."""

    @property
    def is_full(self) -> bool:
        """True if runs were added that should be committed before another is added."""

    def add(self, run: RunRows) -> None:
        """Add a run to the next commit."""

    def commit(self) -> list[Exception | None]:
        """Store the runs added; return for each the error that prevented that, or None."""


class WarehouseSink:
    """A warehouse file, made if it does not exist; it is removed again if no run is stored."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self.is_new = not path.exists()
        # beside the warehouse, since the folder of temporary files may be in memory
        self.scratch = None if "TMPDIR" in os.environ else path.absolute().parent
        self.connection: duckdb.DuckDBPyConnection
        self.stored: dict[str, Stored] = {}
        self._batch: Batch
        self._is_kept = False

    def __enter__(self) -> WarehouseSink:
        from ridgeline.warehouse import connect
        from ridgeline.warehouse.load import Batch

        self.connection = connect(self._path)  # waits for the lock of another process
        self._batch = Batch(self.connection)
        try:
            self.connection.execute(f"SET memory_limit = '{self._limits.database_bytes} B'")
            rows = self.connection.execute("SELECT run_id, name, content_sha256, rules_version FROM runs").fetchall()
        except BaseException:
            self.__exit__()
            raise
        self.stored = {run_id: Stored(*run) for run_id, *run in rows}
        self._is_kept = bool(rows)
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_new and not self._is_kept:
            self._path.unlink(missing_ok=True)  # before close, which lets a waiting process open the file
        self.connection.close()

    @property
    def is_full(self) -> bool:
        return self._batch.is_full

    def add(self, run: RunRows) -> None:
        self._batch.add(run)

    def commit(self) -> list[Exception | None]:
        errors = self._batch.commit()
        self._is_kept |= None in errors
        return errors


class LakeSink:
    """A lake. ``connection`` is a warehouse in memory that runs pass through, made unless given.

    With ``run_id`` only that run is looked up in the lake.
    """

    scratch = None
    is_full = True  # each run is written at once: another machine may write the next

    def __init__(
        self,
        location: str,
        limits: Limits,
        connection: duckdb.DuckDBPyConnection | None = None,
        run_id: str | None = None,
    ) -> None:
        self._location, self._limits, self._run_id = location, limits, run_id
        self._connection = connection
        self._exit = ExitStack()
        self.connection: duckdb.DuckDBPyConnection

    @property
    def is_new(self) -> bool:
        return not self.stored

    @cached_property
    def stored(self) -> dict[str, Stored]:
        from ridgeline.warehouse.lake import Lake, commits

        return {
            commit.run_id: Stored(commit.name, commit.content_sha256, commit.rules_version)
            for commit in commits(Lake(self._location), self._run_id)
        }

    def __enter__(self) -> LakeSink:
        from ridgeline.warehouse import connect

        self.connection = self._connection or self._exit.enter_context(connect(":memory:"))
        self.connection.execute(f"SET memory_limit = '{self._limits.database_bytes} B'")
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def add(self, run: RunRows) -> None:
        from ridgeline.warehouse.lake import move_run
        from ridgeline.warehouse.load import load

        # the warehouse in memory keeps the prices of the run and forgets its rows
        load(self.connection, run, for_lake=True)
        move_run(self.connection, self._location, run.run_id)

    def commit(self) -> list[Exception | None]:
        return [None]
