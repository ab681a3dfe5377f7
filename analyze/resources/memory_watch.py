"""Watches the memory that this process and its children hold, since the estimate made before may be wrong.

It adds up resident memory. Pages that processes share count once in each, so the sum is never too small.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING

from ridgeline.analyze.resources.limits import resident_bytes

if TYPE_CHECKING:
    import psutil

INTERVAL_S = 0.01
SCAN_S = 0.25
"""Seconds between two searches for children."""
FIRST_SCAN_S = 2.0
"""Seconds before the first search: until then children hold little, and a short command need not import psutil."""
WARN_SHARE = 7 / 8
"""Share of the limit at which work is given up: what is allocated until it has ended must fit into the rest."""


class Held:
    """The memory that a process and its descendants hold."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid or os.getpid()
        self._processes: list[psutil.Process] = []
        self._scanned_s = -SCAN_S

    def bytes(self) -> int:
        """Return the sum of resident memory now; 0 if the process is gone."""
        import psutil

        if monotonic() - self._scanned_s >= SCAN_S:
            self._processes = []
            with suppress(psutil.Error):
                process = psutil.Process(self._pid)
                self._processes = [process, *process.children(recursive=True)]
            self._scanned_s = monotonic()
        total = 0
        for process in self._processes:
            with suppress(psutil.Error):  # gone by now
                total += process.memory_info().rss
        return total


@contextmanager
def watching(most_bytes: int, give_up: Callable[[], None], end: Callable[[], None], grace_s: float) -> Iterator[None]:
    """Call ``give_up`` near the limit; then ``end`` at the limit or, if that is sooner, after ``grace_s`` seconds."""
    is_over = threading.Event()

    def watch() -> None:
        held, first_scan_s = Held(), monotonic() + FIRST_SCAN_S
        while (resident_bytes() if monotonic() < first_scan_s else held.bytes()) <= WARN_SHARE * most_bytes:
            if is_over.wait(INTERVAL_S):
                return
        give_up()
        latest_s = monotonic() + grace_s
        while held.bytes() <= most_bytes and monotonic() < latest_s:
            if is_over.wait(INTERVAL_S):
                return
        end()

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
