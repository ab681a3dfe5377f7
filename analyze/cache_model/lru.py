"""The L2 as a stack of granules, the last used on top.

A granule is a piece of a storage, a mebibyte or less. It is lost once the bytes used after it exceed the capacity.
Addresses are hashed to sets of a few ways, so the loss is gradual: the number of later lines that fall into a line's
set is a Poisson variable, and the line is lost when it reaches the number of ways. A written granule is also written
back, without being lost, when the bytes written after it exceed the dirty share of the capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

_FORGOTTEN = 2.5
"""Capacities of later use after which a granule is certainly gone."""
_RESOLUTION = 512
_PAIRED = 2048
"""In longer phases all granules before a granule count as deeper: together they exceed any L2."""


@dataclass(frozen=True)
class Policy:
    """Parameters of the modelled L2; the defaults were fitted to an H200 (see the package)."""

    capacity_share: float = 0.95
    ways: int = 32
    dirty_share: float = 0.55
    """Share of the capacity that may hold bytes not yet written back."""
    dirty_ways: int = 8
    far_copy_once: float = 0.4
    """Second copies of bytes that one multiprocessor reads: about half of them sit at the far half of the L2."""
    far_copy_shared: float = 0.6
    """Second copies of bytes that multiprocessors of both halves read."""


class Accesses(NamedTuple):
    """Granules that a phase touches, each once, in order."""

    granule: Ints
    read: Floats
    written: Floats
    copies: Floats
    """Bytes in the cache for each byte of it, when only read."""
    position: Floats
    """Place within the operand, from 0 to 1."""


@cache
def _survival(ways: int) -> Floats:
    """Share of lines that outlive later use of 0 to ``_FORGOTTEN`` capacities."""
    # P(Poisson(use) < ways), the sum of its first terms
    use = np.linspace(0, _FORGOTTEN, int(_FORGOTTEN * _RESOLUTION) + 1) * ways
    term = np.exp(-use)
    total = term.copy()
    for n in range(1, ways):
        term = term * use / n
        total += term
    total[-1] = 0.0
    return total


def survival(use: Floats, capacity: float, ways: int) -> Floats:
    """Share of lines still there after ``use`` bytes of other lines."""
    table = _survival(ways)
    at = np.minimum(use * (_RESOLUTION / capacity), len(table) - 1).astype(np.int64)
    return table[at]


class Cache:
    """An L2 of ``l2_bytes`` and the granules in it."""

    def __init__(self, granules: int, l2_bytes: int, policy: Policy) -> None:
        self.policy = policy
        self.capacity = l2_bytes * policy.capacity_share
        self.dirty_capacity = self.capacity * policy.dirty_share
        self.order: Ints = np.empty(0, dtype=np.int64)
        """Granules in the cache, the last used last."""
        self.present, self.occupied, self.dirty, self.dirtied, self.use = (np.zeros(granules) for _ in range(5))
        self.use += np.inf
        self._touched = np.zeros(granules, dtype=np.bool_)

    def access(self, phase: Accesses) -> tuple[float, float]:
        """Touch granules; returns the bytes read from DRAM and the bytes written back to it meanwhile."""
        granule, written = phase.granule, phase.written
        # Later use of each granule: the bytes used since, and those that came earlier in this phase from deeper in the
        # stack. Granules above it in the stack are counted already.
        use = self.use[granule]
        if len(granule) > 1:
            newly = np.maximum(phase.read * phase.copies, written)
            if len(granule) > _PAIRED or np.all(np.isinf(use)):
                use = use + newly.cumsum() - newly
            else:
                before = np.tri(len(granule), k=-1, dtype=np.bool_)
                use = use + (before & (use[None, :] > use[:, None])) @ newly
        kept = survival(use, self.capacity, self.policy.ways)
        self.present[granule] *= kept
        read = phase.read - np.minimum(phase.read, self.present[granule])
        dirty = np.minimum(self.dirty[granule], self.dirtied[granule] * kept)
        evicted = self.dirty[granule] - dirty

        # The touched granules move to the top of the stack.
        present = np.maximum(self.present[granule], np.maximum(phase.read, written))
        self.present[granule] = present
        self.occupied[granule] = np.where(written > 0, present, present * phase.copies)
        self.dirty[granule] = self.dirtied[granule] = np.maximum(dirty, written)
        self._touched[granule] = True
        self.order = np.concatenate([self.order[~self._touched[self.order]], granule])
        self._touched[granule] = False
        return float(read.sum()), float(evicted.sum()) + self._age()

    def _age(self) -> float:
        """Update every granule's later use and drop lost granules; returns the bytes written back."""
        order = self.order
        use = _later(self.occupied[order])
        kept = survival(use, self.capacity, self.policy.ways)
        held = survival(_later(self.dirty[order]), self.dirty_capacity, self.policy.dirty_ways)
        dirty = np.minimum(self.dirty[order], self.dirtied[order] * kept * held)
        written = float((self.dirty[order] - dirty).sum())
        self.dirty[order] = dirty
        self.use[order] = use
        # a granule that is gone for certain leaves the stack, which bounds its length
        there = use < _FORGOTTEN * self.capacity
        gone = order[~there]
        self.present[gone] = 0.0
        self.use[gone] = np.inf
        self.order = order[there]
        return written


def _later(sizes: Floats) -> Floats:
    """For each element the sum of those after it."""
    return sizes[::-1].cumsum()[::-1] - sizes
