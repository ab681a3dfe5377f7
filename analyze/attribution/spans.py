"""Nesting of spans: the enclosing span of every span, for all threads at once.

A few numpy passes with pointer jumping take O(n log n) at any depth, without Python code per span.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Integers = NDArray[np.signedinteger[Any]]
Integer = TypeVar("Integer", bound=np.signedinteger[Any])

ROOT = -1
"""The parent of a span that nothing encloses."""
MOST_LEVELS = 1024
"""Levels of nesting that :func:`numbered` tells apart; Python itself stops at about as many."""


def enclosing(thread: Integers, start_ns: Int64, end_ns: Int64, rank: Integers) -> Int32:
    """For each of n spans the index of the innermost span of its thread that contains it, or ``ROOT``.

    Equal spans nest by ``rank``, the lower outside. A span that only overlaps another is not inside it.
    """
    n = len(start_ns)
    # Sorted by start, the longer of two spans first, so that every span comes after the spans that contain it.
    order = np.lexsort((start_ns, thread))  # takes little time, since spans come nearly in this order
    new_thread = _changes(thread[order])
    tied = ~new_thread & ~_changes(start_ns[order])
    tied[:-1] |= tied[1:]
    rows = order[tied]
    order[tied] = rows[np.lexsort((rank[rows], -end_ns[rows], start_ns[rows], thread[rows]))]
    # Start with the span just before. All spans between candidate[i] and i end before i does, so while the candidate
    # ends too early as well, jump to the candidate's own candidate. The last entry is that of ROOT, which never ends.
    ends_ns = np.append(end_ns[order], np.iinfo(np.int64).max)
    candidate = np.arange(-1, n, dtype=np.int32)
    candidate[:-1][new_thread] = ROOT
    candidate[-1] = ROOT
    active = np.flatnonzero(ends_ns.take(candidate) < ends_ns)
    at, until_ns = candidate[active], ends_ns[active]
    while len(active):
        at = candidate.take(at)
        candidate[active] = at
        too_early = ends_ns.take(at) < until_ns
        active, at, until_ns = active[too_early], at[too_early], until_ns[too_early]
    parent = np.empty(n, dtype=np.int32)
    parent[order] = np.append(order, ROOT).astype(np.int32).take(candidate[:-1])
    return parent


def nearest(parent: Integers, chosen: NDArray[np.bool_]) -> Int32:
    """For each span the index of the nearest chosen span among itself and its ancestors, or ``ROOT``."""
    if not chosen.any():
        return np.full(len(parent), ROOT, dtype=np.int32)
    # Pointers to chosen spans stay. All others follow their ancestor's pointer, which doubles the distance each pass.
    # The last entry is that of ROOT.
    is_end = np.append(chosen, True)
    pointer = np.append(np.where(chosen, np.arange(len(chosen)), parent), ROOT).astype(np.int32)
    pending = np.flatnonzero(~is_end.take(pointer))
    at = pointer[pending]
    while len(pending):
        at = pointer.take(at)
        pointer[pending] = at
        goes_on = ~is_end.take(at)
        pending, at = pending[goes_on], at[goes_on]
    return pointer[:-1]


def take(values: NDArray[Integer], index: Integers, default: int = ROOT) -> NDArray[Integer]:
    """``values[index]``, with a default where the index is ``ROOT``."""
    if not len(values):
        return np.full(len(index), default, dtype=values.dtype)
    # index 0 stands in for ROOT, and is overwritten
    selected = values[np.maximum(index, 0)]
    selected[index < 0] = default
    return selected


def distinct(values: NDArray[Integer]) -> NDArray[Integer]:
    """The distinct values in order. `np.unique` of numpy 2.3 hashes them: of times, that takes twenty times as long."""
    ordered = np.sort(values)
    return ordered[_changes(ordered)]


def _changes(values: Integers) -> NDArray[np.bool_]:
    """True for the first value, and for each that differs from the one before it."""
    return np.asarray(np.diff(values, prepend=~values[:1]) != 0)


def innermost(
    thread: Integers, start_ns: Int64, end_ns: Int64, at_thread: Integers, at_ns: Int64
) -> tuple[Int32, Int32]:
    """For each span the index of the span around it, and for each moment the index of the innermost span, or ``ROOT``.

    A moment is a thread and a time. A span runs from its start to just before its end.
    """
    # Moments become spans of 1 ns, each moment once, so that none is inside another.
    order = np.lexsort((at_ns, at_thread))
    at_thread, at_ns = at_thread[order], at_ns[order]
    is_new = _changes(at_thread) | _changes(at_ns)
    moment = np.empty(len(order), dtype=np.int64)
    moment[order] = np.cumsum(is_new) - 1
    at_thread, at_ns = at_thread[is_new], at_ns[is_new]
    spans = len(start_ns)
    parent = enclosing(
        np.concatenate([thread, at_thread]),
        np.concatenate([start_ns, at_ns]),
        np.concatenate([end_ns, at_ns + 1]),
        np.repeat(np.arange(2, dtype=np.int8), (spans, len(at_ns))),
    )
    around_spans, around_moments = parent[:spans], parent[spans:]
    if (around_spans >= spans).any():
        # A span of 0 ns is inside a moment. A span that ends there is around the one, and not around the other.
        around_spans = enclosing(thread, start_ns, end_ns, np.zeros(spans, dtype=np.int8))
    return around_spans, around_moments[moment]


def holds_a_moment(
    thread: Integers, start_ns: Int64, end_ns: Int64, at_thread: Integers, at_ns: Int64
) -> NDArray[np.bool_]:
    """True for each span that runs at one of the moments at least, as :func:`innermost` defines them."""
    held = np.zeros(len(thread), dtype=np.bool_)
    moments = _by_thread(at_thread)
    for each, rows in _by_thread(thread).items():
        times = np.append(np.sort(at_ns[moments.get(each, [])]), np.iinfo(np.int64).max)
        held[rows] = times[np.searchsorted(times, start_ns[rows])] < end_ns[rows]
    return held


def _by_thread(thread: Integers) -> dict[int, Int64]:
    """The rows of each thread, in order."""
    order = np.argsort(thread, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(thread[order])) + 1)
    return {int(thread[rows[0]]): rows for rows in groups if len(rows)}


def numbered(parent: Int32, name: Integers, number: Callable[[int, int], int]) -> Int64:
    """The number of each span: ``number`` makes it from the number of the span around, or ``ROOT``, and the own name.

    ``number`` is called once for each distinct pair on a level. Spans below ``MOST_LEVELS`` spans have the number of
    the span on the last level around them, so that a trace of endless nesting takes no endless time.
    """
    # The depth of every span, by pointer jumping: each pass doubles the distance.
    depth, pointer = (parent >= 0).astype(np.int32), parent.copy()
    while len(pending := np.flatnonzero(pointer >= 0)):
        depth[pending] += depth[pointer[pending]]
        pointer[pending] = pointer[pointer[pending]]
    numbers = np.full(len(parent), ROOT, dtype=np.int64)
    order = np.argsort(np.minimum(depth, MOST_LEVELS).astype(np.int16), kind="stable")  # 16 bits are sorted by radix
    levels = np.searchsorted(depth[order], np.arange(min(int(depth.max(initial=-1)) + 1, MOST_LEVELS) + 1))
    names = np.int64(name.max(initial=0)) + 1
    for first, last in pairwise(levels.tolist()):
        level = order[first:last]
        pairs = (take(numbers, parent[level]) + 1) * names + name[level]
        distinct, inverse = np.unique(pairs, return_inverse=True)
        of_pair = [number(pair // int(names) - 1, pair % int(names)) for pair in distinct.tolist()]
        numbers[level] = np.array(of_pair, dtype=np.int64)[inverse.reshape(-1)]
    below = np.flatnonzero(depth >= MOST_LEVELS)
    numbers[below] = numbers[nearest(parent, depth < MOST_LEVELS)[below]]
    return numbers
