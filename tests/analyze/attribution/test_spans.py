from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ridgeline.analyze.attribution.spans import ROOT, enclosing, holds_a_moment, innermost, nearest, numbered

SPANS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=40
)


def columns(spans: list[tuple[int, int, int, int]]) -> tuple[np.ndarray, ...]:
    thread, start, duration, rank = (np.array(column, dtype=np.int64) for column in zip(*spans, strict=True))
    return thread, start, start + duration, rank


def contains(outer: int, inner: int, spans: tuple[np.ndarray, ...]) -> bool:
    """Brute force: same thread, spans it, and stands before it in the order that breaks ties."""
    thread, start, end, rank = spans
    key = [(int(start[i]), -int(end[i]), int(rank[i]), i) for i in (outer, inner)]
    return bool(thread[outer] == thread[inner] and end[outer] >= end[inner] and key[0] < key[1])


@given(SPANS)
def test_parent_is_the_last_span_before_it_that_contains_it(spans: list[tuple[int, int, int, int]]) -> None:
    arrays = columns(spans)
    thread, start, end, rank = arrays
    expected = []
    for i in range(len(spans)):
        around = [j for j in range(len(spans)) if contains(j, i, arrays)]
        expected.append(max(around, key=lambda j: (start[j], -end[j], rank[j], j), default=ROOT))
    assert enclosing(thread, start, end, rank).tolist() == expected


@given(SPANS, st.integers(0, 2))
def test_nearest_walks_up_the_parents(spans: list[tuple[int, int, int, int]], wanted: int) -> None:
    thread, start, end, rank = columns(spans)
    parent = enclosing(thread, start, end, rank)
    for i, found in enumerate(nearest(parent, rank == wanted).tolist()):
        at = i
        while at != ROOT and rank[at] != wanted:
            at = int(parent[at])
        assert found == at


def test_deep_nesting_and_long_rows_of_siblings() -> None:
    depth, siblings = 10_000, 50_000
    start = np.concatenate([np.arange(depth), depth + 2 * np.arange(siblings)])
    end = np.concatenate([np.full(depth, 10 * siblings) - np.arange(depth), depth + 2 * np.arange(siblings) + 1])
    parent = enclosing(np.zeros(len(start), dtype=np.int64), start, end, np.zeros(len(start), dtype=np.int64))
    assert parent[:depth].tolist() == list(range(-1, depth - 1))
    assert set(parent[depth:].tolist()) == {depth - 1}
    assert set(nearest(parent, np.arange(len(start)) == 0).tolist()) == {0}


@given(SPANS, st.lists(st.tuples(st.integers(0, 2), st.integers(0, 45)), min_size=1, max_size=20))
@example([(0, 0, 1, 0), (0, 1, 0, 0)], [(0, 1)])
def test_the_innermost_span_at_a_moment_and_spans_that_hold_none(
    spans: list[tuple[int, int, int, int]], moments: list[tuple[int, int]]
) -> None:
    thread, start, end, _ = columns(spans)
    at_thread, at = (np.array(column, dtype=np.int64) for column in zip(*moments, strict=True))
    parent, found = innermost(thread, start, end, at_thread, at)
    assert parent.tolist() == enclosing(thread, start, end, np.zeros(len(start), dtype=np.int64)).tolist()
    held: set[int] = set()
    for moment, span in zip(moments, found.tolist(), strict=True):
        running = [i for i in range(len(spans)) if thread[i] == moment[0] and start[i] <= moment[1] < end[i]]
        held |= set(running)
        assert span == max(running, key=lambda i: (start[i], -end[i], i), default=ROOT)
    assert np.flatnonzero(holds_a_moment(thread, start, end, at_thread, at)).tolist() == sorted(held)


def test_numbers_of_paths_are_asked_once_for_each_pair() -> None:
    parent, name = np.array([ROOT, 0, 0, 1, ROOT, 4, 5], dtype=np.int32), np.array([0, 1, 1, 2, 0, 1, 2])
    asked: list[tuple[int, int]] = []

    def number(outer: int, own: int) -> int:
        asked.append((outer, own))
        return len(asked) - 1

    assert numbered(parent, name, number).tolist() == [0, 1, 1, 2, 0, 1, 2]
    assert asked == [(ROOT, 0), (0, 1), (1, 2)]
    assert numbered(parent[:0], name[:0], number).tolist() == []
