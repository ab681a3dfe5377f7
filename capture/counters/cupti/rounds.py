"""A window of steps with counters: a round of the range profiler for each step, and Kineto's trace around them all."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ridgeline.capture.counters.cupti.device import context
from ridgeline.capture.counters.cupti.join import Range
from ridgeline.capture.counters.cupti.kineto import Kineto
from ridgeline.capture.counters.cupti.metrics import Plan
from ridgeline.capture.counters.cupti.range_profiler import RangeProfiler
from ridgeline.capture.steps import RecordedStep

if TYPE_CHECKING:
    import torch


class Seconds(msgspec.Struct, kw_only=True):
    """Seconds of host time that a window spent: in enabling once, and in the parts of all its steps."""

    enable: float = 0.0
    start: float = 0.0
    run: float = 0.0
    stop: float = 0.0
    decode: float = 0.0
    read: float = 0.0


class Round(NamedTuple):
    """A step that was run to its end, its annotation in the trace, and its ranges: none without counters."""

    step: RecordedStep
    label: str
    ranges: list[Range]


class Rounds:
    """Runs the rounds of a window; `plan` None traces the steps without counters. Every method may raise CuptiError.

    One round a step: a round's image then holds one step, and its ranges need no cutting.
    """

    def __init__(self, plan: Plan | None, device: "torch.device", capacity: int) -> None:
        """Take the window's plan, and the ranges that the image of a round has room for."""
        self.plan, self.seconds = plan, Seconds()
        self.complete: list[Round] = []
        self._device, self._capacity = device, capacity
        self._kineto: Kineto | None = None
        self._profiler: RangeProfiler | None = None
        self._begun = 0
        self._step: RecordedStep | None = None
        self._label: AbstractContextManager[Any] | None = None
        self._started = 0.0

    @property
    def within(self) -> bool:
        """Whether a round has begun and not ended."""
        return self._step is not None

    def open(self) -> None:
        """Start Kineto, unless the plan counts without, then enable the range profiler inside of it."""
        if self.plan is None or not self.plan.alone:
            self._kineto = Kineto()
            self._kineto.start()
        if self.plan is not None:
            with timed(self.seconds, "enable"):
                self._profiler = RangeProfiler(self.plan.host, context(self._device), ranges=self._capacity)

    def begin(self, step: RecordedStep) -> None:
        """Wait for earlier kernels, which are not the step's, and start the round of `step`."""
        synchronize(self._device)
        if self._profiler:
            with timed(self.seconds, "start"):
                self._profiler.configure()
                self._profiler.start()
        self._step = step
        if self._kineto:
            self._label = self._kineto.label(f"counted={self._begun}")
            self._label.__enter__()
        self._started = time.perf_counter()

    def end(self) -> None:
        """Wait for the step's kernels and read their ranges."""
        assert self._step is not None
        try:
            synchronize(self._device)
        finally:
            step, label = self._step, f"counted={self._begun}"
            self._leave()
        ranges: list[Range] = []
        if self._profiler:
            with timed(self.seconds, "stop"):
                self._profiler.stop()
            with timed(self.seconds, "decode"):
                self._profiler.decode()
            with timed(self.seconds, "read"):
                ranges = self._profiler.ranges()
        self.complete.append(Round(step, label, ranges))

    def drop(self) -> None:
        """End the round of a step that raised, without its ranges."""
        self._leave()
        if self._profiler:
            synchronize(self._device)
            self._profiler.stop()

    def close(self) -> bytes:
        """Disable the range profiler, whatever its state, stop Kineto, and return the trace, empty without one."""
        self._leave()
        if self._profiler:
            self._profiler.close()
        if self.plan:
            self.plan.host.close()
        if self._kineto is None:
            return b""
        with suppress(Exception):  # what the program left broken is its own to find
            synchronize(self._device)
        return self._kineto.stop()

    def _leave(self) -> None:
        """Close the annotation of the round, if one is open."""
        if self._step is None:
            return
        self.seconds.run += time.perf_counter() - self._started
        self._step, label, self._label = None, self._label, None
        self._begun += 1
        if label:
            label.__exit__(None, None, None)


def synchronize(device: "torch.device") -> None:
    """Wait for all work on `device`."""
    import torch

    torch.cuda.synchronize(device)


@contextmanager
def timed(seconds: Seconds, part: str) -> Iterator[None]:
    """Add the time of a block to a part of `seconds`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        setattr(seconds, part, getattr(seconds, part) + time.perf_counter() - started)
