"""Counts hardware counters of steps that the caller runs: a window for each set of metrics, a round for each step.

    with Counting(device, sets=("memory",), kernels=1500) as counting:
        while counting.sets:
            with counting.window():
                for step in steps:
                    with counting.step(step):
                        ...                            # launch the step's kernels, on any thread and stream
    counting.write(directory / "trace.counters.csv.gz")

Kernels between steps, kernels of other devices, copies and fills are not counted. Nothing is replayed, so counting
changes nothing that the steps compute. What fails here becomes a line of `report.problems` and never an exception.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from ridgeline.capture.counters.cupti import join, metrics
from ridgeline.capture.counters.cupti.device import index_of, opened
from ridgeline.capture.counters.cupti.join import JoinError, Kernel, Row
from ridgeline.capture.counters.cupti.metrics import METRIC_SETS, Plan
from ridgeline.capture.counters.cupti.rounds import Round, Rounds, Seconds
from ridgeline.capture.counters.watchdog import watched
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.steps import RecordedStep
from ridgeline.terminal import say

if TYPE_CHECKING:
    import torch

UNCOUNTED = "uncounted"
"""The window that traces the steps without counters, where their largest number of kernels is unknown."""

LARGEST_STEP = 20_000
"""Kernels of the largest step that is counted. CUPTI takes 0.75 ms for each before the first step."""


LIMIT_S = 120.0
"""Seconds that a step may keep the device busy. A kernel takes at most about 5 ms longer while it is counted."""

FILE = "trace.counters.csv.gz"
"""The file of counters in a run directory."""

HUNG = 124
"""Exit code of a process that hangs while it counts, as of `timeout`."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded window: the numbers of its steps, and by Kineto their kernel times, empty without a trace."""

    name: str
    metrics: tuple[str, ...]
    passes: int
    ranges: int
    steps: list[int]
    kernel_ns: list[int]
    seconds: Seconds


class Report(msgspec.Struct, kw_only=True):
    """The recorded windows, and in `problems`, a line each, what was not recorded and why.

    `uncounted_kernel_ns` is the kernel time of each step without counters; empty if the steps were not run so.
    """

    method: str = "cupti"
    windows: list[Window] = []
    uncounted_kernel_ns: list[int] = []
    problems: list[str] = []


