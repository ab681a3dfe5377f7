"""Decoder processes: children that import nothing but the reader decode traces while this process prepares and loads.

A large trace is divided among all of them, smaller ones go to one child each. The children are plain Python processes
that run ``ridgeline.analyze.reading.decoder_process``, safe whatever threads the caller has.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO

from ridgeline import IMPORT_ROOT
from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.decoder_process import Answer, Task
from ridgeline.analyze.reading.reader import LARGEST_EVENT_BYTES

SPLIT_BYTES = 24 << 20
"""Traces larger than this are divided among the children."""
CHILD_BYTES = 3 << 20
"""Smaller ones are decoded here when nothing else is under way: starting a child costs more than it saves."""
_GZIP_RATIO = 10
_PREFIX, _LOCK = ".ridgeline-columns-", "lock"


class Decoders:
    """Submit paths, take their columns in the same order. Leaving the context ends the children, busy or not.

    Columns of long traces lie in files of a temporary folder in ``scratch``, gone with the context.
    """

    def __init__(self, jobs: int, scratch: Path | None = None, largest_event_bytes: int = LARGEST_EVENT_BYTES) -> None:
        self._largest_event_bytes = largest_event_bytes
        self._jobs = max(1, jobs)
        self._scratch, self._lock = _scratch_in(scratch)
        self._folders = (Path(self._scratch.name) / str(number) for number in count())
        self._children: list[_Child] = []
        self._waiting: deque[tuple[Path, list[_Child]]] = deque()
        self._turn = 0

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.end()
        self._scratch.cleanup()
        if self._lock:
            self._lock.close()

    def __len__(self) -> int:
        """Traces submitted and not taken yet."""
        return len(self._waiting)

    def submit(self, path: Path) -> None:
        """Begin to decode a trace."""
        size = _size(path)
        if self._jobs == 1 or (size < CHILD_BYTES and not self._children):
            self._waiting.append((path, []))
            return
        parts = self._jobs if size > SPLIT_BYTES else 1
        owners = [self._next_child() for _ in range(parts)]
        for part, child in enumerate(owners):
            child.send(self._task(path, part, parts))
        self._waiting.append((path, owners))

    def take(self) -> list[Columns]:
        """The parts of the trace submitted first. Raises :class:`TraceError` if it cannot be read."""
        path, owners = self._waiting.popleft()
        answers = [child.answer() for child in owners]
        parts = [answer for answer in answers if isinstance(answer, Columns)]
        if len(answers) == 1 and isinstance(answers[0], TraceError):
            raise answers[0]
        # parts cannot tell damage from a cut at the wrong place; the whole can
        if parts and len(parts) == len(answers):
            return parts
        for part in parts:
            part.remove_files()
        return self.read(path)

    def read(self, path: Path) -> list[Columns]:
        """The columns of a trace, decoded here and now. Raises :class:`TraceError` if it cannot be read."""
        return [self._task(path).read()]

    def _task(self, path: Path, part: int = 0, parts: int = 1) -> Task:
        return Task(path, part, parts, next(self._folders), self._largest_event_bytes)

    def _next_child(self) -> _Child:
        if len(self._children) < self._jobs:
            self._children.append(_Child())
            return self._children[-1]
        self._turn += 1
        return self._children[self._turn % self._jobs]


Scratch = tempfile.TemporaryDirectory[str]


def _scratch_in(folder: Path | None) -> tuple[Scratch, IO[bytes] | None]:
    """A locked folder there, or where temporary files go: that a place cannot be written is not ours to say."""
    place = folder or Path(tempfile.gettempdir())
    _sweep(place)
    while True:
        try:
            scratch = Scratch(prefix=_PREFIX, dir=place, ignore_cleanup_errors=True)
        except OSError:
            scratch = Scratch(prefix=_PREFIX, ignore_cleanup_errors=True)
        with suppress(FileNotFoundError):  # swept before it had its lock
            return scratch, _locked(Path(scratch.name) / _LOCK)


def _locked(path: Path) -> IO[bytes] | None:
    """The file with a lock on it, made if need be; None where another holds it or there are no locks."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed left there: nobody has its lock, on this machine or another."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if not (left / _LOCK).exists():
                left.rmdir()  # if it is empty
            elif file := _locked(left / _LOCK):
                shutil.rmtree(left, ignore_errors=True)
                file.close()


def _size(path: Path) -> int:
    """Bytes on disk, of gzip data an estimate; 0 for what cannot be read: opening it will say why."""
    try:
        return path.stat().st_size * (_GZIP_RATIO if path.suffix == ".gz" else 1)
    except OSError:
        return 0


class _Child:
    def __init__(self) -> None:
        path = os.pathsep.join(p for p in (str(IMPORT_ROOT), os.environ.get("PYTHONPATH", "")) if p)
        command = [sys.executable, "-c", "from ridgeline.analyze.reading.decoder_process import main; main()"]
        environment = {**os.environ, "PYTHONPATH": path}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,  # of its own: Ctrl-C is the parent's to handle, whose end ends it
        )
        assert self._process.stdin
        assert self._process.stdout
        self._tasks, self._answers = self._process.stdin, self._process.stdout

    def send(self, task: Task) -> None:
        with suppress(BrokenPipeError):  # the answer will say that the child is gone
            pickle.dump(task, self._tasks)
            self._tasks.flush()

    def answer(self) -> Answer:
        try:
            answer: Answer = pickle.load(self._answers)
        except (EOFError, pickle.UnpicklingError):
            return TraceError("a decoder process ended early (out of memory?): try again with --jobs 1")
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with suppress(BrokenPipeError):
            self._tasks.close()
