"""A time limit for a step that is counted: kernels that wait for each other never end while they run one at a time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ridgeline.capture.counters.cupti.rounds import synchronize

if TYPE_CHECKING:
    import torch


@contextmanager
def watched(device: "torch.device", limit_s: float, stuck: Callable[[], None]) -> Iterator[None]:
    """Call `stuck` from another thread if the block has not ended after `limit_s` and the device stays busy as long.

    A step that only keeps the host waiting, for requests or for data, is not stuck: its device becomes idle.
    The other thread needs the interpreter's lock, which PyTorch and Triton release while they launch and wait.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(limit_s):
            idle = threading.Thread(target=_wait_for, args=(device,), daemon=True)
            idle.start()
            idle.join(limit_s)
            if idle.is_alive() and not ended.is_set():
                stuck()
                return

    threading.Thread(target=watch, name="ridgeline counters", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _wait_for(device: "torch.device") -> None:
    with suppress(Exception):  # an error of the device is the program's to find
        synchronize(device)
