"""Hardware counters by CUPTI in the recording process: whether they work on a device, and recording them for steps.

Counting changes neither the state of a generation nor the times of its kernels. Gaps between kernels become longer.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ridgeline.capture.counters.counting import Counting, Report, Window
from ridgeline.capture.counters.cupti.device import context, opened
from ridgeline.capture.counters.cupti.join import Row, read
from ridgeline.capture.counters.cupti.library import CuptiError
from ridgeline.capture.counters.cupti.metrics import METRIC_SETS
from ridgeline.capture.counters.cupti.range_profiler import Host, RangeProfiler
from ridgeline.capture.counters.cupti.rounds import Seconds
from ridgeline.capture.steps import Step

if TYPE_CHECKING:
    import torch

__all__ = ["METRIC_SETS", "Capability", "Report", "Row", "Seconds", "Window", "probe", "read", "record"]


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether counters work on a device; `reason` is one line that says why not, or with which CUPTI."""

    works: bool
    reason: str
    chip: str | None = None
    cupti_version: int | None = None


def probe(device: "torch.device") -> Capability:
    """Count one small kernel on `device` and return whether that works, and why not. Never raises."""
    try:
        cupti, chip = opened(device)
        # Missing permissions and other profilers only show when a kernel is really counted.
        import torch

        with (
            Host(cupti, chip, METRIC_SETS["memory"]) as host,
            RangeProfiler(host, context(device), ranges=16) as profiler,
        ):
            profiler.configure()
            profiler.start()
            torch.ones(1024, device=device)
            torch.cuda.synchronize(device)
            profiler.stop()
            profiler.decode()
            if not profiler.ranges():
                raise CuptiError("cuptiRangeProfilerDecodeData", None, "counted no kernel; expected one")
    except Exception as error:  # Whatever is wrong with a machine, it means that counters do not work.
        return Capability(works=False, reason=" ".join(str(error).split()) or type(error).__name__)
    return Capability(
        works=True, reason=f"CUPTI {cupti.version} counts on {chip}", chip=chip, cupti_version=cupti.version
    )


def record(
    steps: Sequence[Step],
    run: Callable[[Step], None],
    device: "torch.device",
    path: Path,
    *,
    prepare: Callable[[], None],
    windows: Sequence[str] = ("memory",),
    kernels: int | None = None,
) -> Report:
    """Run `steps` once per window, write the counters of their kernels to `path` (trace.counters.csv.gz), and report.

    `run` issues a step's work on `device`, eagerly and in this process. `prepare` is called before every window and
    restores the state before the first of `steps`. `kernels` is the largest number of kernels of a step; without it
    the steps are run once more to count them. See `Counting` for what is left out.

    Without any rows no file is written. Raises CaptureError for a window that METRIC_SETS does not have, and whatever
    `run` and `prepare` raise.
    """
    with Counting(device, sets=windows, kernels=kernels) as counting:
        while counting.sets:
            prepare()
            with counting.window():
                for step in steps:
                    with counting.step(step):
                        run(step)
    counting.write(path)
    return counting.report