class Counting:
    """Counts steps of one device. `rows` are the counters so far, `report` says what they are and what is missing.

    Steps of two windows are the same if they have the same number, `RecordedStep.index`. A window has no rows of a
    step, and the report says why, if the step's ranges are not exactly its kernels in the trace, or its kernels are not
    those of an earlier set.
    """

    def __init__(
        self,
        device: "torch.device",
        *,
        sets: Sequence[str] = ("memory",),
        kernels: int | None,
        limit_s: float = LIMIT_S,
        hung: Callable[[str], None] = say,
    ) -> None:
        """Prepare to count `sets` of METRIC_SETS. `kernels` is the largest number of kernels of a step.

        A step that keeps the device busy for longer than `limit_s` hangs, since nothing can interrupt a kernel. `hung`
        is then called from another thread with a line that says so, to save what was recorded, and after it the process
        exits with HUNG.

        With `kernels` None, and where the first set can only be counted without a trace, the first window traces the
        steps without counters (UNCOUNTED). Where counters do not work, `sets` is empty and the report says why. Raises
        CaptureError for a set that METRIC_SETS does not have.
        """
        if unknown := [name for name in sets if name not in METRIC_SETS]:
            raise CaptureError(f"no counters {unknown[0]!r}; expected some of {', '.join(METRIC_SETS)}.")
        self.rows: list[Row] = []
        self.report = Report()
        self._device, self._most = device, kernels
        self._limit_s, self._hung = limit_s, hung
        self._plans: list[Plan | None] = []
        self._rounds: Rounds | None = None
        # The kernels of each step, by the step's number, as the last window has them. All windows that write rows of a
        # step must have the same: a launch has one name in the file.
        self._kernels: dict[int, list[Kernel]] = {}
        self._written: set[int] = set()
        self._failed = False
        try:
            self._plan(sets)
        except Exception as error:  # whatever is wrong with a machine, it means that counters do not work
            self.report.problems.append(one_line(error))

    @property
    def sets(self) -> tuple[str, ...]:
        """The windows left to record, in order."""
        return tuple(plan.name if plan else UNCOUNTED for plan in self._plans)

    @contextmanager
    def window(self) -> Iterator[None]:
        """Record the first of `sets` from the steps inside the block. What the block raises is raised."""
        if not self._plans:
            yield
            return
        self._rounds = rounds = Rounds(self._plans.pop(0), self._device, room(self._most or 0))
        try:
            self._attempt(rounds.open)
            yield
        finally:
            self._rounds = None
            self._attempt(self._record, rounds)

    @contextmanager
    def step(self, step: RecordedStep) -> Iterator[None]:
        """Count the kernels that the block launches as those of `step`. Waits for the device before and after.

        Does nothing outside of a window, inside of another step, after a failure, and while a CUDA graph is captured,
        which waiting would break. What the block raises is raised.
        """
        rounds = self._rounds
        if rounds is None or rounds.within or self._failed or capturing():
            yield
            return
        with watched(self._device, self._limit_s, partial(self._give_up, step)):
            begun = self._attempt(rounds.begin, step)
            try:
                yield
            except BaseException:
                if begun:
                    self._attempt(rounds.drop)
                raise
            if begun:
                self._attempt(rounds.end)

    def write(self, path: Path) -> bool:
        """Write the rows, if there are any, as a gzipped CSV (trace.counters.csv.gz). Returns whether there are any."""
        if self.rows:
            join.write(path, self.rows)
        return bool(self.rows)

    def close(self) -> None:
        """Give up the sets left to count and free what they hold. May be called again."""
        for plan in self._plans:
            if plan:
                plan.host.close()
        self._plans = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _plan(self, sets: Sequence[str]) -> None:
        """Open the device and plan its windows. Raises CaptureError."""
        plans = metrics.plan(*opened(self._device), sets, self.report.problems)
        # Without their number the image cannot be sized; a window without a trace takes its kernels from an earlier
        # one, and the first has none.
        traced: list[Plan | None] = [None] if self._most is None or (plans and plans[0].alone) else []
        self._plans = [*traced, *plans]
        self._check_size()

    def _check_size(self) -> None:
        """Give up where a step has more kernels than CUPTI can prepare for in a reasonable time."""
        if self._plans and (self._most or 0) > LARGEST_STEP:
            self.report.problems.append(
                f"a step has {self._most} kernels; expected at most {LARGEST_STEP}: make steps shorter to count them"
            )
            self.close()

    def _attempt(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Return whether a call succeeds. Where it raises, counting ends: the device half may be in any state."""
        try:
            call(*arguments)
        except Exception as error:  # counting must never fail the program that it runs in
            self.report.problems.append(f"counting stopped: {one_line(error)}")
            self._failed = True
            self.close()
            return False
        return True

    def _give_up(self, step: RecordedStep) -> None:
        """Save what was recorded and end the process, which nothing else can."""
        message = (
            f"step {step.index} ({step.kind}) kept the device busy for {self._limit_s:g} s while its kernels were "
            "counted: counting runs them one at a time, and one may wait for a later one. The program cannot go on and "
            "was ended; record it without counters (--counters off)"
        )
        self.report.problems.append(message)
        try:
            self._hung(message)
        finally:
            leave(HUNG)

    def _record(self, rounds: Rounds) -> None:
        """Close a window and add what it recorded to the rows and the report."""
        trace = rounds.close()
        traced = join.kernels(trace, [each.label for each in rounds.complete]) if trace else None
        if traced:
            traced = self._of_device(traced)
        first = not self._kernels
        counted = []
        for position, each in enumerate(rounds.complete):
            try:
                counted.append((each, self._kernels_of(position, each, traced, rounds.plan)))
            except JoinError as error:
                name = rounds.plan.name if rounds.plan else UNCOUNTED
                self.report.problems.append(f"window {name}: step {each.step.index} left out: {error}")
        if first:
            self.report.problems += unlike([(each.step, names(own)) for each, own in counted])
        if rounds.plan:
            self._add(rounds.plan, counted, rounds.seconds)
        else:
            self._most = max((len(own) for _, own in counted), default=0)
            self.report.uncounted_kernel_ns = [duration_ns(own) for _, own in counted]
            self._check_size()

    def _of_device(self, kernels: Sequence[Kernel]) -> list[Kernel]:
        """Return the kernels of the counted device. Reports once where steps launch kernels on other devices."""
        index = index_of(self._device)
        own = [kernel for kernel in kernels if kernel.device in (index, None)]
        others = ", ".join(
            sorted({str(kernel.device) for kernel in kernels if kernel.step is not None} - {str(index), "None"})
        )
        problem = f"the steps also run kernels on devices {others}; only device {index} is counted"
        if others and problem not in self.report.problems:
            self.report.problems.append(problem)
        return own

    def _kernels_of(
        self, position: int, each: Round, traced: Sequence[Kernel] | None, plan: Plan | None
    ) -> list[Kernel]:
        """Return the kernels of a round, in the order of its ranges. Raises JoinError where they do not fit."""
        index = each.step.index
        if traced is None:
            if (before := self._kernels.get(index)) is None:
                raise JoinError("no earlier window has its kernels")
            return join.of_step(0, each.ranges, [kernel._replace(step=0) for kernel in before])
        if plan is None:
            # Without counters kernels of several streams start in any order; ranges are in the order of launches.
            own = sorted(
                (kernel for kernel in traced if kernel.step == position), key=lambda kernel: kernel.launched_ns
            )
        else:
            own = join.of_step(position, each.ranges, traced)
        if index in self._written and (differs := join.difference(names(own), names(self._kernels[index]))):
            raise JoinError(f"other kernels than before: {differs}")
        self._kernels[index] = own
        return own

    def _add(self, plan: Plan, counted: Sequence[tuple[Round, list[Kernel]]], seconds: Seconds) -> None:
        """Add the rows of a window's steps and report the window, if there are any."""
        values = [value for each, _ in counted for single in each.ranges for value in single.values]
        if not values:
            return
        if plan.alone and not any(values):
            self.report.problems.append(f"window {plan.name} left out: every value is 0")
            return
        for each, own in counted:
            self._written.add(each.step.index)
            self.rows += join.rows(each.step.index, plan.name, plan.host.metrics, own, each.ranges)
        if odd := sum(not math.isfinite(value) for value in values):
            self.report.problems.append(f"window {plan.name}: {odd} of {len(values)} values are no numbers; left out")
        self.report.windows.append(
            Window(
                name=plan.name,
                metrics=plan.host.metrics,
                passes=plan.host.passes,
                ranges=sum(len(each.ranges) for each, _ in counted),
                steps=[each.step.index for each, _ in counted],
                kernel_ns=[] if plan.alone else [duration_ns(own) for _, own in counted],
                seconds=seconds,
            )
        )


def names(kernels: Sequence[Kernel]) -> list[str]:
    """Return the names of kernels, in their order."""
    return [kernel.name for kernel in kernels]


def duration_ns(kernels: Sequence[Kernel]) -> int:
    """Return the sum of the kernels' durations."""
    return sum(kernel.duration_ns for kernel in kernels)


def unlike(steps: Sequence[tuple[RecordedStep, Sequence[str]]]) -> Iterator[str]:
    """Yield a line for each kind with steps that have other kernels than its first, where the first of them differs."""
    of_kind: dict[str, list[tuple[RecordedStep, Sequence[str]]]] = {}
    for step, kernels in steps:
        of_kind.setdefault(step.kind, []).append((step, kernels))
    for kind, ((example, expected), *others) in of_kind.items():
        differing = [(step, differs) for step, own in others if (differs := join.difference(expected, own))]
        if differing:
            step, differs = differing[0]
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            yield f"steps {example.index} and {step.index}{more} are all {kind} and differ: {differs}"


def one_line(error: Exception) -> str:
    """Return the message of an exception in one line, with its type where that is not ours."""
    message = " ".join(str(error).split())
    return message if isinstance(error, CaptureError) else f"{type(error).__name__}: {message}"


def leave(code: int) -> None:
    """End the process at once: the main thread is inside a call that never returns."""
    os._exit(code)


def room(kernels: int) -> int:
    """Return the ranges of an image for `kernels` a step: more than that, since a full image drops some silently."""
    return kernels + kernels // 8 + 64


def capturing() -> bool:
    """Return whether the current stream is being captured into a CUDA graph."""
    import torch

    return torch.cuda.is_current_stream_capturing()
