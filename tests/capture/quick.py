"""Ceilings measured in a moment, on sets and products too small to describe the machine: for tests of their form."""

import pytest

from ridgeline.capture.ceilings import cpu
from tests import sampling


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Shorten the repeats and, outside an exhaustive run, the sets and products."""
    patch.setattr(cpu, "BUDGET_S", 0.01)
    if not sampling.exhaustive:
        patch.setattr(cpu, "_LARGE_BYTES", 2**24)
        patch.setattr(cpu, "_PRODUCT_SIZE", 256)
        patch.setattr(cpu, "_cache_bytes", lambda level: 0)
