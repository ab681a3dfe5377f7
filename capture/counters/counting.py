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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from ridgeline.capture.counters.cupti import join, metrics
from ridgeline.capture.counters.cupti.device import index_of, opened
from ridgeline.capture.counters.cupti.join import JoinError, Kernel, Row
from ridgeline.capture.counters.cupti.metrics import METRIC_SETS, Plan
from ridgeline.capture.counters.cupti.rounds import Round, Rounds, Seconds
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.steps import Step

if TYPE_CHECKING:
    import torch

UNCOUNTED = "uncounted"
"""The window that traces the steps without counters, where their largest number of kernels is unknown."""

LARGEST_STEP = 20_000
"""Kernels of the largest step that is counted. CUPTI takes 0.75 ms for each before the first step."""


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

    Steps of two windows are the same if they have the same number (`Step.index`). If the ranges of a step are not
    exactly the kernels of the trace, or its kernels are not those of an earlier window, the window has no rows of that
    step and the report says why.
    """

    def __init__(self, device: "torch.device", *, sets: Sequence[str] = ("memory",), kernels: int | None) -> None:
        """Prepare to count `sets` of METRIC_SETS. `kernels` is the largest number of kernels of a step.

        With `kernels` None, and where the first set can only be counted without a trace, the first window traces the
        steps without counters (UNCOUNTED). Where counters do not work, `sets` is empty and the report says why. Raises
        CaptureError for a set that METRIC_SETS does not have.
        """
        if unknown := [name for name in sets if name not in METRIC_SETS]:
            raise CaptureError(f"no counters {unknown[0]!r}; expected some of {', '.join(METRIC_SETS)}.")
        self.rows: list[Row] = []
        self.report = Report()
        self._device, self._most = device, kernels
        self._plans: list[Plan | None] = []
        self._rounds: Rounds | None = None
        # The kernels of each step, by the step's number, as the first window with a trace has them.
        self._kernels: dict[int, list[Kernel]] = {}
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
    def step(self, step: Step) -> Iterator[None]:
        """Count the kernels that the block launches as those of `step`. Waits for the device before and after.

        Does nothing outside of a window, inside of another step, after a failure, and while a CUDA graph is captured,
        which waiting would break. What the block raises is raised.
        """
        rounds = self._rounds
        if rounds is None or rounds.within or self._failed or capturing() or not self._attempt(rounds.begin, step):
            yield
            return
        try:
            yield
        except BaseException:
            self._attempt(rounds.drop)
            raise
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

    def _record(self, rounds: Rounds) -> None:
        """Close a window and add what it recorded to the rows and the report."""
        trace = rounds.close()
        known = bool(self._kernels)
        traced = None
        if trace:
            traced = join.kernels(trace, [each.label for each in rounds.complete], index_of(self._device))
        counted = []
        for position, each in enumerate(rounds.complete):
            try:
                counted.append((each, self._kernels_of(position, each, traced, rounds.plan)))
            except JoinError as error:
                name = rounds.plan.name if rounds.plan else UNCOUNTED
                self.report.problems.append(f"window {name}: step {each.step.index} left out: {error}")
        if not known and traced is not None:
            self.report.problems += unlike([(each.step, names(own)) for each, own in counted])
        if rounds.plan:
            self._add(rounds.plan, counted, rounds.seconds)
        else:
            self._most = max((len(own) for _, own in counted), default=0)
            self.report.uncounted_kernel_ns = [duration_ns(own) for _, own in counted]
            self._check_size()

    def _kernels_of(
        self, position: int, each: Round, traced: Sequence[Kernel] | None, plan: Plan | None
    ) -> list[Kernel]:
        """Return the kernels of a round. Raises JoinError where they are not its ranges, or other ones than before."""
        index = each.step.index
        if traced is None:
            if (first := self._kernels.get(index)) is None:
                raise JoinError("no earlier window has its kernels")
            return join.of_step(0, each.ranges, [kernel._replace(step=0) for kernel in first])
        if plan is None:
            own = [kernel for kernel in traced if kernel.step == position]
        else:
            own = join.of_step(position, each.ranges, traced)
        if differs := join.difference(names(own), names(self._kernels.setdefault(index, own))):
            raise JoinError(f"other kernels than before: {differs}")
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


def unlike(steps: Sequence[tuple[Step, Sequence[str]]]) -> Iterator[str]:
    """Yield a line for each kind with steps that have other kernels than its first, where the first of them differs."""
    of_kind: dict[str, list[tuple[Step, Sequence[str]]]] = {}
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


def room(kernels: int) -> int:
    """Return the ranges of an image for `kernels` a step: more than that, since a full image drops some silently."""
    return kernels + kernels // 8 + 64


def capturing() -> bool:
    """Return whether the current stream is being captured into a CUDA graph."""
    import torch

    return torch.cuda.is_current_stream_capturing()
