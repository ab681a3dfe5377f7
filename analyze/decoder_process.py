"""What a decoder process runs: read tasks, answer each with its columns or its error, as pickles."""

from __future__ import annotations

import gc
import pickle
import sys
from pathlib import Path
from typing import NamedTuple

from analyze.columns import Columns, read_part
from analyze.errors import TraceError

Answer = Columns | TraceError


class Task(NamedTuple):
    """Decode one part of a trace."""

    path: Path
    part: int = 0
    parts: int = 1


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
        return read_part(*task)
    except TraceError as e:
        return e
    except Exception as e:  # the parent has the only voice
        return TraceError(f"{task.path}: cannot be decoded: {type(e).__name__}: {e}")
