"""Timings by a fake clock: sums, steps and the length of a warm-up."""

from typing import Any

import pytest
import torch

from ridgeline.capture.measuring import timing
from ridgeline.capture.steps import Step, schedule
from tests.capture.conftest import make_point

CPU = torch.device("cpu")


class Recorded:
    """A generation, and its own runner, that remembers which steps were run."""

    def __init__(self, unneeded: int = -1) -> None:
        self.generation = self
        self.unneeded = unneeded
        self.steps = schedule(make_point(model="tiny-llada", mode="dlm_block_dual", block=4))
        self.ran: list[int] = []

    def reset(self) -> None:
        self.ran.clear()

    def finished(self, step: Step) -> bool:
        return step.index == self.unneeded

    def run(self, step: Step) -> None:
        self.ran.append(step.index)


class Ticking:
    """A clock by which step i takes i + 1 nanoseconds."""

    def __init__(self) -> None:
        self.marks = 0

    def moment(self) -> int:
        self.marks += 1
        return self.marks - 1

    def between_ns(self, first: int, last: int) -> int:
        return sum(range(first + 1, last + 1))


def test_steps_are_the_distances_between_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "clock", lambda device, marks: Ticking())
    generation: Any = Recorded()
    first = timing.generation(generation, CPU)
    assert [(entry.step, entry.value_ns) for entry in first if entry.metric == "step"] == [
        (index, index + 1) for index in range(12)
    ]
    assert [entry.value_ns for entry in first if entry.metric == "ttft"] == [1]
    assert [entry.value_ns for entry in first if entry.metric == "first_block"] == [1 + 2 + 3 + 4]
    assert [entry.kind for entry in first if entry.metric == "step"][:5] == ["refresh", *3 * ["reuse"], "refresh"]
    assert generation.ran == list(range(12))


@pytest.mark.parametrize(("limit_s", "steps"), [(0.0, 5), (60.0, 12)])
def test_a_warm_up_sees_every_kind_twice_even_when_time_is_short(limit_s: float, steps: int) -> None:
    generation: Any = Recorded()
    timing.warm_up(generation, CPU, limit_s=limit_s)
    assert generation.ran == list(range(steps))


def test_a_warm_up_sees_every_length() -> None:
    generation: Any = Recorded()
    generation.steps = schedule(make_point(model="tiny-llama", mode="ar"))
    timing.warm_up(generation, CPU, limit_s=0.0)
    assert generation.ran == list(range(12))


def test_steps_that_are_not_needed_are_neither_run_nor_timed() -> None:
    generation: Any = Recorded(unneeded=2)
    timings = timing.generation(generation, CPU)
    assert generation.ran == [0, 1, *range(3, 12)]
    assert [entry.step for entry in timings if entry.metric == "step"] == generation.ran


def test_a_first_block_ends_when_it_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefill commits nothing, and the step that caches the block comes after it."""
    monkeypatch.setattr(timing, "clock", lambda device, marks: Ticking())
    generation: Any = Recorded()
    generation.steps = schedule(make_point(model="tiny-llada", mode="dlm_block_causal", block=4))
    assert [step.kind for step in generation.steps][:6] == ["prefill", *4 * ["reuse"], "commit"]
    timings = timing.generation(generation, CPU)
    assert {entry.metric: entry.value_ns for entry in timings if entry.metric in ("ttft", "first_block")} == {
        "ttft": 1 + 2,
        "first_block": 1 + 2 + 3 + 4 + 5,
    }
