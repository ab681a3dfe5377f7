"""Unprofiled timings: latency of a whole generation, its first token and every step, each repeat kept."""

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch

from ridgeline.capture.measuring.clocks import clock, now_ns, synchronize
from ridgeline.capture.measuring.execution import Runner, shape, walk
from ridgeline.capture.records import Timing
from ridgeline.capture.steps import Step

WARM_UP_S = 1.0
WARM_UP_OF_A_KIND = 2


class Measured(NamedTuple):
    """Timings of all repeats, and the steps that the last of them took."""

    timings: list[Timing]
    steps: list[Step]


def warm_up(runner: Runner, device: torch.device, *, limit_s: float = WARM_UP_S) -> None:
    """Run a generation until it ends or `limit_s` have passed, but at least every shape of step and each kind twice.

    A library may prepare itself for every new length: cuDNN's attention takes 45 ms of the host for each.
    """
    generation = runner.generation
    kinds = Counter(step.kind for step in generation.steps)
    need = {kind: min(WARM_UP_OF_A_KIND, count) for kind, count in kinds.items()}
    shapes = {shape(step) for step in generation.steps}
    generation.reset()
    started = time.perf_counter()
    for step in walk(generation):
        if not any(need.values()) and not shapes and time.perf_counter() - started > limit_s:
            break
        runner.run(step)
        synchronize(device)
        need[step.kind] = max(0, need[step.kind] - 1)
        shapes.discard(shape(step))
    synchronize(device)


def measure(runner: Runner, device: torch.device, repeats: int, *, progress: Callable[[str], None]) -> Measured:
    """Time `repeats` whole generations. Nothing waits for the device between their first and last step, unless the
    mode itself does."""
    timings: list[Timing] = []
    steps: list[Step] = []
    for repeat in range(repeats):
        progress(f"timing, repeat {repeat + 1} of {repeats}")
        measured = measure_once(runner, device, repeat)
        timings += measured.timings
        steps = measured.steps
    return Measured(timings, steps)


def measure_once(runner: Runner, device: torch.device, repeat: int) -> Measured:
    """The timings of one generation."""
    generation = runner.generation
    marks = clock(device, len(generation.steps) + 1)
    steps: list[Step] = []
    generation.reset()
    synchronize(device)
    epoch_ns, started_ns = now_ns(), time.perf_counter_ns()
    marks.mark()
    for step in walk(generation):
        runner.run(step)
        marks.mark()
        steps.append(step)
    synchronize(device)
    wall_ns = time.perf_counter_ns() - started_ns
    ends_ns = marks.elapsed_ns()

    def timing(metric: str, value_ns: int, step: Step | None = None) -> Timing:
        return Timing(
            metric=metric,
            phase=step.phase if step else None,
            kind=step.kind if step else None,
            step=step.index if step else None,
            repeat=repeat,
            value_ns=value_ns,
            started_ns=epoch_ns,
        )

    first_token = next(end for step, end in zip(steps, ends_ns, strict=True) if step.tokens != 0)
    # A step that only caches the block, decided before it, comes after its end.
    first_block = [end for step, end in zip(steps, ends_ns, strict=True) if step.block == 0 and step.tokens != 0]
    whole = [timing("end_to_end", wall_ns), timing("ttft", first_token)]
    whole += [timing("first_block", first_block[-1])] if first_block else []
    return Measured(
        whole + [timing("step", ns, step) for step, ns in zip(steps, differences(ends_ns), strict=True)], steps
    )


def differences(ends_ns: list[int]) -> list[int]:
    """Durations from ends."""
    return [end - start for start, end in zip([0, *ends_ns], ends_ns, strict=False)]
