"""What a decoder process runs: read tasks, answer each with its columns or its error, as pickles."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, NamedTuple

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import Columns, read_part
from ridgeline.analyze.reading.reader import LARGEST_EVENT_BYTES

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
    """Serve until the pipe of tasks closes: nobody is left to answer then, and what is under way is dropped."""
    gc.disable()
    tasks: SimpleQueue[Task] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, tasks), name="tasks", daemon=True).start()
    answers = sys.stdout.buffer
    while True:
        answer = _answer(tasks.get())
        try:
            pickle.dump(answer, answers, protocol=5)
            answers.flush()
        except BrokenPipeError:
            os._exit(1)


def _listen(file: BinaryIO, tasks: SimpleQueue[Task]) -> None:
    """Queue what is asked for; where that ends, however the parent ended, end this process."""
    with suppress(EOFError, pickle.UnpicklingError):
        while True:
            tasks.put(pickle.load(file))
    os._exit(0)


def _answer(task: Task) -> Answer:
    try:
        return task.read()
    except TraceError as e:
        return e
    except Exception as e:  # the parent has the only voice
        return TraceError(f"{task.path}: cannot be decoded: {type(e).__name__}: {e}")
