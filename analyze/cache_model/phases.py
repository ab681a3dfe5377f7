"""Operands cut into granules, and kernels into phases: what is touched side by side, in what order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ridgeline.analyze.cache_model.lru import Accesses, Floats, Ints, Policy
from ridgeline.analyze.cache_model.operands import Touch

LARGEST_GRANULE = 1 << 20
SMALLEST_GRANULE = 1 << 12
_PIECES = 256
"""At most so many granules in a storage, if they are smaller than the largest."""
_MOST_WAVES = 64
_STORAGE_SHIFT = 32


class Pieces(NamedTuple):
    """Parts of operands: granule, position within the operand (0 to 1), bytes read and written, copies held."""

    granule: Ints
    position: Floats
    read: Floats
    written: Floats
    copies: Floats


def granule_sizes(touches: Sequence[Touch]) -> dict[int, int]:
    """For each storage the size of its granules: a power of two, fine enough to tell its views apart."""
    extent: dict[int, int] = {}
    finest: dict[int, int] = {}
    for touch in touches:
        end = touch.offset + touch.span
        extent[touch.storage] = max(extent.get(touch.storage, 0), end)
        finest[touch.storage] = min(finest.get(touch.storage, LARGEST_GRANULE), touch.span or LARGEST_GRANULE)
    wanted = {s: _power_of_two(max(size, extent[s] // _PIECES)) for s, size in finest.items()}
    return {storage: min(max(size, SMALLEST_GRANULE), LARGEST_GRANULE) for storage, size in wanted.items()}


def _power_of_two(size: int) -> int:
    """The largest that is not above ``size``, or 1."""
    return 1 << (max(size, 1).bit_length() - 1)


def phases(touches: Sequence[Touch], sizes: dict[int, int], policy: Policy) -> Iterator[Accesses]:
    """The phases of one kernel."""
    if not touches:
        return
    waves = max((touch.waves for touch in touches), default=0)
    streamed = waves == 0
    count = max(1, min(waves, _MOST_WAVES))
    merged = max(waves, 1) / count
    for wave in range(count):
        reads = [_pieces(t, _share(t, wave, count, merged), sizes, policy) for t in touches if not t.write]
        writes = [_pieces(t, _share(t, wave, count, merged), sizes, policy) for t in touches if t.write]
        passes = max((t.passes for t in touches), default=1)
        if reads:
            yield from (_merge(reads) for _ in range(passes - 1))
        if streamed or passes > 1:
            yield _merge(reads + writes)
        else:
            yield from (_merge(group) for group in (reads, writes) if group)


def _share(touch: Touch, wave: int, count: int, merged: float) -> tuple[float, float]:
    """From where to where a wave uses an operand, as parts of the whole; past 1 it begins again."""
    parts = max(touch.parts / merged, 1.0) if touch.parts else count
    first = int(wave // max(touch.stay / merged, 1.0)) / parts % 1
    return first, first + 1 / parts


def _pieces(touch: Touch, share: tuple[float, float], sizes: dict[int, int], policy: Policy) -> Pieces:
    """The granules of an operand that are used, whole ones."""
    size, end = sizes[touch.storage], touch.offset + touch.span
    index = np.arange(touch.offset // size, -(-end // size))
    start, stop = (round(bound * len(index)) for bound in share)
    index = index.take(range(start, stop), mode="wrap") if (start, stop) != (0, len(index)) else index
    bounds = np.maximum(index * size, touch.offset), np.minimum((index + 1) * size, end)
    amount = (bounds[1] - bounds[0]) * (touch.bytes / max(touch.span, 1))
    copies = 1 + (policy.far_copy_shared if touch.shared else policy.far_copy_once)
    none = np.zeros(len(index))
    return Pieces(
        (touch.storage << _STORAGE_SHIFT) + index,
        (np.arange(len(index)) + 0.5) / max(len(index), 1),
        none if touch.write else amount,
        amount if touch.write else none,
        np.full(len(index), copies),
    )


def _merge(parts: Sequence[Pieces]) -> Accesses:
    """Operands side by side; a granule that several touch comes where the first does."""
    if len(parts) == 1:
        (part,) = parts
        return Accesses(part.granule, part.read, part.written, part.copies)
    granule, position, read, written, copies = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(position, kind="stable")
    unique, first, inverse = np.unique(granule[order], return_index=True, return_inverse=True)
    most_read, most_written = np.zeros(len(unique)), np.zeros(len(unique))
    np.maximum.at(most_read, inverse, read[order])
    np.maximum.at(most_written, inverse, written[order])
    back = np.argsort(first)
    return Accesses(unique[back], most_read[back], most_written[back], copies[order][first][back])
