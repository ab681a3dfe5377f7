"""Alignment of a replay's kernels with its twin's by name: longest common subsequences, and the time they take."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.attribution import alignment
from ridgeline.analyze.attribution.alignment import align_names
from ridgeline.analyze.attribution.spans import Int64
from tests.sampling import examples

codes = st.lists(st.integers(0, 4), max_size=40).map(lambda values: np.array(values, dtype=np.int64))


@examples("microseconds")
@given(ours=codes, theirs=codes)
def test_an_alignment_is_a_longest_common_subsequence(ours: Int64, theirs: Int64) -> None:
    pairs = align_names(ours, theirs)
    assert ours[pairs.first].tolist() == theirs[pairs.second].tolist()
    assert all((np.diff(side) > 0).all() for side in pairs)
    lengths = np.zeros((len(ours) + 1, len(theirs) + 1), dtype=int)
    for i, name in enumerate(ours):
        for j, other in enumerate(theirs):
            lengths[i + 1, j + 1] = max(lengths[i, j + 1], lengths[i + 1, j], lengths[i, j] + (name == other))
    assert len(pairs.first) == lengths[-1, -1]


def test_sequences_beyond_the_limit_of_memory_are_aligned_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST_CELLS", 20)
    names = np.arange(40)
    pairs = align_names(names, np.delete(names, [3, 30]))
    assert (pairs.first == np.delete(names, [3, 30])[pairs.second]).all()
    assert len(pairs.first) > 30
    assert align_names(names, names).first.tolist() == names.tolist()


def test_a_long_replay_is_aligned_quickly() -> None:
    """A thousand layers of 50 kernels, a tenth missing, and a third as long again of another graph."""
    generator = np.random.default_rng(1)
    theirs = np.tile(generator.integers(0, 30, 50), 1000)
    ours = theirs[generator.random(len(theirs)) < 0.9]
    extra = np.concatenate([ours[:20_000], generator.integers(100, 130, 15_000), ours[20_000:]])
    start = time.perf_counter()
    pairs = align_names(extra, theirs)
    assert time.perf_counter() - start < 3
    assert len(pairs.first) == len(ours)
