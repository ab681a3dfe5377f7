"""Captures in a moment: ceilings of sets and products too small to describe the machine, and little to collect."""

import gc

import pytest

from ridgeline.capture.ceilings import cpu
from tests import sampling


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Shorten the repeats and, outside an exhaustive run, the sets and products.

    A point collects garbage twice, which among all that the test process holds takes a fifth of its time.
    """
    gc.freeze()
    patch.setattr(cpu, "BUDGET_S", 0.01)
    if not sampling.exhaustive:
        patch.setattr(cpu, "_LARGE_BYTES", 2**24)
        patch.setattr(cpu, "_PRODUCT_SIZE", 256)
        patch.setattr(cpu, "_cache_bytes", lambda level: 0)
