"""Longest common subsequences (LCS) of two sequences of codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from ridgeline.analyze.attribution.spans import Int64

MOST_CELLS = 1 << 33
"""rapidfuzz keeps one bit for each pair of positions while it aligns: 1 GiB at most."""
_T = TypeVar("_T")


class Pairs(NamedTuple):
    """Positions in two sequences that an alignment pairs, ascending in both."""

    first: Int64
    second: Int64


def memoized(function: Callable[[Int64, Int64], _T]) -> Callable[[Int64, Int64], _T]:
    """``function`` with a cache over the contents of its two arrays, since steps repeat."""
    cache: dict[tuple[bytes, bytes], _T] = {}

    def cached(first: Int64, second: Int64) -> _T:
        key = first.tobytes(), second.tobytes()
        if key not in cache:
            cache[key] = function(first, second)
        return cache[key]

    return cached


def align_names(first: Int64, second: Int64) -> Pairs:
    """An LCS of two sequences of codes; near the longest where both are longer than about 90,000 codes.

    >>> pairs = align_names(np.array([5, 1, 2, 3, 9]), np.array([1, 7, 2, 9]))
    >>> pairs.first.tolist(), pairs.second.tolist()
    ([1, 2, 4], [0, 2, 3])
    """
    # Codes that only one sequence has cannot match. Without them the table is smaller.
    first_at, second_at = np.flatnonzero(np.isin(first, second)), np.flatnonzero(np.isin(second, first))
    if len(first_at) * len(second_at) > MOST_CELLS:
        # Too large for one table: cut both sequences in half, and lose only matches that cross the cut.
        middles = len(first) // 2, len(second) // 2
        left = align_names(first[: middles[0]], second[: middles[1]])
        right = align_names(first[middles[0] :], second[middles[1] :])
        return Pairs(
            np.concatenate([left.first, middles[0] + right.first]),
            np.concatenate([left.second, middles[1] + right.second]),
        )
    from rapidfuzz.distance import LCSseq  # takes 7 ms, and few traces have replays to align

    edits = LCSseq.opcodes(first[first_at].tolist(), second[second_at].tolist())
    none = np.empty(0, dtype=np.int64)
    equal = [edit for edit in edits if edit.tag == "equal"]
    return Pairs(
        first_at[np.concatenate([none, *(np.arange(edit.src_start, edit.src_end) for edit in equal)])],
        second_at[np.concatenate([none, *(np.arange(edit.dest_start, edit.dest_end) for edit in equal)])],
    )


def common_length(first: Int64, second: Int64) -> int:
    """The length of the LCS."""
    from rapidfuzz.distance import LCSseq

    return int(LCSseq.similarity(first.tolist(), second.tolist()))
