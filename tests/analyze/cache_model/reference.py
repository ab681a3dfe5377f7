"""The simulation of ``l2.c`` in numpy, granule by granule: an independent oracle, a hundred times slower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ridgeline.analyze.cache_model.operands import Touch
from ridgeline.analyze.cache_model.policy import FORGOTTEN, RESOLUTION, Policy
from ridgeline.analyze.cache_model.policy import survival as survival_table

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

PAIRED = 2048
"""In longer phases all granules before a granule count as deeper: together they exceed any L2."""
LARGEST_GRANULE = 1 << 20
SMALLEST_GRANULE = 1 << 12
_PIECES = 256
"""Most granules of a storage, if they are smaller than the largest granule."""
_MOST_WAVES = 64
_STORAGE_SHIFT = 32


class Accesses(NamedTuple):
    """Granules that a phase touches, each once, in order."""

    granule: Ints
    read: Floats
    written: Floats
    copies: Floats
    """Bytes in the cache for each byte of it, when only read."""
    position: Floats
    """Place within the operand, from 0 to 1."""
    size: Floats
    """Bytes of the granule."""


def survival(use: Floats, capacity: float, ways: int) -> Floats:
    """Share of lines still there after ``use`` bytes of other lines."""
    table = survival_table(ways)
    at = np.minimum(use * (RESOLUTION / capacity), len(table) - 1).astype(np.int64)
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
            if len(granule) > PAIRED or np.all(np.isinf(use)):
                use = use + newly.cumsum() - newly
            else:
                before = np.tri(len(granule), k=-1, dtype=np.bool_)
                # in this order: a matrix product may add in another one
                use = use + np.cumsum((before & (use[None, :] > use[:, None])) * newly, axis=1)[:, -1]
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
        there = use < FORGOTTEN * self.capacity
        gone = order[~there]
        self.present[gone] = 0.0
        self.use[gone] = np.inf
        self.order = order[there]
        return written


def _later(sizes: Floats) -> Floats:
    """For each element the sum of those after it."""
    return sizes[::-1].cumsum()[::-1] - sizes


def granule_sizes(touches: Sequence[Touch]) -> dict[int, int]:
    """For each storage the size of its granules: a power of two, fine enough to tell its views apart."""
    extent: dict[int, int] = {}
    finest: dict[int, int] = {}
    for touch in touches:
        end = touch.offset + touch.span
        extent[touch.storage] = max(extent.get(touch.storage, 0), end)
        finest[touch.storage] = min(finest.get(touch.storage, LARGEST_GRANULE), touch.span or LARGEST_GRANULE)
    sizes = {}
    for storage, size in finest.items():
        least = max(size, extent[storage] // _PIECES, 1)
        power = 1 << (least.bit_length() - 1)  # the largest power of two that is not above it
        sizes[storage] = min(max(power, SMALLEST_GRANULE), LARGEST_GRANULE)
    return sizes


def phases(touches: Sequence[Touch], sizes: dict[int, int], policy: Policy) -> Iterator[Accesses]:
    """The phases of one kernel."""
    if not touches:
        return
    waves = max((touch.waves for touch in touches), default=0)
    streamed = waves == 0
    # More waves than _MOST_WAVES are merged, so that the time has a bound.
    count = max(1, min(waves, _MOST_WAVES))
    merged = max(waves, 1) / count
    for wave in range(count):
        reads = [_pieces(t, _share(t, wave, count, merged), sizes, policy) for t in touches if not t.write]
        writes = [_pieces(t, _share(t, wave, count, merged), sizes, policy) for t in touches if t.write]
        passes = max((t.passes for t in touches), default=1)
        # All passes but the last only read what is read so often; the last one writes at its end.
        for left in range(passes - 1, 0, -1):
            again = [t for t in touches if t.passes > left and not t.write]
            if again:
                yield _merge([_pieces(t, _share(t, wave, count, merged), sizes, policy) for t in again])
        if streamed or passes > 1:
            yield _merge(reads + writes)
        else:
            yield from (_merge(group) for group in (reads, writes) if group)


def _share(touch: Touch, wave: int, count: int, merged: float) -> tuple[float, float]:
    """The start and the end of the part of an operand that a wave uses, from 0 to 1; past 1 it begins again."""
    parts = max(touch.parts / merged, 1.0) if touch.parts else count
    first = int(wave // max(touch.stay / merged, 1.0)) / parts % 1
    return first, first + 1 / parts


def _pieces(touch: Touch, share: tuple[float, float], sizes: dict[int, int], policy: Policy) -> Accesses:
    """The granules of an operand's ``share``, rounded to whole granules."""
    size, end = sizes[touch.storage], touch.offset + touch.span
    # part of the operand in this wave, which may wrap around its end
    index = np.arange(touch.offset // size, -(-end // size))
    start, stop = (round(bound * len(index)) for bound in share)
    index = index.take(range(start, stop), mode="wrap") if (start, stop) != (0, len(index)) else index
    # The first and the last granule may hold bytes of other operands as well.
    bounds = np.maximum(index * size, touch.offset), np.minimum((index + 1) * size, end)
    amount = (bounds[1] - bounds[0]) * (touch.bytes / max(touch.span, 1))
    copies = policy.copies[touch.shared]
    none = np.zeros(len(index))
    read, written = (none, amount) if touch.write else (amount, none)
    position = (np.arange(len(index)) + 0.5) / max(len(index), 1)
    number = (touch.storage << _STORAGE_SHIFT) + index
    return Accesses(number, read, written, np.full(len(index), copies), position, np.full(len(index), float(size)))


def _merge(parts: Sequence[Accesses]) -> Accesses:
    """Operands side by side; a granule of which several operands touch slices takes the position of the first."""
    if len(parts) == 1:
        return parts[0]
    granule, read, written, copies, position, size = (np.concatenate(column) for column in zip(*parts, strict=True))
    # Operands advance at the same relative speed, so granules are sorted by their relative position.
    order = np.argsort(position, kind="stable")
    unique, first, inverse = np.unique(granule[order], return_index=True, return_inverse=True)
    all_read, all_written = np.zeros(len(unique)), np.zeros(len(unique))
    np.add.at(all_read, inverse, read[order])
    np.add.at(all_written, inverse, written[order])
    # unique sorts by number: go back to the order of the positions
    back = np.argsort(first)
    kept = order[first[back]]
    all_read, all_written = (np.minimum(bytes_of[back], size[kept]) for bytes_of in (all_read, all_written))
    return Accesses(unique[back], all_read, all_written, copies[kept], position[kept], size[kept])


def simulate(sequence: Sequence[Sequence[Touch]], l2_bytes: int, policy: Policy) -> tuple[Floats, Floats]:
    """Bytes read and written by each kernel of a step that follows itself."""
    sizes = granule_sizes([touch for touches in sequence for touch in touches])
    kernels = [list(phases(touches, sizes, policy)) for touches in sequence]
    parts = [phase.granule for kernel in kernels for phase in kernel]
    unique, inverse = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *parts]), return_inverse=True)
    granules = iter(np.split(inverse, np.cumsum([len(part) for part in parts])))
    numbered = [[phase._replace(granule=next(granules)) for phase in kernel] for kernel in kernels]
    cache = Cache(len(unique), l2_bytes, policy)
    read, written = np.zeros(len(sequence)), np.zeros(len(sequence))
    for counted in (False, True):
        for i, accesses in enumerate(numbered):
            for phase in accesses:
                from_dram, to_dram = cache.access(phase)
                read[i] += from_dram * counted
                written[i] += to_dram * counted
    return read, written
