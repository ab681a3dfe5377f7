"""Where runs are stored: a warehouse file, or a lake by way of a warehouse in memory."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ridgeline.analyze.pricing.outside import Outside, reload, source
from ridgeline.analyze.resources.limits import Limits

if TYPE_CHECKING:
    import duckdb

    from ridgeline.warehouse.load import Batch, RunRows


REPRICED_NOW = 0
"""The rules version of a stored run with operators that rules from outside price, and did not when it was stored."""


class Stored(NamedTuple):
    """What a sink has of a run."""

    name: str
    content_sha256: str
    rules_version: int


class WarehouseSink:
    """A warehouse file, made if it does not exist; it is removed again if no run is stored.

    ``connection`` has the prices of earlier runs, ``stored`` the runs that are stored and those added, by run id. Both
    are there once the context is entered. ``scratch`` is the folder for temporary files, None for the usual one. A sink
    that ``is_new`` has no runs, so that a trace's signatures must all be priced. With ``one_thread`` DuckDB uses
    no other, which takes a tenth less time for runs without a table longer than the rows that a thread takes at once.
    """

    def __init__(self, path: Path, limits: Limits, *, one_thread: bool = False) -> None:
        self._path, self._limits, self._one_thread = path, limits, one_thread
        self.is_new = not path.exists()
        # beside the warehouse, since the folder of temporary files may be in memory
        self.scratch = None if "TMPDIR" in os.environ else path.absolute().parent
        self.connection: duckdb.DuckDBPyConnection
        self.stored: dict[str, Stored] = {}
        self._batch: Batch
        self._is_kept = False

    def __enter__(self) -> WarehouseSink:
        from ridgeline.warehouse import connect

        rules = reload()  # before a file is made: an error in rules is no run's error
        self.connection = connect(self._path)  # waits for the lock of another process
        # after that, since it needs polars, which another thread imports meanwhile
        from ridgeline.warehouse.load import Batch

        self._batch = Batch(self.connection)
        try:
            self.connection.execute(f"SET memory_limit = '{self._limits.database_bytes} B'")
            if self._one_thread:
                self.connection.execute("SET threads = 1")
            rows = self.connection.execute("SELECT run_id, name, content_sha256, rules_version FROM runs").fetchall()
        except BaseException:
            self.__exit__()
            raise
        self.stored = {run_id: Stored(*run) for run_id, *run in rows}
        for run_id in self._repriced_by(rules):
            self.stored[run_id] = self.stored[run_id]._replace(rules_version=REPRICED_NOW)
        self._is_kept = bool(rows)
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_new and not self._is_kept:
            # Before close, which lets a waiting process open the file. A log that a failed commit left would make
            # DuckDB refuse the next file of this name.
            Path(f"{self._path}.wal").unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        self.connection.close()

    def _repriced_by(self, rules: Outside) -> list[str]:
        """The ids of stored runs with an operator that the rules from outside did not yet price."""
        if not rules.sources:
            return []
        stored = self.connection.execute("SELECT DISTINCT operator, outside_rules FROM signatures").fetchall()
        changed = [operator for operator, by in stored if source(operator) not in (None, by)]
        rows = self.connection.execute(
            "SELECT DISTINCT run_id FROM kernel_classes JOIN signatures USING (signature_id)"
            " WHERE list_contains(?, operator)",
            [changed],
        ).fetchall()
        return [run_id for (run_id,) in rows]

    @property
    def is_full(self) -> bool:
        """True if runs were added that should be committed before another is added."""
        return self._batch.is_full

    def begin(self, run: RunRows) -> None:
        """Store the rows that a run has so far, if it is to be a commit of its own; :meth:`add` must follow."""
        self._batch.begin(run)

    def abandon(self) -> None:
        """Remove a run that was begun and failed."""
        self._batch.abandon()

    def add(self, run: RunRows) -> None:
        """Add a run to the next commit."""
        self._batch.add(run)

    def commit(self) -> list[Exception | None]:
        """Store the runs added, each whole or not at all; return for each the error that prevented that, or None."""
        errors = self._batch.commit()
        self._is_kept |= None in errors
        return errors


class LakeSink:
    """A lake, with the members of :class:`WarehouseSink`.

    ``connection`` is a warehouse in memory that runs pass through, made unless one is passed. With ``run_id`` only that
    run is looked up in the lake.
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
        self._passed = connection
        self.connection: duckdb.DuckDBPyConnection

    @property
    def is_new(self) -> bool:
        return not self.stored

    @cached_property
    def stored(self) -> dict[str, Stored]:
        from ridgeline.warehouse.lake.commits import commits
        from ridgeline.warehouse.lake.files import Lake

        return {
            commit.run_id: Stored(commit.name, commit.content_sha256, commit.rules_version)
            for commit in commits(Lake(self._location), self._run_id)
        }

    def __enter__(self) -> LakeSink:
        from ridgeline.warehouse import connect

        reload()
        self.connection = self._passed or connect(":memory:")
        self.connection.execute(f"SET memory_limit = '{self._limits.database_bytes} B'")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._passed:
            self.connection.close()

    def begin(self, run: RunRows) -> None:
        """Do nothing: a lake gets whole runs."""

    def abandon(self) -> None:
        """Do nothing: no run is begun."""

    def add(self, run: RunRows) -> None:
        from ridgeline.warehouse.lake.export import move_run
        from ridgeline.warehouse.load import load

        # the warehouse in memory keeps the prices of the run and forgets its rows
        load(self.connection, run, for_lake=True)
        move_run(self.connection, self._location, run.run_id)

    def commit(self) -> list[Exception | None]:
        return [None]


Sink = WarehouseSink | LakeSink
