"""Ceilings in a moment: of sets and products too small to tell of the machine, for tests that ask for their form."""

import pytest

from ridgeline.capture.ceilings import cpu as ceilings_cpu
from tests import sampling


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Repeat little; outside of an exhaustive run of little."""
    patch.setattr(ceilings_cpu, "BUDGET_S", 0.01)
    if not sampling.exhaustive:
        patch.setattr(ceilings_cpu, "_LARGE_BYTES", 2**24)
        patch.setattr(ceilings_cpu, "_PRODUCT_SIZE", 256)
        patch.setattr(ceilings_cpu, "_cache_bytes", lambda level: 0)
