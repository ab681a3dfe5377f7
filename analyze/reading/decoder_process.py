"""The program of a decoder process: it receives tasks and sends the columns, or the error, of each.

While it decodes, it sends sets of names: operators that it found.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import Columns, read_part
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
    """Decode until the parent ends."""
    parent = Parent()
    while True:
        task: Task = parent.receive()
        answer: Answer
        try:
            answer = task.read(parent.send)
        except TraceError as e:
            answer = e
        except Exception as e:  # an unforeseen error must fail this trace alone
            answer = TraceError(f"{task.path}: cannot be decoded: {type(e).__name__}: {e}")
        parent.send(answer)
