"""Watches what this process and its children hold: what a trace takes is estimated before, and estimates may be wrong.

It counts resident memory, pages that processes share once in each: never too little.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from ridgeline.analyze.resources.memory_limit import resident_bytes

INTERVAL_S = 0.01
SCAN_S = 0.25
"""How often children are looked for."""
WARN_SHARE = 7 / 8
"""Of the limit: what is allocated between two looks, and while the work is given up, has to fit into the rest."""


class Held:
    """What a process and its descendants hold."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid or os.getpid()
        self._children: list[int] = []
        self._scanned_s = -SCAN_S

    def bytes(self) -> int:
        """By now; without ``/proc`` of this process alone."""
        if monotonic() - self._scanned_s >= SCAN_S:
            self._children, self._scanned_s = _descendants(self._pid), monotonic()
        return sum(map(resident_bytes, (self._pid, *self._children)))


def _descendants(pid: int) -> list[int]:
    """Children of children too; parents may come after their children in the list of all."""
    if not sys.platform.startswith("linux"):
        return []
    parents = dict(_parents())
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {pid})


def _parents() -> Iterator[tuple[int, int]]:
    """Every process with its parent; names may hold spaces and brackets."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone by now
            yield int(folder.name), int((folder / "stat").read_text("latin-1").rpartition(")")[2].split()[1])


@contextmanager
def watching(most_bytes: int, give_up: Callable[[], None], end: Callable[[], None], grace_s: float) -> Iterator[None]:
    """Call ``give_up`` as the limit comes near, and ``end`` at the limit or, where that is sooner, so much later."""
    over = threading.Event()

    def watch() -> None:
        held = Held()
        while held.bytes() <= WARN_SHARE * most_bytes:
            if over.wait(INTERVAL_S):
                return
        give_up()
        latest_s = monotonic() + grace_s
        while held.bytes() <= most_bytes and monotonic() < latest_s:
            if over.wait(INTERVAL_S):
                return
        end()

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
