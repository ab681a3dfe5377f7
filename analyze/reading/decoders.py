"""Decoder processes: children that import nothing but the reader decode traces while this process prepares and loads.

A large trace is divided among all children; a smaller one goes to one child. After the last trace the first child
simulates the L2, so that this process need not import wasmtime.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO

from ridgeline.analyze.cache_model.l2 import MODULE, Simulation
from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading import early_start
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.decoder_process import Answer, Task
from ridgeline.analyze.reading.early_start import CHILD_BYTES, PROGRAM, estimated_bytes, parts_of
from ridgeline.analyze.reading.reader import LARGEST_EVENT_BYTES
from ridgeline.child_process import Child, ChildEnded

_PREFIX, _LOCK = ".ridgeline-columns-", "lock"


class Decoders:
    """A pool of up to ``jobs`` decoder processes: submit paths, take their columns in the same order.

    Columns of long traces lie in files of a temporary folder in ``scratch``, which leaving the context removes. Leaving
    it also kills the children. While :meth:`take` waits, ``found`` is called with names of operators of the traces.
    """

    def __init__(
        self,
        jobs: int,
        scratch: Path | None = None,
        event_bytes: int = LARGEST_EVENT_BYTES,
        found: Callable[[set[str]], None] = lambda _: None,
    ) -> None:
        self._largest_event_bytes = min(LARGEST_EVENT_BYTES, event_bytes)
        self._jobs, self._found = max(1, jobs), found
        self._scratch, self._lock = _make_scratch(scratch or Path(tempfile.gettempdir()))
        self._folders = (Path(self._scratch.name) / str(number) for number in count())
        self._children: list[Child] = []
        self._waiting: deque[tuple[Path, bool, list[Child]]] = deque()
        self._turn = 0
        self._is_finished = False
        self._simulator: Child | None = None

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children + early_start.started:
            child.kill()
        early_start.started.clear()
        self._scratch.cleanup()
        if self._lock:
            self._lock.close()

    def __len__(self) -> int:
        """Return how many traces were submitted and not taken yet."""
        return len(self._waiting)

    def submit(self, path: Path, *, allocations: bool = False) -> None:
        """Start to decode a trace, with its changes of memory if ``allocations``."""
        size = estimated_bytes(path)
        owners: list[Child] = []
        if self._jobs > 1 and (size >= CHILD_BYTES or self._children):
            parts = parts_of(size, self._jobs)
            for part in range(parts):
                if len(self._children) < self._jobs:
                    child = early_start.started.pop() if early_start.started else Child(PROGRAM, without_site=True)
                    self._children.append(child)
                else:
                    self._turn += 1
                    child = self._children[self._turn % self._jobs]
                child.send(self._task(path, part, parts, allocations))  # a busy child queues it
                owners.append(child)
        self._waiting.append((path, allocations, owners))

    def expect_simulation(self) -> None:
        """Let the first child compile the simulation of the L2 once it has decoded, if there is a child."""
        if self._children:
            self._simulator = self._children[0]
            self._simulator.send(MODULE)

    def simulate(self, simulation: Simulation) -> bytes:
        """Run a simulation: the first one after the last trace in the child that expects it, others in this process.

        The child ends with its answer, since it still holds the memory that decoding took.
        """
        if self._simulator and self._is_finished and not self._waiting:
            child, self._simulator = self._simulator, None
            child.send(simulation)
            with suppress(ChildEnded):
                moved: bytes = child.receive()
                child.stop()
                return moved
        return simulation.run()

    def finish(self) -> None:
        """Let the children end with their last answers: no other trace will be submitted."""
        self._is_finished = True

    def take(self) -> list[Columns]:
        """Return the parts of the trace submitted first. Raises :class:`TraceError` if it cannot be read."""
        path, allocations, owners = self._waiting.popleft()
        answers: list[Answer] = []
        for child in owners:
            try:
                while isinstance(answer := child.receive(), set):
                    self._found(answer)
                answers.append(answer)
            except ChildEnded as e:
                answers.append(TraceError(f"{path}: the decoder process {e}: try again with --jobs 1"))
        if self._is_finished and not self._waiting:  # the system frees their memory while this process goes on
            for child in self._children:
                if child is not self._simulator:
                    child.stop()
        # a trace that was not divided is damaged; a divided one may have been cut inside an event
        if len(answers) == 1 and isinstance(answers[0], TraceError):
            raise answers[0]
        parts = [answer for answer in answers if isinstance(answer, Columns)]
        if parts and len(parts) == len(answers):
            return parts
        for part in parts:
            part.remove_files()
        return self.read(path, allocations=allocations)

    def discard(self) -> None:
        """Drop the trace submitted first."""
        if self._waiting[0][-1]:
            with suppress(TraceError):
                for part in self.take():
                    part.remove_files()
        else:
            self._waiting.popleft()

    def read(self, path: Path, *, allocations: bool = False) -> list[Columns]:
        """Decode a trace in this process and return its columns. Raises :class:`TraceError`."""
        return [self._task(path, allocations=allocations).read()]

    def _task(self, path: Path, part: int = 0, parts: int = 1, allocations: bool = False) -> Task:
        return Task(path, part, parts, next(self._folders), self._largest_event_bytes, allocations)


Scratch = tempfile.TemporaryDirectory[str]


def _make_scratch(folder: Path) -> tuple[Scratch, IO[bytes] | None]:
    """Make a locked scratch folder in ``folder``, or among temporary files if that cannot be written.

    Folders that killed processes left in ``folder`` are removed first: no process holds their lock, here or elsewhere.
    """
    for leftover in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if not (leftover / _LOCK).exists():
                leftover.rmdir()  # fails unless it is empty
            elif file := _lock(leftover / _LOCK):
                shutil.rmtree(leftover, ignore_errors=True)
                file.close()
    while True:
        try:
            scratch = Scratch(prefix=_PREFIX, dir=folder, ignore_cleanup_errors=True)
        except OSError:
            scratch = Scratch(prefix=_PREFIX, ignore_cleanup_errors=True)
        with suppress(FileNotFoundError):  # another process swept the folder before it was locked: make another
            return scratch, _lock(Path(scratch.name) / _LOCK)


def _lock(path: Path) -> IO[bytes] | None:
    """Open and lock the file, made if need be; None if another process holds it or the file system has no locks."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
