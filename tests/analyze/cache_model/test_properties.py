"""What holds for every sequence."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.cache_model.operands import Touch, frame
from ridgeline.analyze.cache_model.predict import predict
from tests.sampling import examples

MIB = 1 << 20
L2 = 16 * MIB


@st.composite
def touches(draw: st.DrawFn) -> Touch:
    size = draw(st.integers(1, 24 * MIB))
    return Touch(
        storage=draw(st.integers(0, 5)),
        offset=draw(st.sampled_from([0, 4096, 8 * MIB])),
        bytes=draw(st.integers(1, size)),
        span=size,
        write=draw(st.booleans()),
        waves=draw(st.sampled_from([0, 0, 1, 3])),
        parts=draw(st.sampled_from([0, 1, 1.5])),
        stay=draw(st.sampled_from([1, 1.5])),
        passes=draw(st.sampled_from([1, 1, 3])),
        shared=draw(st.integers(0, 2)),
    )


sequences = st.lists(st.lists(touches(), max_size=4), min_size=1, max_size=8)


def predicted(sequence: list[list[Touch]], l2_bytes: int = L2) -> pl.DataFrame:
    operands = frame((i, touch) for i, kernel in enumerate(sequence) for touch in kernel)
    return predict(pl.DataFrame({"kernel": range(len(sequence))}), operands, l2_bytes)


def touched(kernel: list[Touch], *, write: bool) -> int:
    """Bytes as often as they are touched, at most: in each wave and pass of the kernel, unless cut into parts."""
    waves = max((touch.waves for touch in kernel), default=0) or 1
    chosen = [touch for touch in kernel if touch.write == write]
    return sum(touch.bytes * (waves if touch.parts else 1) * (1 if write else touch.passes) for touch in chosen)


def total(sequence: list[list[Touch]], *, write: bool) -> int:
    return sum(touched(kernel, write=write) for kernel in sequence)


@examples("milliseconds")
@given(sequences)
def test_no_more_is_moved_than_is_touched(sequence: list[list[Touch]]) -> None:
    result = predicted(sequence)
    assert (result["dram_read_bytes"] >= 0).all()
    assert (result["dram_write_bytes"] >= 0).all()
    assert result["dram_read_bytes"].sum() <= total(sequence, write=False) * (1 + 1e-9) + 1
    assert result["dram_write_bytes"].sum() <= total(sequence, write=True) * (1 + 1e-9) + 1


@examples("milliseconds")
@given(sequences)
def test_a_kernel_reads_no_more_than_it_touches(sequence: list[list[Touch]]) -> None:
    for kernel, moved in zip(sequence, predicted(sequence)["dram_read_bytes"], strict=True):
        assert moved <= touched(kernel, write=False) * (1 + 1e-9) + 1


@examples("milliseconds")
@given(sequences)
def test_what_is_written_between_two_floods_is_written_back_whole(sequence: list[list[Touch]]) -> None:
    """Each byte written reaches DRAM at least once: the last time before the flood."""
    distinct = [
        [touch._replace(storage=10 * i + j, offset=0, parts=0, stay=1)]
        for i, k in enumerate(sequence)
        for j, touch in enumerate(k)
    ]
    flood = [Touch(999, 0, 8 * L2, 8 * L2, False)]
    written = predicted([flood, *distinct, flood])["dram_write_bytes"].sum()
    assert written == pytest.approx(total(distinct, write=True), rel=1e-6, abs=2)


@examples("milliseconds")
@given(sequences, st.permutations(range(6)))
def test_numbers_of_storages_do_not_matter(sequence: list[list[Touch]], numbers: list[int]) -> None:
    renamed = [[touch._replace(storage=1000 * numbers[touch.storage] + 7) for touch in kernel] for kernel in sequence]
    assert predicted(renamed).equals(predicted(sequence))


@examples("milliseconds")
@given(sequences)
def test_steps_that_are_equal_are_predicted_alike(sequence: list[list[Touch]]) -> None:
    twice = sequence + [[touch._replace(storage=touch.storage + 100) for touch in kernel] for kernel in sequence]
    operands = frame((i, touch) for i, kernel in enumerate(twice) for touch in kernel)
    steps = [0] * len(sequence) + [1] * len(sequence)
    result = predict(pl.DataFrame({"kernel": range(len(twice)), "step": steps}), operands, L2)
    moved = result.drop("kernel")
    assert moved[: len(sequence)].equals(moved[len(sequence) :])
    assert moved[: len(sequence)].equals(predicted(sequence).drop("kernel"))


@examples("milliseconds")
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12 * MIB)), min_size=1, max_size=10))
def test_a_larger_cache_reads_no_more(reads: list[tuple[int, int]]) -> None:
    sequence = [[Touch(storage, 0, size, size, False)] for storage, size in reads]
    smaller, larger = (predicted(sequence, size)["dram_read_bytes"].sum() for size in (L2, 2 * L2))
    assert larger <= smaller + 1
