"""Capture points with progress, and print what a sweep would take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ridgeline.terminal import fail, progress, say

if TYPE_CHECKING:
    from ridgeline.capture.configuration.points import Point
    from ridgeline.capture.sweep.sweep import RunResult


def captured(points: list[Point], out: Path, counters: str = "auto") -> None:
    """Capture ``points`` into ``out`` with progress; if any failed, exit with code 1 after the last one."""
    from ridgeline.capture.sweep import sweep

    with progress("capturing", len(points)) as advance:

        def report(result: RunResult) -> None:
            advance(result.name)
            say(result.headline())

        results = sweep.run(points, out, progress=lambda text: advance(text, done=0), report=report, counters=counters)
    failed = [result for result in results if result.outcome == "error"]
    if failed:
        fail(f"{len(failed)} of {len(results)} points failed, the first with: {failed[0].message}")


def planned(points: list[Point], out: Path) -> None:
    """Print the predicted memory in GB and least time in seconds of each of ``points``, and of all."""
    from ridgeline.capture.sweep import sweep

    plan = sweep.describe(points, out)
    sizes = [(each.name, each.footprint.total_bytes, each.seconds) for each in plan]
    known = [each.seconds for each in plan if each.seconds is not None]
    total = (f"{len(plan)} points", max(size for _, size, _ in sizes), sum(known) if known else None)
    for name, size, seconds in [*sizes, total]:
        print(f"{name:80} {size / 1e9:9.2f} GB {'-' if seconds is None else f'{seconds:.1f}':>9} s")
    for note in dict.fromkeys(each.note for each in plan if each.note):
        say(note)
    say(
        f"memory is predicted; time is the least at the roofs of {plan[0].roofs_of}, without making weights, compiling "
        "and reading counters"
    )
