"""What a decoder process runs: read tasks, answer each with its columns or its error, as pickles."""

from __future__ import annotations

import gc
import pickle
import sys
from pathlib import Path
from typing import NamedTuple

from analyze.columns import Columns, read_part
from analyze.errors import TraceError
from analyze.reader import LARGEST_EVENT_BYTES

Answer = Columns | TraceError


class Task(NamedTuple):
    """Decode one part of a trace; what becomes long goes to files in the folder."""

    path: Path
    part: int = 0
    parts: int = 1
    folder: Path | None = None
    largest_event_bytes: int = LARGEST_EVENT_BYTES

    def read(self) -> Columns:
        """Raises :class:`TraceError`."""
        return read_part(
            self.path, self.part, self.parts, folder=self.folder, largest_event_bytes=self.largest_event_bytes
        )


def main() -> None:
    """Serve until there are no more tasks."""
    gc.disable()
    tasks, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            task: Task = pickle.load(tasks)
        except EOFError:
            return
        pickle.dump(_answer(task), answers, protocol=5)
        answers.flush()


def _answer(task: Task) -> Answer:
    try:
        return task.read()
    except TraceError as e:
        return e
    except Exception as e:  # the parent has the only voice
        return TraceError(f"{task.path}: cannot be decoded: {type(e).__name__}: {e}")
