"""Nesting of spans: which span encloses which, for all spans of all threads at once.

Everything is a few numpy passes with pointer jumping, O(n log n) whatever the depth; no Python per span.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

ROOT = -1
"""The parent of a span that nothing encloses."""


def enclosing(thread: Int64, start_ns: Int64, end_ns: Int64, rank: Int64) -> Int64:
    """For each of n spans the index of the innermost span of its thread that contains it, or ``ROOT``.

    Equal spans nest by ``rank``, the lower outside. A span that only overlaps another is not inside it.
    """
    n = len(start_ns)
    order = np.lexsort((rank, -end_ns, start_ns, thread))
    sorted_thread, sorted_end = thread[order], end_ns[order]
    # candidate[i]: everything between it and i ends before i does. Jump while the candidate ends too early.
    candidate = np.arange(-1, n - 1, dtype=np.int64)
    first = np.ones(n, dtype=bool)
    first[1:] = sorted_thread[1:] != sorted_thread[:-1]
    candidate[first] = ROOT
    active = np.flatnonzero(candidate >= 0)
    while len(active):
        too_early = sorted_end[candidate[active]] < sorted_end[active]
        active = active[too_early]
        candidate[active] = candidate[candidate[active]]
        active = active[candidate[active] >= 0]
    parent = np.full(n, ROOT, dtype=np.int64)
    inside = candidate >= 0
    parent[order[inside]] = order[candidate[inside]]
    return parent


def nearest(parent: Int64, chosen: NDArray[np.bool_]) -> Int64:
    """For each span the index of the nearest chosen one among itself and its ancestors, or ``ROOT``."""
    n = len(parent)
    pointer = np.where(chosen, np.arange(n, dtype=np.int64), parent)
    pending = np.flatnonzero(~chosen & (parent >= 0))
    while len(pending):
        pointer[pending] = pointer[pointer[pending]]
        pending = pending[pointer[pending] >= 0]
        pending = pending[~chosen[pointer[pending]]]
    return pointer


def take(values: Int64, index: Int64, default: int = ROOT) -> Int64:
    """``values[index]``, with a default where the index is ``ROOT``."""
    if not len(values):
        return np.full(len(index), default, dtype=np.int64)
    return np.where(index >= 0, values[np.maximum(index, 0)], default)
