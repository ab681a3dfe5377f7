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
    order = np.lexsort((rank, -end_ns, start_ns, thread)).astype(np.int32)
    # Start with the span just before. All spans between candidate[i] and i end before i does, so while the candidate
    # ends too early as well, jump to the candidate's own candidate.
    candidate = np.arange(-1, n - 1, dtype=np.int32)
    sorted_thread = thread[order]
    candidate[:1] = ROOT
    candidate[1:][sorted_thread[1:] != sorted_thread[:-1]] = ROOT
    del sorted_thread
    sorted_end = end_ns[order]
    active = np.flatnonzero(candidate >= 0).astype(np.int32)
    while len(active):
        too_early = sorted_end[candidate[active]] < sorted_end[active]
        active = active[too_early]
        candidate[active] = candidate[candidate[active]]
        active = active[candidate[active] >= 0]
    del sorted_end
    parent = np.full(n, ROOT, dtype=np.int32)
    inside = candidate >= 0
    parent[order[inside]] = order[candidate[inside]]
    return parent


def nearest(parent: Integers, chosen: NDArray[np.bool_]) -> Int32:
    """For each span the index of the nearest chosen span among itself and its ancestors, or ``ROOT``."""
    n = len(parent)
    # Pointers to chosen spans stay. All others follow their ancestor's pointer, which doubles the distance each pass.
    pointer = np.where(chosen, np.arange(n, dtype=np.int32), parent.astype(np.int32, copy=False))
    pending = np.flatnonzero(~chosen & (parent >= 0)).astype(np.int32)
    while len(pending):
        pointer[pending] = pointer[pointer[pending]]
        pending = pending[pointer[pending] >= 0]
        pending = pending[~chosen[pointer[pending]]]
    return pointer


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
    is_first = np.ones(len(ordered), dtype=np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def innermost(
    thread: Integers, start_ns: Int64, end_ns: Int64, at_thread: Integers, at_ns: Int64
) -> tuple[Int32, Int32]:
    """For each span the index of the span around it, and for each moment the index of the innermost span, or ``ROOT``.

    A moment is a thread and a time. A span runs from its start to just before its end.
    """
    # Moments become spans of 1 ns, each moment once, so that none is inside another.
    keys = at_thread * np.int64(len(at_ns) + 1) + np.searchsorted(distinct(at_ns), at_ns)
    _, once, inverse = np.unique(keys, return_index=True, return_inverse=True)
    spans, at_thread, at_ns = len(start_ns), at_thread[once], at_ns[once]
    parent = enclosing(
        np.concatenate([thread, at_thread]),
        np.concatenate([start_ns, at_ns]),
        np.concatenate([end_ns, at_ns + 1]),
        np.repeat(np.arange(2, dtype=np.int8), (spans, len(once))),
    )
    around_spans, around_moments = parent[:spans], parent[spans:]
    if (around_spans >= spans).any():
        # A span of 0 ns is inside a moment. A span that ends there is around the one, and not around the other.
        around_spans = enclosing(thread, start_ns, end_ns, np.zeros(spans, dtype=np.int8))
    return around_spans, around_moments[inverse.reshape(-1)]


def holds_a_moment(
    thread: Integers, start_ns: Int64, end_ns: Int64, at_thread: Integers, at_ns: Int64
) -> NDArray[np.bool_]:
    """True for each span that runs at one of the moments at least, as :func:`innermost` defines them."""
    times = distinct(at_ns)
    places = np.int64(len(times) + 1)  # a thread and the place of a time in `times` make one number
    moments = distinct(at_thread * places + np.searchsorted(times, at_ns))
    first, after = (
        np.searchsorted(moments, thread * places + np.searchsorted(times, edge_ns)) for edge_ns in (start_ns, end_ns)
    )
    return np.asarray(first < after)


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
    order = np.argsort(depth, kind="stable")
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
