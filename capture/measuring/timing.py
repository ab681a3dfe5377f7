"""Unprofiled timings: the latency of a generation, of its first token and of every step, for each repeat."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from ridgeline.capture.measuring.clocks import clock, now_ns, synchronize
from ridgeline.capture.measuring.execution import Runner, shape, walk
from ridgeline.capture.records import Timing
from ridgeline.capture.steps import Step

WARM_UP_S = 1.0
WARM_UP_OF_A_KIND = 2


def warm_up(runner: Runner, device: torch.device, *, limit_s: float = WARM_UP_S) -> None:
    """Run a generation until it ends or `limit_s` seconds have passed.

    It runs every shape of step at least once and each kind twice, whatever the time.
    """
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


def measure(
    runner: Runner, device: torch.device, repeats: int, *, progress: Callable[[str], None]
) -> tuple[list[Timing], list[Step]]:
    """Time `repeats` whole generations. Returns their timings, and the steps that the last repeat took.

    The host never waits for the device between the first and the last step, unless the mode itself waits.
    """
    timings: list[Timing] = []
    steps: list[Step] = []
    for repeat in range(repeats):
        progress(f"timing, repeat {repeat + 1} of {repeats}")
        measured, steps = measure_once(runner, device, repeat)
        timings += measured
    return timings, steps


def measure_once(runner: Runner, device: torch.device, repeat: int) -> tuple[list[Timing], list[Step]]:
    """The timings of one generation, and the steps it took."""
    generation = runner.generation
    marks = clock(device, len(generation.steps) + 1)
    steps: list[Step] = []
    generation.reset()
    synchronize(device)  # the reset is not part of the first step
    epoch_ns, started_ns = now_ns(), time.perf_counter_ns()
    marks.mark()
    for step in walk(generation):
        runner.run(step)
        marks.mark()
        steps.append(step)
    synchronize(device)
    wall_ns = time.perf_counter_ns() - started_ns
    ends_ns = marks.elapsed_ns()  # of each step, on the device's clock

    # Steps without tokens do not count: a prefill that commits nothing, and the step that caches a finished block.
    ends = [(step.block, end_ns) for step, end_ns in zip(steps, ends_ns, strict=True) if step.tokens != 0]
    values_ns = {"end_to_end": wall_ns, "ttft": ends[0][1]}
    if block_ends := [end_ns for block, end_ns in ends if block == 0]:
        values_ns["first_block"] = block_ends[-1]
    timings = [
        Timing(metric=metric, phase=None, kind=None, step=None, repeat=repeat, value_ns=ns, started_ns=epoch_ns)
        for metric, ns in values_ns.items()
    ]
    return timings + step_timings("step", steps, ends_ns, repeat=repeat, started_ns=epoch_ns), steps


def step_timings(
    metric: str, steps: Sequence[Step], ends_ns: list[int], *, repeat: int, started_ns: int
) -> list[Timing]:
    """One timing per step, called `metric`, from the ends of successive steps in nanoseconds after their start."""
    return [
        Timing(
            metric=metric,
            phase=step.phase,
            kind=step.kind,
            step=step.index,
            repeat=repeat,
            value_ns=value_ns,
            started_ns=started_ns,
        )
        for step, value_ns in zip(steps, differences(ends_ns), strict=True)
    ]


def differences(ends_ns: list[int]) -> list[int]:
    """Durations of successive intervals from their ends; the first one starts at 0."""
    return [end - start for start, end in pairwise([0, *ends_ns])]
