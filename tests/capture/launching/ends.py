"""A program whose children end in every way: each is forked before anything is recorded, and has one run directory.

    python ends.py        prints a line for each child: its way, its PID and its exit status

One process imports torch, and what its profiler needs, for all of them.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable

import torch
import torch._inductor.standalone_compile  # else the profiler imports it in each child, which takes a second
from torch import nn

torch.set_num_threads(1)
NET = nn.Linear(2, 2).requires_grad_(False)


def steps(count: int) -> None:
    for _ in range(count):
        NET(torch.ones(1, 2))


class Ending(nn.Module):
    """A module that ends the program inside of a step."""

    def __init__(self, end: Callable[[], object]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)
        self.end = end

    def forward(self) -> None:
        self.end()


def fail(error: BaseException) -> None:
    raise error


def kill(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)


def fork() -> None:
    """A grandchild calls modules in the middle of its parent's step, and ends as any program."""
    if (child := os.fork()) == 0:
        steps(20)
        sys.exit(0)
    os.waitpid(child, 0)


def late(end: Callable[[], object]) -> Callable[[], object]:
    """End after the window is complete."""

    def run() -> None:
        steps(8)
        end()

    return run


def ranked() -> None:
    os.environ |= {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    steps(9)


def inside(end: Callable[[], object]) -> Callable[[], object]:
    """End inside of the first step that is traced after the timed ones."""

    def run() -> None:
        steps(3)
        Ending(end)()

    return run


WAYS: dict[str, Callable[[], object]] = {
    "returns early": lambda: steps(1),
    "raises late": late(lambda: fail(ValueError("as planned"))),
    "raises inside": inside(lambda: fail(ValueError("as planned"))),
    "exits inside": inside(lambda: sys.exit(3)),
    "is interrupted inside": inside(lambda: kill(signal.SIGINT)),
    "is terminated inside": inside(lambda: kill(signal.SIGTERM)),
    "is killed late": late(lambda: kill(signal.SIGKILL)),
    "_exits late": late(lambda: os._exit(4)),
    "has no memory": inside(lambda: fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))),
    "has no host memory": inside(lambda: fail(MemoryError())),
    "forks inside": inside(fork),
    "is a rank": ranked,
    "calls nothing": lambda: None,
}


def main() -> int:
    # Collecting what torch made, at the end of each child, would take a second.
    gc.freeze()
    gc.disable()
    for way, run in WAYS.items():
        child = os.fork()
        if child == 0:
            run()
            return 0
        _, status = os.waitpid(child, 0)
        print(way, child, os.waitstatus_to_exitcode(status), sep=",", flush=True)
    return 5


if __name__ == "__main__":
    sys.exit(main())
