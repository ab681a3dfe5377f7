"""The program of a decoder process: it receives tasks and sends the columns, or the error, of each.

While it decodes, it sends sets of names: operators that it found. For a simulation of the L2 it sends the bytes moved.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ridgeline import webassembly
from ridgeline.analyze.cache_model.l2 import Simulation
from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.reader import LARGEST_EVENT_BYTES
from ridgeline.child_process import Parent

Answer = Columns | TraceError


class Task(NamedTuple):
    """Decode part number ``part`` of ``parts`` of a trace; columns that become long go to files in ``folder``.

    ``allocations`` says whether to read changes of memory.
    """

    path: Path
    part: int = 0
    parts: int = 1
    folder: Path | None = None
    largest_event_bytes: int = LARGEST_EVENT_BYTES
    allocations: bool = False

    def read(self, report: Callable[[set[str]], None] | None = None) -> Columns:
        """Return the columns of the part, and ``report`` names of operators on the way. Raises :class:`TraceError`."""
        return read_part(*self, report=report)


def main() -> None:
    """Decode and simulate until the parent ends."""
    parent = Parent()
    while True:
        request: Task | Simulation | Path = parent.receive()
        if isinstance(request, Path):  # a module that a later request needs
            with suppress(Exception):  # it fails then
                webassembly.load(request)
        elif isinstance(request, Simulation):
            parent.send(request.run())
        else:
            parent.send(_answer(request, parent.send))


def _answer(task: Task, report: Callable[[set[str]], None]) -> Answer:
    try:
        return task.read(report)
    except TraceError as e:
        return e
    except Exception as e:  # an unforeseen error must fail this trace alone
        return TraceError(f"{task.path}: cannot be decoded: {type(e).__name__}: {e}")
