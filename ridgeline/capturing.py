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
    total = (f"{len(plan)} points", max(size for _, size, _ in sizes), sum(seconds for _, _, seconds in sizes))
    for name, size, seconds in [*sizes, total]:
        print(f"{name:80} {size / 1e9:9.2f} GB {seconds:9.1f} s")
    say(
        f"memory is predicted; time is the least at the roofs of {plan[0].roofs_of}, without making weights, compiling "
        "and reading counters"
    )
