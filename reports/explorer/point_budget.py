"""How many points a page can hold: launches one by one where they are few, else put together in a stated grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ridgeline.reports.queries import Row

ALONE = 10_000
"""Up to so many launches each is a point of its own."""
FINE = 16, 300_000
"""Intervals of duration to an octave, and up to how many launches they are as narrow."""
COARSE = 2

TIMELINE = 80_000
"""Kernels whose place in a step the page holds, over all runs."""


def grid(launches: int) -> int:
    """The intervals to an octave by whose durations launches go together; 0 where each stays alone.

    >>> grid(10_000), grid(10_001), grid(1_000_000)
    (0, 16, 2)
    """
    if launches <= ALONE:
        return 0
    return FINE[0] if launches <= FINE[1] else COARSE


def timelines(steps: Iterable[Row], run_ids: Sequence[str], most: int = TIMELINE) -> list[str]:
    """The steps to show, ``run_id/step_id``: of runs in this order, whole runs, as long as all their kernels fit."""
    own: dict[str, list[Row]] = {}
    for step in steps:
        own.setdefault(step["run_id"], []).append(step)
    chosen: list[str] = []
    for run_id in run_ids:
        found = own.get(run_id, [])
        most -= sum(step["kernels"] for step in found)
        if most < 0:
            break
        chosen += [f"{run_id}/{step['step_id']}" for step in found]
    return chosen
