"""Longest common subsequences of two sequences of codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from ridgeline.analyze.attribution.spans import Int64

_BLOCK = 256
"""Rows of an alignment between two that are kept."""
_T = TypeVar("_T")


class Pairs(NamedTuple):
    """Positions in two sequences that belong together, ascending in both."""

    ours: Int64
    theirs: Int64


def remembering(function: Callable[[Int64, Int64], _T]) -> Callable[[Int64, Int64], _T]:
    """The same, once for each pair of sequences: steps repeat."""
    known: dict[tuple[bytes, bytes], _T] = {}

    def remembered(ours: Int64, theirs: Int64) -> _T:
        key = ours.tobytes(), theirs.tobytes()
        if key not in known:
            known[key] = function(ours, theirs)
        return known[key]

    return remembered


def align_names(ours: Int64, theirs: Int64) -> Pairs:
    """A longest common subsequence of two sequences of codes.

    >>> pairs = align_names(np.array([5, 1, 2, 3, 9]), np.array([1, 7, 2, 9]))
    >>> pairs.ours.tolist(), pairs.theirs.tolist()
    ([1, 2, 4], [0, 2, 3])
    """
    shorter = min(len(ours), len(theirs))
    head = _equal_at_first(ours[:shorter], theirs[:shorter])
    tail = _equal_at_first(ours[head:][::-1], theirs[head:][::-1])
    mine, partners = _longest_common(ours[head : len(ours) - tail], theirs[head : len(theirs) - tail])
    at_head, at_tail = np.arange(head), np.arange(-tail, 0)
    return Pairs(
        np.concatenate([at_head, head + mine, len(ours) + at_tail]),
        np.concatenate([at_head, head + partners, len(theirs) + at_tail]),
    )


def _equal_at_first(a: Int64, b: Int64) -> int:
    shorter = min(len(a), len(b))
    differs = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(differs[0]) if len(differs) else shorter


def _longest_common(a: Int64, b: Int64) -> Pairs:
    """What :func:`align_names` does where neither the first nor the last names are equal.

    Bit by bit, as Hyyrö does it: a row of the table of lengths is one integer, whose bit ``j`` is 0 where the length
    grows at ``b[j]``, and the next row takes four operations on whole integers. One row in ``_BLOCK`` is kept, and the
    path is found backwards, block by block.
    """
    a_at, b_at = np.flatnonzero(np.isin(a, b)), np.flatnonzero(np.isin(b, a))
    ours, theirs = a[a_at].tolist(), b[b_at].tolist()
    where = _places(b[b_at])
    kept = _kept_rows(ours, where, len(theirs))
    i, j, pairs = len(ours), len(theirs), []
    for start in reversed(range(0, len(ours), _BLOCK)):
        if not j:
            break
        rows = list(_rows(kept[start // _BLOCK], [where[name] for name in ours[start:i]]))
        while i > start and j:
            if ours[i - 1] == theirs[j - 1]:
                i, j = i - 1, j - 1
                pairs.append((i, j))
            elif rows[i - 1 - start] >> (j - 1) & 1:
                j -= 1
            else:
                i -= 1
    found = np.array(pairs[::-1], dtype=np.int64).reshape(-1, 2)
    return Pairs(a_at[found[:, 0]], b_at[found[:, 1]])


def common_length(a: Int64, b: Int64) -> int:
    """The length of the longest common subsequence."""
    last = _kept_rows(a.tolist(), _places(b), len(b))[-1]
    return (~last & _ones(len(b))).bit_count()


def _kept_rows(names: list[int], where: dict[int, int], width: int) -> list[int]:
    """The first row, one in ``_BLOCK`` and the last."""
    kept = [_ones(width)]
    for start in range(0, len(names), _BLOCK):
        *_, row = _rows(kept[-1], [where.get(name, 0) for name in names[start : start + _BLOCK]])
        kept.append(row & _ones(width))
    return kept


def _ones(width: int) -> int:
    return (1 << width) - 1


def _places(names: Int64) -> dict[int, int]:
    """For each name the bits of the places where it is."""
    return {name: _bits(names == name) for name in np.unique(names).tolist()}


def _bits(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    return int.from_bytes(np.packbits(chosen, bitorder="little").tobytes(), "little")


def _rows(row: int, where: Iterable[int]) -> Iterator[int]:
    """The rows after one, one for each name whose places in the other sequence are given."""
    for places in where:
        new = row & places
        row = (row + new) | (row - new)
        yield row
