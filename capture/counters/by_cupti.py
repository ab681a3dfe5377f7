"""Hardware counters of every kernel of decoding steps: what there is to count, whether it works here, and recording it.

Counting leaves state and kernel times as they are; gaps between kernels become longer.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ridgeline.capture.counters.cupti import join, library, metrics
from ridgeline.capture.counters.cupti.join import Row, read
from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.counters.cupti.metrics import METRIC_SETS
from ridgeline.capture.counters.cupti.range_profiler import Host, RangeProfiler
from ridgeline.capture.counters.cupti.recorder import Recorder, Report, Seconds, Window, context, driver
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.steps import Step

if TYPE_CHECKING:
    import torch

__all__ = ["METRIC_SETS", "Capability", "Report", "Row", "Seconds", "Window", "probe", "read", "record"]


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether counters work on a device, and in one line what was found."""

    works: bool
    reason: str
    chip: str | None = None
    cupti_version: int | None = None


def probe(device: "torch.device") -> Capability:
    """Count one small kernel on `device`, and say in one line what works or why not. Never raises."""
    try:
        cupti, chip = _open(device)
        _count_one(cupti, chip, device)
    except Exception as error:  # An answer is what is wanted, whatever the machine is like.
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
    """Run `steps` once for each window and write the counters of their kernels to `path` (trace.counters.csv.gz).

    `run` issues a step's work on the current stream of `device`, eagerly and in this process; `prepare`, called before
    every window, sets the state that the first of `steps` begins from. `kernels` is the most a step launches; without
    it the steps are run once more, to count them. A window whose ranges are not exactly the kernels of the trace, step
    by step and by name, is left out and named in the report; without any window no file is written. Raises
    CaptureError for a window METRIC_SETS does not have, and what `run` and `prepare` raise.
    """
    if unknown := [name for name in windows if name not in METRIC_SETS]:
        raise CaptureError(f"no counters {unknown[0]!r}; expected some of {', '.join(METRIC_SETS)}.")
    report = Report()
    try:
        cupti, chip = _open(device)
    except CaptureError as error:
        report.problems.append(str(error))
        return report
    recorder = Recorder(steps, run, device, path.parent, prepare, report)
    recorder.record(metrics.plan(cupti, chip, windows, report.problems), kernels)
    if recorder.rows:
        join.write(path, recorder.rows)
    return report


def _open(device: "torch.device") -> tuple[Library, str]:
    """CUPTI, ready for `device`, and its chip's name. Raises CaptureError saying what is missing."""
    if device.type != "cuda":
        raise CaptureError(f"no counters on {device}; expected a CUDA device")
    driver()
    cupti = library.load()
    cupti.call("cuptiProfilerInitialize")
    index = getattr(device, "index", None)  # None for the current device, which torch's types leave out.
    if index is None:
        import torch

        index = torch.cuda.current_device()
    return cupti, cupti.call("cuptiDeviceGetChipName", device=index).chip.decode()


def _count_one(cupti: Library, chip: str, device: "torch.device") -> None:
    """Count one kernel. Raises CuptiError where that does not work."""
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
