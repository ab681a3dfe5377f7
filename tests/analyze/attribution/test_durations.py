"""Durations that a stream's order excludes are clipped, others are left as they are; counter ranges of one length."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.attribution.durations import OUTLASTS_NS, OVERLAP_NS, with_true_durations
from ridgeline.analyze.reading.categories import RANGE
from tests.sampling import examples

US = 1000


def activities(*rows: tuple[int, int], **columns: list[Any]) -> pl.DataFrame:
    """Activities by start and duration in ns, on one stream of one device unless ``columns`` says otherwise."""
    count = len(rows)
    defaults: dict[str, list[Any]] = {
        "device": [0] * count, "stream": [7] * count, "launch": list(range(count)), "replay": [False] * count,
        "category": [0] * count, "doubt": [None] * count, "step_label": [1] * count,
    }  # fmt: skip
    starts, durations = (list(each) for each in zip(*rows, strict=True))
    frame = pl.DataFrame({"start_ns": starts, "duration_ns": durations, **defaults, **columns}, strict=False)
    return frame.cast({"device": pl.Int64, "stream": pl.Int64, "launch": pl.Int64, "step_label": pl.Int64})


def durations(frame: pl.DataFrame) -> list[int]:
    return with_true_durations(frame)["duration_ns"].to_list()


def test_a_kernel_that_outlasts_the_next_one_ends_where_that_starts() -> None:
    frame = with_true_durations(activities((0, 200 * US), (300 * US, 10**12), (600 * US, 200 * US), (900 * US, 5)))
    assert frame["duration_ns"].to_list() == [200 * US, 300 * US, 200 * US, 5]
    assert frame["recorded_ns"].to_list() == [200 * US, 10**12, 200 * US, 5]


@pytest.mark.parametrize(
    ("first_ns", "second", "clipped"),
    [
        (200_001, (200_000, 3000), False),  # a clock that rounds
        (205_344, (200_000, 7872), False),  # a dependent launch, as recorded on an H200
        (200_000 + OVERLAP_NS, (200_000, OVERLAP_NS), False),
        (200_001 + OVERLAP_NS, (200_000, 2 * OVERLAP_NS), True),
        (200_000 + OUTLASTS_NS, (200_000, 0), False),
        (200_001 + OUTLASTS_NS, (200_000, 0), True),
        (203_000 + OUTLASTS_NS, (200_000, 3000), False),
        (203_001 + OUTLASTS_NS, (200_000, 3000), True),
    ],
)
def test_only_what_is_impossible_is_clipped(first_ns: int, second: tuple[int, int], clipped: bool) -> None:
    frame = activities((0, first_ns), second)
    assert durations(frame) == [200_000 if clipped else first_ns, second[1]]
    assert ("recorded_ns" in with_true_durations(frame).columns) == clipped


LONG = ((0, 1000 * US), (10 * US, 20 * US))


@pytest.mark.parametrize(
    "columns",
    [
        {"stream": [7, 8]},
        {"stream": [None, None]},
        {"device": [0, 1]},
        {"launch": [3, 3], "replay": [True, True]},
        {"doubt": [None, "same_process"]},
    ],
    ids=["streams", "no stream", "devices", "branches of a graph", "ranks that are not told apart"],
)
def test_what_may_overlap_is_left(columns: dict[str, list[Any]]) -> None:
    assert durations(activities(*LONG)) == [10 * US, 20 * US]
    assert durations(activities(*LONG, **columns)) == [1000 * US, 20 * US]
    assert durations(activities(*LONG, launch=[3, 3])) == [10 * US, 20 * US]


def test_what_starts_at_once_ends_at_the_next_start() -> None:
    assert durations(activities((0, 900 * US), (0, 800 * US), (50 * US, US))) == [50 * US, 50 * US, US]


@pytest.mark.parametrize(("last_ns", "expected"), [(70, [0, 0, 0]), (71, [70, 70, 71]), (None, [70, 70])])
def test_counter_ranges_of_one_length_have_no_duration(last_ns: int | None, expected: list[int]) -> None:
    rows = [(0, 70), (100, 70), *([(200, last_ns)] if last_ns else [])]
    frame = with_true_durations(activities(*rows, category=[RANGE] * len(rows)))
    assert frame["duration_ns"].to_list() == ([0, 0] if last_ns is None else expected)
    assert frame["step_label"].null_count() == (0 if last_ns == 71 else len(rows))
    assert durations(activities((0, 70), category=[RANGE])) == [70]


rows = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 1), st.sampled_from([None, 1, 2]))


@examples("microseconds")
@given(st.lists(rows, min_size=1, max_size=9))
def test_clipping_is_what_the_rule_says_of_each(made: list[tuple[int, int, int, int | None]]) -> None:
    ordered = sorted(made, key=lambda row: (row[0], row[2], row[3] is not None, row[3] or 0))
    times = [(start * 10_000, duration * 10_000) for start, duration, *_ in ordered]
    frame = activities(*times, device=[row[2] for row in ordered], stream=[row[3] for row in ordered])
    expected = []
    for (start, duration), (*_, device, stream) in zip(times, ordered, strict=True):
        later = [
            time for time, row in zip(times, ordered, strict=True)
            if stream and row[2:] == (device, stream) and time[0] > start
        ]  # fmt: skip
        if later:
            over = start + duration - later[0][0]
            outlasts = start + duration - sum(later[0]) > OUTLASTS_NS
            duration -= over if over > OUTLASTS_NS and (outlasts or over > OVERLAP_NS) else 0
        expected.append(duration)
    assert durations(frame) == expected
