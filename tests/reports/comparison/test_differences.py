"""The largest differences of a comparison, and what their rows say of the cause."""

from __future__ import annotations

from typing import Any

import pytest

from ridgeline.reports.comparison.compare import Comparison, Side
from ridgeline.reports.comparison.differences import UNEXPLAINED, cause, largest, replaced
from ridgeline.reports.comparison.verdict import verdict

Row = dict[str, Any]

COLUMNS = """module base_shapes other_shapes why share_of_change noise_ns noise_basis family operator
  base_diagnosis other_diagnosis base_roof_fraction other_roof_fraction"""
UNKNOWN: Row = dict.fromkeys(COLUMNS.split())


def row(level: str, stage: str, base_ns: float | None, other_ns: float | None, **more: Any) -> Row:
    delta = (other_ns or 0) - (base_ns or 0)
    sides = {"base_steps": 1, "other_steps": 1, "base_ns_per_step": base_ns, "other_ns_per_step": other_ns}
    status = "added" if base_ns is None else "gone" if other_ns is None else "slower" if delta > 0 else "faster"
    change = {"change": delta / base_ns if base_ns else None, "delta_ns_per_step": delta, "status": status}
    return {**UNKNOWN, "level": level, "stage": stage, "unit": "step", "by_kernel": False, **sides, **change, **more}


def compared(*rows: Row) -> Comparison:
    return Comparison(Side([{"run_id": "a"}], []), Side([{"run_id": "b"}], []), list(rows))


def test_the_largest_are_those_of_a_mean_step() -> None:
    """A prefill happens once in a hundred steps: ten times the difference is a tenth of the effect."""
    steps = {"base_steps": 99, "other_steps": 99}
    found = compared(
        row("unprofiled", "prefill", 5000, 6000),
        row("unprofiled", "decode", 50, 60, **steps),
        row("step", "prefill", 5000, 6000),
        row("step", "decode", 50, 60),
        row("operator", "prefill", 5000, 5600, operator="aten::mm"),
        row("operator", "decode", 50, 110, operator="aten::sdpa"),
        row("operator", "decode", 10, 10, operator="aten::add", status="same"),
        row("operator", "(outside steps)", 10, 9000, operator="aten::copy_"),
    )
    assert [(one.title, one.times, one.delta, one.size) for one in largest(found)] == [
        ("aten::sdpa", "50 ns to 110 ns", "+60 ns", "+120 %"),
        ("aten::mm", "5 µs to 5.6 µs", "+600 ns", "+12 %"),
    ]
    # Where the steps are those of traces alone, both kinds count alike.
    traced = compared(*found.rows[2:])
    assert [one.title for one in largest(traced)] == ["aten::mm", "aten::sdpa"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, UNEXPLAINED),
        ({"why": "fewer bytes"}, "fewer bytes"),
        (
            {"why": "other kernels", "base_roof_fraction": 0.942, "other_roof_fraction": 0.61},
            "other kernels; of the roof 94.2 % before, 61 % after",
        ),
        ({"other_roof_fraction": 0.0112}, "of the roof 1.12 % after"),
        ({"other_diagnosis": "32 blocks on 132"}, "after: 32 blocks on 132"),
        ({"base_diagnosis": "a tail", "other_diagnosis": "32 blocks"}, "before: a tail; after: 32 blocks"),
        ({"base_diagnosis": "a tail", "other_diagnosis": "a tail"}, "both: a tail"),
    ],
)
def test_a_cause_is_what_the_row_holds(values: Row, says: str) -> None:
    assert cause({**UNKNOWN, **values}) == says


def test_operators_that_others_replace_are_said_to_be() -> None:
    """A compiler's: what is gone is no gain by itself."""
    gone, added = row("operator", "decode", 900, None), row("operator", "decode", None, 500)
    step, slower = row("step", "decode", 1000, 600), row("operator", "decode", 100, 700)
    assert replaced(compared(step, gone, added)) == (
        "operators of one side alone make up most of the differences, as where a compiler fuses them: -900 ns gone, "
        "+500 ns added, together -400 ns per mean step"
    )
    assert replaced(compared(step, gone, added, slower)) != ""
    assert replaced(compared(step, gone, slower)) == ""
    assert replaced(compared(step, gone, added, slower | {"delta_ns_per_step": 1500})) == ""


def test_a_generation_comes_first_where_one_side_has_another_kind_of_step() -> None:
    """Blocks of a cache refresh, the naive mode does not: a step of reuse is not what a generation gains."""
    noise = {"noise_ns": 10, "noise_basis": "runs"}
    found = compared(
        row("generation", "(generation)", 8000, 2000, **noise),
        row("unprofiled", "denoise → reuse", 2000, 20, **noise),
        row("step", "denoise → reuse", 2000, 20, **noise),
        row("step", "refresh", None, 1900),
    )
    assert verdict(found)[0] == "a generation: 75 % faster, 8 µs to 2 µs end to end (noise ±0.12 %)"
    (only,) = verdict(compared(*found.rows[:3]))
    assert only.startswith("denoise → reuse: 99 % faster")
