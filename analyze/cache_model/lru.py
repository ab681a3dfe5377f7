"""The L2 as a stack of granules, the last used on top.

A granule is a piece of a storage, a mebibyte or less. It is lost in so far as what was used after it exceeds the
capacity. Addresses are hashed to sets of some ways, so the loss is not sudden: the number of lines used later that
fell into a line's set is a Poisson variable, and the line is lost when there are as many as ways. What was written is
also written back, without being lost, when as much was written after it as half of the capacity holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

_FORGOTTEN = 2.5
"""Capacities of later use after which a granule is gone for certain."""
_RESOLUTION = 512
_PAIRED = 2048
"""Granules of a phase above which all before a granule count as deeper: together they exceed any L2."""


@dataclass(frozen=True)
class Policy:
    """What the model takes an L2 to do; the defaults were fitted to an H200 (see the package)."""

    capacity_share: float = 0.95
    ways: int = 32
    dirty_share: float = 0.55
    """Of the capacity, what may hold bytes not yet written back."""
    dirty_ways: int = 8
    far_copy_once: float = 0.4
    """Second copies of what one multiprocessor reads: about half of them sit at the far half of the L2."""
    far_copy_shared: float = 0.6
    """Second copies of what multiprocessors of both halves read."""


class Accesses(NamedTuple):
    """Granules that a phase touches, each once, in order."""

    granule: Ints
    read: Floats
    written: Floats
    copies: Floats
    """Bytes in the cache for each byte of it, when only read."""


@cache
def _survival(ways: int) -> Floats:
    """Share of lines that outlive later use of 0 to ``_FORGOTTEN`` capacities."""
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
        """Touch granules; the bytes that had to be read from DRAM, and those written back to it meanwhile."""
        granule, kept = phase.granule, self._kept(phase)
        self.present[granule] *= kept
        read = phase.read - np.minimum(phase.read, self.present[granule])
        dirty = np.minimum(self.dirty[granule], self.dirtied[granule] * kept)
        evicted = self.dirty[granule] - dirty
        self.dirty[granule] = dirty
        self._touch(phase)
        return float(read.sum()), float(evicted.sum()) + self._age()

    def _kept(self, phase: Accesses) -> Floats:
        """What is left of granules; those touched before in the phase have also pushed down what lay deeper."""
        granule = phase.granule
        use = self.use[granule]
        if len(granule) > 1:
            use = use + _pushed(use, np.maximum(phase.read * phase.copies, phase.written))
        return survival(use, self.capacity, self.policy.ways)

    def _touch(self, phase: Accesses) -> None:
        granule, written = phase.granule, phase.written
        present = np.maximum(self.present[granule], np.maximum(phase.read, written))
        self.present[granule] = present
        self.occupied[granule] = np.where(written > 0, present, present * phase.copies)
        self.dirty[granule] = np.maximum(self.dirty[granule], written)
        self.dirtied[granule] = self.dirty[granule]
        self._touched[granule] = True
        self.order = np.concatenate([self.order[~self._touched[self.order]], granule])
        self._touched[granule] = False

    def _age(self) -> float:
        order = self.order
        use = _later(self.occupied[order])
        kept = survival(use, self.capacity, self.policy.ways)
        held = survival(_later(self.dirty[order]), self.dirty_capacity, self.policy.dirty_ways)
        dirty = np.minimum(self.dirty[order], self.dirtied[order] * kept * held)
        written = float((self.dirty[order] - dirty).sum())
        self.dirty[order] = dirty
        self.use[order] = use
        there = use < _FORGOTTEN * self.capacity
        gone = order[~there]
        self.present[gone] = 0.0
        self.use[gone] = np.inf
        self.order = order[there]
        return written


def _later(sizes: Floats) -> Floats:
    """For each the sum of those after it."""
    return sizes[::-1].cumsum()[::-1] - sizes


def _pushed(use: Floats, newly: Floats) -> Floats:
    """For each granule of a phase the bytes of those before it in the phase that lay deeper."""
    if len(use) > _PAIRED or np.all(np.isinf(use)):
        return newly.cumsum() - newly
    before = np.tri(len(use), k=-1, dtype=np.bool_)
    deeper = use[None, :] > use[:, None]
    return np.asarray((before & deeper) @ newly)
