"""Which pass a step is in, and which steps are traced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerAction

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.recording.plan import ByGeneration, ByNumber, Pass, by_schedule, window
from ridgeline.capture.steps import RecordedStep


@pytest.mark.parametrize(
    ("keys", "plan"),
    [
        ({"skip_first": 2, "wait": 3, "warmup": 1, "active": 4}, ByNumber(warmup=2, timed=3, settle=1, traced=4)),
        ({"wait": 5, "warmup": 2, "active": 1, "repeat": 1}, ByNumber(warmup=0, timed=5, settle=2, traced=1)),
        (
            {"wait": 5, "warmup": 1, "active": 2, "skip_first": 1, "skip_first_wait": 1},
            ByNumber(warmup=1, timed=0, settle=1, traced=2),
        ),
    ],
)
def test_a_schedule_of_torch_is_a_plan(keys: dict[str, Any], plan: ByNumber) -> None:
    assert by_schedule(torch.profiler.schedule(**keys)) == plan


def test_any_callable_may_be_a_schedule() -> None:
    actions = [ProfilerAction.NONE] * 3 + [ProfilerAction.RECORD] * 2
    plan = by_schedule(lambda number: actions[number] if number < 5 else ProfilerAction.NONE)
    assert plan == ByNumber(warmup=1, timed=2, settle=0, traced=2)


def test_a_schedule_that_traces_nothing_is_refused() -> None:
    with pytest.raises(CaptureError, match="traces none of its first"):
        by_schedule(lambda number: ProfilerAction.NONE)


def test_numbers_of_steps_are_stages_in_order() -> None:
    plan = ByNumber(warmup=1, timed=2, settle=1, traced=2)
    stages = [plan.stage(number) for number in range(9)]
    assert [stage.pass_ for stage in stages] == [
        *(Pass.warm_up, Pass.timed, Pass.timed, Pass.warm_up),
        *(Pass.traced, Pass.traced, Pass.counted, Pass.counted, Pass.done),
    ]
    assert [stage.settles for stage in stages].index(True) == 3


def steps(*kinds: str, start: int = 0) -> list[RecordedStep]:
    return [RecordedStep(phase=kind, index=start + index, kind=kind) for index, kind in enumerate(kinds)]


def test_a_window_is_the_whole_generation_or_a_run_of_all_kinds() -> None:
    plan = ByGeneration()
    assert window(plan, []) == range(128)
    assert window(plan, steps(*128 * ["decode"])) == range(128)
    assert window(plan, steps("prefill", *130 * ["decode"])) == range(3)
    assert window(plan, steps(*3 * ["decode"], start=5)) == range(5, 8)
    assert window(ByGeneration(traced=range(4, 6)), steps("decode")) == range(4, 6)
    assert window(ByGeneration(traced=lambda steps: [steps[-1].index]), steps("prefill", "decode")) == [1]


def test_a_plan_says_how_long_a_stage_lasts() -> None:
    plan = ByNumber(warmup=2, timed=3, settle=0, traced=2)
    assert [plan.until(number) for number in range(11)] == [2, 2, 5, 5, 5, 7, 7, 9, 9, 10, 11]
    stages = [plan.stage(number) for number in range(11)]
    assert all(stages[number] == stages[other] for number in range(9) for other in range(number, plan.until(number)))
