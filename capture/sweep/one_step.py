"""One step of a point, alone between the marks of a profiler: what Nsight Compute is given to run.

`python -m ridgeline.capture.sweep.one_step TASK.json`, with a point and the index of a step; it ends when its standard
input does, where that is a pipe.
"""

import os
import stat
import sys
import threading
from pathlib import Path

import msgspec

from ridgeline.capture import runtime
from ridgeline.capture.configuration.point import Point


class Task(msgspec.Struct, frozen=True):
    """A point, and which of its steps to profile."""

    point: Point
    step: int


def main(path: str) -> None:
    """Make the point's decoder, go to the step and run it once where it is not seen, then once where it is."""
    runtime.prepare()
    import torch

    from ridgeline.capture import environment
    from ridgeline.capture.counters import by_ncu as nsight
    from ridgeline.capture.counters import count as counting
    from ridgeline.capture.labels import Labels
    from ridgeline.capture.sweep import recording

    task = msgspec.json.decode(Path(path).read_bytes(), type=Task)
    device = environment.resolve(task.point.device)
    with torch.inference_mode():
        decoder = recording.Workshop().decoder(task.point, device)
        launched = recording.ready(task.point, decoder, device, Labels(), _say, replayed=False).launched
        step = next(step for step in launched.generation.steps if step.index == task.step)
        for _ in range(2):
            counting.go_to(launched, step, _say)
            launched.run(step)
        counting.go_to(launched, step, _say)
        with nsight.profiled_range():
            launched.run(step)


def _say(text: str) -> None:
    """A sign of life, for whoever takes silence for a hang."""
    print(text, flush=True)


def _end_with_input() -> None:
    """Standard input is a pipe that ends with what started Nsight Compute, or when that gives it up."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    if stat.S_ISFIFO(os.fstat(0).st_mode):  # or a profiler that gives its child another input would end it at once
        threading.Thread(target=_end_with_input, name="end", daemon=True).start()
    main(sys.argv[1])
