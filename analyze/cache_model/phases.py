"""Operands cut into granules, and kernels into phases: the granules touched side by side, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ridgeline.analyze.cache_model.lru import Accesses, Policy
from ridgeline.analyze.cache_model.operands import Touch

LARGEST_GRANULE = 1 << 20
SMALLEST_GRANULE = 1 << 12
_PIECES = 256
"""Most granules of a storage, if they are smaller than the largest granule."""
_MOST_WAVES = 64
_STORAGE_SHIFT = 32


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
        # All passes but the last only read; the last one writes at its end.
        if reads:
            yield from (_merge(reads) for _ in range(passes - 1))
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
    copies = 1 + (policy.far_copy_shared if touch.shared else policy.far_copy_once)
    none = np.zeros(len(index))
    read, written = (none, amount) if touch.write else (amount, none)
    position = (np.arange(len(index)) + 0.5) / max(len(index), 1)
    return Accesses((touch.storage << _STORAGE_SHIFT) + index, read, written, np.full(len(index), copies), position)


def _merge(parts: Sequence[Accesses]) -> Accesses:
    """Operands side by side; a granule that several operands touch takes the position of the first."""
    if len(parts) == 1:
        return parts[0]
    granule, read, written, copies, position = (np.concatenate(column) for column in zip(*parts, strict=True))
    # Operands advance at the same relative speed, so granules are sorted by their relative position.
    order = np.argsort(position, kind="stable")
    unique, first, inverse = np.unique(granule[order], return_index=True, return_inverse=True)
    most_read, most_written = np.zeros(len(unique)), np.zeros(len(unique))
    np.maximum.at(most_read, inverse, read[order])
    np.maximum.at(most_written, inverse, written[order])
    # unique sorts by number: go back to the order of the positions
    back = np.argsort(first)
    kept = order[first[back]]
    return Accesses(unique[back], most_read[back], most_written[back], copies[kept], position[kept])
