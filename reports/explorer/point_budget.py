"""How many points a page can hold: single launches where they are few, otherwise bins of similar duration."""

from collections.abc import Iterable, Sequence

from ridgeline.reports.queries import Row, by_column

# Up to this many launches, each is a point of its own.
ALONE = 10_000
# Bins of duration an octave, and the number of launches up to which bins are this fine.
FINE = 16, 300_000
COARSE = 2
# Kernels whose place in a step the page holds, over all runs.
TIMELINE = 80_000


def bins_per_octave(launches: int) -> int:
    """Return how many bins of duration an octave has, by which launches are grouped; 0 if none is grouped.

    >>> bins_per_octave(10_000), bins_per_octave(10_001), bins_per_octave(1_000_000)
    (0, 16, 2)
    """
    if launches <= ALONE:
        return 0
    return FINE[0] if launches <= FINE[1] else COARSE


def timelines(steps: Iterable[Row], run_ids: Sequence[str], most: int = TIMELINE) -> list[str]:
    """Return the steps whose timelines the page holds, as ``run_id/step_id``.

    ``steps`` are rows of ``sql/steps.sql``. Runs are taken whole, in the order of ``run_ids``, while the kernels of all
    their steps together are at most ``most``.
    """
    by_run = by_column(steps, "run_id")
    chosen: list[str] = []
    for run_id in run_ids:
        own = by_run.get(run_id, [])
        # The first run that does not fit ends the list: a shorter one after it would seem more important.
        most -= sum(step["kernels"] for step in own)
        if most < 0:
            break
        chosen += [f"{run_id}/{step['step_id']}" for step in own]
    return chosen
