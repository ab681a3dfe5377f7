"""Unprofiled timings: the latency of a generation, of its first token and of every step, for each repeat."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import torch

from ridgeline.capture.measuring.clocks import Moment, clock, now_ns, synchronize
from ridgeline.capture.records import Timing
from ridgeline.capture.steps import RecordedStep

if TYPE_CHECKING:  # imports the decoder, and transformers with it: two seconds that recorded programs are spared
    from ridgeline.capture.measuring.execution import Runner

WARM_UP_S = 1.0
WARM_UP_OF_A_KIND = 2

MARKS = 2048
"""CUDA events to create in advance; more are created when they are needed."""


class Work(Protocol):
    """Work that many steps do."""

    def step(self, number: int, context: int | None) -> RecordedStep:
        """Return the step `number`, which attends to `context` positions. None: the work says to how many."""


Unmade = tuple[Work, int, int | None]
"""The arguments of a step, which takes longer to make than to time."""


def made(step: RecordedStep | Unmade) -> RecordedStep:
    """Return `step`, made if it is not."""
    if isinstance(step, RecordedStep):
        return step
    work, number, context = step
    return work.step(number, context)


def warm_up(runner: Runner, device: torch.device, *, limit_s: float = WARM_UP_S) -> None:
    """Run a generation until it ends or `limit_s` seconds have passed.

    It runs every shape of step at least once and each kind twice, whatever the time.
    """
    from ridgeline.capture.measuring.execution import shape, walk

    generation = runner.generation
    kinds = Counter(step.kind for step in generation.steps)
    missing = {kind: min(WARM_UP_OF_A_KIND, count) for kind, count in kinds.items()}
    # Libraries may prepare for every new length: cuDNN's attention takes 45 ms of the host for each.
    shapes = {shape(step) for step in generation.steps}
    generation.reset()
    started = time.perf_counter()
    for step in walk(generation):
        if not any(missing.values()) and not shapes and time.perf_counter() - started > limit_s:
            break
        runner.run(step)
        synchronize(device)
        missing[step.kind] = max(0, missing[step.kind] - 1)
        shapes.discard(shape(step))


def generation(runner: Runner, device: torch.device) -> list[Timing]:
    """Run one generation and return its timings.

    The host never waits for the device between the first and the last step, unless the mode itself waits.
    """
    from ridgeline.capture.measuring.execution import walk

    laps = Laps(device, joined=True, marks=len(runner.generation.steps) + 1)
    runner.generation.reset()
    for step in walk(runner.generation):
        laps.begin()
        runner.run(step)
        laps.end(step)
    laps.close()
    return laps.timings_of(0, generation=True)


class Laps:
    """Marks at the beginning and end of each step of one repeat, on the clock of `device`.

    The clock starts with the first step, once the device has done earlier work. With `joined`, a step begins where the
    last one ended, so that it has one mark instead of two.
    """

    def __init__(self, device: torch.device, *, joined: bool, marks: int = MARKS) -> None:
        self._device, self._joined = device, joined
        self._on_cuda = device.type == "cuda"
        self._clock = clock(device, marks)
        self._moment = self._clock.moment
        self._begun: Moment = None
        self._last: Moment = None
        self._laps: list[tuple[RecordedStep | Unmade, Moment, Moment]] = []
        self.started_ns = 0
        self.wall_ns = 0

    def begin(self) -> None:
        """Mark the beginning of a step. A step that is captured into a CUDA graph, as marks would be, gets none."""
        if self._on_cuda and torch.cuda.is_current_stream_capturing():
            return
        if self._last is None:
            synchronize(self._device)
            self.started_ns, self._started = now_ns(), time.perf_counter_ns()
        if self._last is None or not self._joined:
            self._last = self._moment()
        self._begun = self._last

    def end(self, step: RecordedStep | Unmade) -> None:
        """Mark the end of a step that began."""
        begun, self._begun = self._begun, None
        if begun is not None:
            self._last = self._moment()
            self._laps.append((step, begun, self._last))

    def close(self) -> None:
        """Wait for the device and take the wall time of the repeat."""
        synchronize(self._device)
        if self._last is not None:
            self.wall_ns = time.perf_counter_ns() - self._started

    @property
    def steps(self) -> list[RecordedStep]:
        """The steps that ended."""
        return [made(step) for step, _, _ in self._laps]

    def timings(self, metric: str, repeat: int = 0, started_ns: int = 0) -> list[Timing]:
        """One timing per step, called `metric`."""
        return [
            Timing(
                metric=metric,
                phase=step.phase,
                kind=step.kind,
                step=step.index,
                repeat=repeat,
                value_ns=self._clock.between_ns(begun, ended),
                started_ns=started_ns,
            )
            for step, (_, begun, ended) in zip(self.steps, self._laps, strict=True)
        ]

    def timings_of(self, repeat: int, *, generation: bool) -> list[Timing]:
        """The wall time of all steps, and the time of each; of a `generation`, the first token and block as well."""
        values_ns = {"end_to_end": self.wall_ns}
        if generation:
            # Steps without tokens do not count: a prefill that commits nothing, the step that caches a finished block.
            first = self._laps[0][1]
            ends = [
                (step.block, self._clock.between_ns(first, ended))
                for step, (_, _, ended) in zip(self.steps, self._laps, strict=True)
                if step.commits
            ]
            if ends:
                values_ns["ttft"] = ends[0][1]
            if block_ends := [end_ns for block, end_ns in ends if block == 0]:
                values_ns["first_block"] = block_ends[-1]
        whole = [
            Timing(
                metric=metric, phase=None, kind=None, step=None, repeat=repeat, value_ns=ns, started_ns=self.started_ns
            )
            for metric, ns in values_ns.items()
        ]
        return whole + self.timings("step", repeat, self.started_ns)


def differences(ends_ns: list[int]) -> list[int]:
    """Durations of successive intervals from their ends; the first one starts at 0."""
    return [end - start for start, end in pairwise([0, *ends_ns])]
