"""Unprofiled timings: latency of a whole generation, its first token and every step, each repeat kept."""

import time
from collections import Counter
from collections.abc import Callable

import torch

from capture.clocks import clock, synchronize
from capture.modes import Generation
from capture.records import Timing
from capture.steps import Step

WARM_UP_S = 2.0
WARM_UP_OF_A_KIND = 2


def warm_up(generation: Generation, device: torch.device, *, limit_s: float = WARM_UP_S) -> None:
    """Run a generation until it ends or `limit_s` have passed, but at least two steps of every kind it has."""
    need = {kind: min(WARM_UP_OF_A_KIND, count) for kind, count in Counter(s.kind for s in generation.steps).items()}
    generation.reset()
    started = time.perf_counter()
    for step in generation.steps:
        if not any(need.values()) and time.perf_counter() - started > limit_s:
            break
        generation.run(step)
        synchronize(device)
        need[step.kind] = max(0, need[step.kind] - 1)
    synchronize(device)


def measure(
    generation: Generation, device: torch.device, repeats: int, *, progress: Callable[[str], None]
) -> list[Timing]:
    """Time `repeats` whole generations; nothing waits for the device between their first and last step."""
    timings: list[Timing] = []
    for repeat in range(repeats):
        progress(f"timing, repeat {repeat + 1} of {repeats}")
        timings += _measure_once(generation, device, repeat)
    return timings


def _measure_once(generation: Generation, device: torch.device, repeat: int) -> list[Timing]:
    """The timings of one generation."""
    marks = clock(device, len(generation.steps) + 1)
    generation.reset()
    synchronize(device)
    epoch_ns, started_ns = time.time_ns(), time.perf_counter_ns()
    marks.mark()
    for step in generation.steps:
        generation.run(step)
        marks.mark()
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

    first_block = [end for step, end in zip(generation.steps, ends_ns, strict=True) if step.block == 0]
    return [
        timing("end_to_end", wall_ns),
        timing("ttft", ends_ns[0]),
        *([timing("first_block", first_block[-1])] if first_block else []),
        *(
            timing("step", end - start, step)
            for step, start, end in zip(generation.steps, [0, *ends_ns], ends_ns, strict=False)
        ),
    ]
