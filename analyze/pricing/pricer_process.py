"""The program of a pricer process: it receives signatures and sends the price of each.

Its first message is None once PyTorch is imported, or ``(module, message)`` if that failed. From then on it may
allocate a bounded amount of memory more.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

from ridgeline.child_process import Parent

SPARE_BYTES = 1 << 30
"""Address space beyond that in use once PyTorch is imported."""
OUT_OF_MEMORY = errno.ENOMEM
"""Exit code of the process if an operator needed more."""
LONGEST_S = 600
"""Time limit of every step, after which SIGALRM ends the process. While an operator holds the interpreter's lock, an
orphan cannot notice that its parent is gone."""


def main() -> None:
    """Price signatures until the parent ends."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LONGEST_S)
    parent = Parent()
    try:
        # what an operator's meta kernel is made of, up to 800 modules, PyTorch imports at the first call of one
        import torch  # noqa: F401

        from ridgeline.analyze.pricing.price import price_all
    except Exception as e:
        parent.send(((e.name if isinstance(e, ImportError) else None) or "torch", str(e)))
        return
    # A bound on the address space, where the system says how much this process has.
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most_bytes = pages * resource.getpagesize() + SPARE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, hard))
    parent.send(None)
    while True:
        signal.alarm(0)
        signature = parent.receive()
        signal.alarm(LONGEST_S)
        try:
            (price,) = price_all([signature])
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # the operator's memory is freed with the process
        parent.send(price)
