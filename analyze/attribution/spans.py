"""Nesting of spans: the enclosing span of every span, for all threads at once.

A few numpy passes with pointer jumping take O(n log n) at any depth, without Python code per span.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Integers = NDArray[np.signedinteger[Any]]
Integer = TypeVar("Integer", bound=np.signedinteger[Any])

ROOT = -1
"""The parent of a span that nothing encloses."""


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
