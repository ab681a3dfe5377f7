"""The program that Nsight Compute profiles: it runs one step of a point inside a profiled range.

`python -m ridgeline.capture.sweep.one_step TASK.json` reads a point and the index of a step. If its standard input is a
pipe, the program ends when the pipe closes.
"""

import os
import stat
import sys
import threading
from pathlib import Path

import msgspec

from ridgeline.capture import environment
from ridgeline.capture.configuration.point import Point


class Task(msgspec.Struct, frozen=True):
    """A point and the index of the step to profile."""

    point: Point
    step: int


def main(path: str) -> None:
    """Make the decoder of a task's point, run the step twice to warm up, and once in the profiled range."""
    environment.prepare()
    import torch

    from ridgeline.capture.counters import by_ncu
    from ridgeline.capture.counters.count import go_to
    from ridgeline.capture.measuring.labels import Labels
    from ridgeline.capture.sweep import recording

    task = msgspec.json.decode(Path(path).read_bytes(), type=Task)
    device = environment.resolve(task.point.device)
    with torch.inference_mode():
        decoder = recording.Workshop().decoder(task.point, device)
        launched = recording.ready(task.point, decoder, device, Labels(), _say, replayed=False).launched
        step = next(step for step in launched.generation.steps if step.index == task.step)
        for _ in range(2):
            go_to(launched, step, _say)
            launched.run(step)
        go_to(launched, step, _say)
        with by_ncu.profiled_range():
            launched.run(step)


def _say(text: str) -> None:
    """Print a line of progress: the parent takes silence for a hang."""
    print(text, flush=True)


def _end_with_input() -> None:
    """End this process when standard input closes: when the recording process ends, or ends Nsight Compute."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    # A profiler may give its child another standard input, which ends at once.
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_with_input, name="end", daemon=True).start()
    main(sys.argv[1])
