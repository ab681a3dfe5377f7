"""The parameters of the modelled L2."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

FORGOTTEN = 2.5
"""Capacities of later use after which a granule is certainly gone."""
RESOLUTION = 512
"""Steps of a survival table for each capacity of later use."""


class Policy(msgspec.Struct, frozen=True):
    """Parameters of the modelled L2; the defaults were fitted to an H200 (see the package)."""

    capacity_share: float = 0.95
    ways: int = 32
    dirty_share: float = 0.55
    """Share of the capacity that may hold bytes not yet written back."""
    dirty_ways: int = 8
    far_copy_once: float = 0.4
    """Second copies of bytes that one multiprocessor reads: about half of them sit at the far half of the L2."""
    far_copy_shared: float = 0.6
    """Second copies of bytes that multiprocessors of both halves read as tiles."""
    far_copy_scattered: float = 1.0
    """Second copies of bytes that are read in pieces of a sector or again and again, each time by others."""

    @property
    def copies(self) -> tuple[float, float, float]:
        """Bytes in the cache for each byte that is read, by ``Touch.shared``."""
        return 1 + self.far_copy_once, 1 + self.far_copy_shared, 1 + self.far_copy_scattered


@cache
def survival(ways: int) -> Floats:
    """Share of lines that outlive later use of 0 to ``FORGOTTEN`` capacities."""
    # P(Poisson(use) < ways), the sum of its first terms
    use = np.linspace(0, FORGOTTEN, int(FORGOTTEN * RESOLUTION) + 1) * ways
    term = np.exp(-use)
    total = term.copy()
    for n in range(1, ways):
        term = term * use / n
        total += term
    total[-1] = 0.0
    return total
