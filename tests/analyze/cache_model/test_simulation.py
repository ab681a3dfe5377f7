"""The compiled simulation: equal to the one in numpy, and bounded."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.cache_model import l2, simulation
from ridgeline.analyze.cache_model.code import code_bytes
from ridgeline.analyze.cache_model.execution_trace import read_execution_trace
from ridgeline.analyze.cache_model.launches import operands
from ridgeline.analyze.cache_model.operands import Touch, frame
from ridgeline.analyze.cache_model.policy import Policy
from ridgeline.analyze.cache_model.predict import predict
from tests.analyze.cache_model import reference
from tests.analyze.cache_model.test_counters import CAPTURES, L2_BYTES, SHARED, load
from tests.sampling import examples

MIB = 1 << 20


@st.composite
def touches(draw: st.DrawFn) -> Touch:
    """Operands that overlap, begin within a granule, and divide unevenly into parts."""
    span = draw(st.sampled_from([1, 5000, 1 << 16, 3 * MIB, 24 * MIB]) | st.integers(1, 40 * MIB))
    return Touch(
        storage=draw(st.integers(0, 6)),
        offset=draw(st.sampled_from([0, 4096, 12345, 8 * MIB])),
        bytes=draw(st.just(span) | st.integers(1, span)),
        span=span,
        write=draw(st.booleans()),
        waves=draw(st.sampled_from([0, 0, 1, 3, 70, 130])),
        parts=draw(st.sampled_from([0, 1, 1.5, 3, 7.3])),
        stay=draw(st.sampled_from([1, 1.5, 2, 2.7])),
        passes=draw(st.sampled_from([1, 1, 1, 3])),
        shared=draw(st.integers(0, 2)),
    )


policies = st.sampled_from([Policy(), Policy(1.0, 64, 0.5, 64, 0.0, 0.0), Policy(ways=4, dirty_share=0.1)])


def differences(sequence: list[list[Touch]], l2_bytes: int, policy: Policy) -> list[tuple[int, float, float]]:
    """Kernels with other bytes than by the reference."""
    kernels = pl.DataFrame({"kernel": range(len(sequence))})
    touched = frame((i, touch) for i, kernel in enumerate(sequence) for touch in kernel)
    predicted = predict(kernels, touched, l2_bytes, policy=policy)
    expected = reference.simulate(sequence, l2_bytes, policy)
    return [
        (kernel, was, expected)
        for column, values in zip(("dram_read_bytes", "dram_write_bytes"), expected, strict=True)
        for kernel, (was, expected) in enumerate(zip(predicted[column].to_list(), values.tolist(), strict=True))
        # a thousandth of a byte is the rounding of sums of many MiB
        if was != pytest.approx(expected, rel=1e-9, abs=1e-3)
    ]


@examples("milliseconds")
@given(st.lists(st.lists(touches(), max_size=5), min_size=1, max_size=10), policies)
def test_made_sequences_equal_the_reference(sequence: list[list[Touch]], policy: Policy) -> None:
    assert differences(sequence, 16 * MIB, policy) == []


@examples("milliseconds")
@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(1, 3))
def test_operands_side_by_side_in_another_order_equal_the_reference(order: list[int], operands: int) -> None:
    """Granules that come back in another order than they were touched in, from several places in the stack."""
    sequence = [
        [Touch((first + i) % 4, 0, size, size, i == operands) for i in range(operands + 1)]
        for first, size in zip(order, [5 * MIB, 3 * MIB, 7 * MIB, 2 * MIB, 300_000, 11 * MIB], strict=False)
    ]
    assert differences(sequence, 16 * MIB, Policy()) == []


def test_a_phase_longer_than_any_l2_equals_the_reference() -> None:
    long = Touch(1, 0, 3000 * MIB, 3000 * MIB, False)
    assert differences([[Touch(1, 0, 9 * MIB, 9 * MIB, True)], [long], [long]], 60 * MIB, Policy()) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference captures are not beside the project")
@pytest.mark.parametrize("name", CAPTURES)
def test_a_counted_step_equals_the_reference(name: str) -> None:
    capture = load(name)
    count = len(capture.counted)
    kernels = capture.kernels[:count]
    touched = operands(kernels, read_execution_trace(SHARED / f"{name}.et.json.gz"))
    codes = {kernel: -10 - i for i, kernel in enumerate(kernels["name"].unique())}
    sequence = [[Touch(codes[each], 0, size := code_bytes(each), size, False)] for each in kernels["name"]]
    for kernel, *touch in touched.iter_rows():
        sequence[kernel].append(Touch(*touch))
    assert differences(sequence, L2_BYTES, Policy()) == []


def test_a_step_beyond_the_limits_is_unknown_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l2, "MOST_WORK", 1000)
    kernels = pl.DataFrame({"kernel": [0, 1, 2], "step": [0, 1, 2]})
    touched = frame((i, Touch(1, 0, size, size, False)) for i, size in enumerate([MIB, 4000 * MIB, MIB]))
    read = predict(kernels, touched, 60 * MIB)["dram_read_bytes"].to_list()
    assert [np.isnan(value) for value in read] == [False, True, False]


@pytest.mark.parametrize(("first_touch", "span"), [([0, 1 << 30], MIB), ([0, 1], 1 << 62)])
def test_a_trap_ends_no_process(first_touch: list[int], span: int) -> None:
    """Operands beyond the module's memory, and one that needs more than it may have: unknown bytes, no exception."""
    array = np.zeros(1, dtype=simulation.TOUCH)
    for name, value in {"span": span, "bytes": MIB, "passes": 1, "stay": 1}.items():
        array[name] = value
    moved = simulation.simulate(array, np.array(first_touch), [0, 1], 60 * MIB, Policy())
    assert np.isnan(moved).all()
