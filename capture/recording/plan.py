"""Which pass of a recording a step is in: by generation, by the number of the step, or by a schedule of torch."""

import inspect
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import takewhile
from typing import Any, Protocol

import msgspec

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.steps import RecordedStep, profiled_window

LONGEST_WINDOW = 128
"""A generation of at most this many steps is traced as a whole."""

SEARCHED_STEPS = 100_000
"""A schedule of torch must trace within this many steps."""


class Pass(Enum):
    """What a recording does in a step.

    `warm_up` does nothing, or profiles a step and discards the result. `timed` measures durations. `traced` profiles.
    `twin` profiles the traced steps again, launched eagerly. `counted` reads hardware counters. `done` does nothing.
    """

    warm_up = "warm_up"
    timed = "timed"
    traced = "traced"
    twin = "twin"
    counted = "counted"
    done = "done"


class Stage(msgspec.Struct, frozen=True):
    """A pass, and for generations the number of the repeat. A trace of a `spare` stage is kept unless another one is
    complete when the program ends. `settles`: a step is profiled and the result discarded.

    The first use of CUPTI loads it and disturbs what it sees.
    """

    pass_: Pass
    repeat: int = 0
    settles: bool = False
    spare: bool = False

    @property
    def idle(self) -> bool:
        """Whether its steps need no instrument."""
        return self.pass_ is Pass.done or (self.pass_ is Pass.warm_up and not self.settles)


class ByGeneration(msgspec.Struct, frozen=True, kw_only=True):
    """Generations to warm up and to time; then one settles the profiler and one is traced.

    `traced` lists the indices of the steps to trace, or chooses them from all steps of a generation.
    """

    warmup: int = 1
    timed: int = 3
    traced: Sequence[int] | Callable[[Sequence[RecordedStep]], Sequence[int]] | None = None


class ByNumber(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of steps to warm up, to time, to settle the profiler and to trace. Then as many steps are counted."""

    warmup: int
    timed: int
    traced: int
    settle: int = 1

    @property
    def before(self) -> int:
        """The number of the first traced step."""
        return self.warmup + self.timed + self.settle

    def stage(self, number: int) -> Stage:
        """The stage of the step `number`, from 0."""
        if number < self.warmup:
            return Stage(Pass.warm_up)
        if number < self.warmup + self.timed:
            return Stage(Pass.timed)
        if number < self.before:
            return Stage(Pass.warm_up, settles=True)
        if number < self.before + self.traced:
            return Stage(Pass.traced)
        if number < self.before + 2 * self.traced:
            return Stage(Pass.counted)
        return Stage(Pass.done)

    def until(self, number: int) -> int:
        """The first step after `number` that may be in another stage."""
        timed = self.warmup + self.timed
        ends = (self.warmup, timed, self.before, self.before + self.traced, self.before + 2 * self.traced)
        return next((end for end in ends if end > number), number + 1)


class Numbered(Protocol):
    """A plan that says which stage the step `number` is in, from 0. Only stages of earlier steps may not change."""

    def stage(self, number: int) -> Stage:
        """The stage of the step `number`."""

    def until(self, number: int) -> int:
        """The first step after `number` that may be in another stage. Nobody asks for the stages of those between."""


Plan = ByGeneration | Numbered


def by_schedule(schedule: Callable[[int], Any]) -> ByNumber:
    """The plan of the first cycle of `schedule`, as `torch.profiler.schedule` returns it.

    `skip_first` steps warm up, `wait` steps are timed, `warmup` steps settle the profiler, `active` steps are traced.
    Of another callable, the first step without an action warms up and the others are timed. Raises CaptureError for a
    schedule that traces nothing.
    """
    names: list[str] = []
    for number in range(SEARCHED_STEPS):
        name = getattr(schedule(number), "name", "")
        if name == "NONE" and names and names[-1].startswith("RECORD"):
            break
        names.append(name)
        if name == "RECORD_AND_SAVE":
            break
    idle = len(list(takewhile(lambda name: name == "NONE", names)))
    settle = len(list(takewhile(lambda name: name == "WARMUP", names[idle:])))
    traced = sum(name.startswith("RECORD") for name in names[idle + settle :])
    if not traced:
        raise CaptureError(f"the schedule traces none of its first {SEARCHED_STEPS} steps; expected active steps.")
    # torch's schedule is a closure over its arguments.
    given = inspect.getclosurevars(schedule).nonlocals if inspect.isfunction(schedule) else {}
    warmup = min(idle, given.get("skip_first", 1))
    return ByNumber(warmup=warmup, timed=idle - warmup, settle=settle, traced=traced)


def window(plan: ByGeneration, steps: Sequence[RecordedStep]) -> Sequence[int]:
    """The indices of the steps to trace of a generation that took `steps` the last time; empty `steps` are unknown.

    A generation of at most LONGEST_WINDOW steps is traced as a whole; of a longer one, the shortest run of steps with
    every kind in it.
    """
    if callable(plan.traced):
        return plan.traced(steps)
    if plan.traced is not None:
        return plan.traced
    if not steps:
        return range(LONGEST_WINDOW)
    chosen = range(len(steps)) if len(steps) <= LONGEST_WINDOW else profiled_window(steps)
    return range(steps[chosen[0]].index, steps[chosen[-1]].index + 1)
