"""Windows of steps with counters. Each step is a round of the range profiler, and torch's profiler traces them all."""

import ctypes
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from ridgeline.capture.counters.cupti import join
from ridgeline.capture.counters.cupti.join import JoinError, Kernel, Range, Row
from ridgeline.capture.counters.cupti.library import CuptiError
from ridgeline.capture.counters.cupti.metrics import Plan
from ridgeline.capture.counters.cupti.range_profiler import Host, RangeProfiler
from ridgeline.capture.steps import Step

if TYPE_CHECKING:
    import torch


class Seconds(msgspec.Struct, kw_only=True):
    """Seconds of host time that a window spent: in enabling once, and in the parts of all its steps."""

    enable: float = 0.0
    start: float = 0.0
    run: float = 0.0
    stop: float = 0.0
    decode: float = 0.0
    read: float = 0.0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded window. `kernel_ns` is the kernel time of each step by Kineto; empty without a trace."""

    name: str
    metrics: tuple[str, ...]
    passes: int
    ranges: int
    kernel_ns: list[int]
    seconds: Seconds


class Report(msgspec.Struct, kw_only=True):
    """The recorded windows, and in `problems`, a line each, what was not recorded and why.

    `uncounted_kernel_ns` is the kernel time of each step without counters; empty if the steps were not run so.
    """

    method: str = "cupti"
    windows: list[Window] = []
    uncounted_kernel_ns: list[int] = []
    problems: list[str] = []


class Recorder:
    """Records the windows of one call of `record`: their rows, and the kernels that every window must have."""

    def __init__(
        self,
        steps: Sequence[Step],
        run: Callable[[Step], None],
        device: "torch.device",
        folder: Path,
        prepare: Callable[[], None],
        report: Report,
    ) -> None:
        self.rows: list[Row] = []
        self._steps, self._run, self._prepare = steps, run, prepare
        self._device, self._folder, self._report = device, folder, report
        self._labels = [f"counted={position}" for position in range(len(steps))]
        self._kernels: list[list[Kernel]] | None = None

    def record(self, plans: Sequence[Plan], kernels: int | None) -> None:
        """Record all plans. `kernels` is the largest number of kernels of a step, None if that is unknown."""
        try:
            # Without their number the image cannot be sized; a window without a trace takes its kernels from an earlier
            # one, and the first has none.
            if kernels is None or (plans and plans[0].alone):
                kernels = self._trace_uncounted()
            for plan in plans:
                self._record_window(plan, room(kernels))
        except JoinError as error:
            self._report.problems.append(f"steps without counters: {error}")
        except CuptiError as error:  # The device half may be in any state: more calls could crash the process.
            self._report.problems.append(f"counting stopped: {error}")
        finally:
            for plan in plans:
                plan.host.close()

    def _record_window(self, plan: Plan, capacity: int) -> None:
        """Record a window, or report why it was discarded."""
        problems = self._report.problems
        seconds = Seconds()
        ranges: list[list[Range]] = []
        self._prepare()
        try:
            if plan.alone:
                self._count(plan.host, capacity, seconds, ranges)
                steps = self._traced_before(ranges)
            else:
                trace = _traced(lambda: self._count(plan.host, capacity, seconds, ranges), self._device, self._folder)
                steps = join.by_step(ranges, join.kernels(trace, self._labels))
                self._compare(steps)
        # Nothing of a window that lost a range can be trusted: the lost one may be any.
        except JoinError as error:
            problems.append(f"window {plan.name} left out: {error}")
            return
        for step, kernels, counted in zip(self._steps, steps, ranges, strict=True):
            self.rows += join.rows(step.index, plan.name, plan.host.metrics, kernels, counted)
        values = [value for counted in ranges for single in counted for value in single.values]
        if odd := sum(not math.isfinite(value) for value in values):
            problems.append(f"window {plan.name}: {odd} of {len(values)} values are no numbers; left out")
        self._report.windows.append(
            Window(
                name=plan.name,
                metrics=plan.host.metrics,
                passes=plan.host.passes,
                ranges=sum(map(len, ranges)),
                kernel_ns=[] if plan.alone else [_duration_ns(step) for step in steps],
                seconds=seconds,
            )
        )

    def _count(self, host: Host, capacity: int, seconds: Seconds, ranges: list[list[Range]]) -> None:
        """Run the steps with counters and append the ranges of each step to `ranges`. Raises CuptiError."""
        with _timed(seconds, "enable"):
            profiler = RangeProfiler(host, context(self._device), ranges=capacity)
        # One round per step: a round's image then holds one step, and its ranges need no cutting.
        with profiler:
            for position in range(len(self._steps)):
                with _timed(seconds, "start"):
                    profiler.configure()
                    profiler.start()
                with _timed(seconds, "run"):
                    self._labelled(position)
                with _timed(seconds, "stop"):
                    profiler.stop()
                with _timed(seconds, "decode"):
                    profiler.decode()
                with _timed(seconds, "read"):
                    ranges.append(profiler.ranges())

    def _compare(self, steps: list[list[Kernel]]) -> None:
        """Compare a window's kernels with those of the first window, by name. Raises JoinError if they differ."""
        names = [[kernel.name for kernel in step] for step in steps]
        if self._kernels is None:
            self._kernels = steps
            self._report.problems += unlike(self._steps, names)
        for step, ours, first in zip(self._steps, names, self._kernels, strict=True):
            if differs := join.difference(ours, [kernel.name for kernel in first]):
                raise JoinError(f"step {step.index} has other kernels than before: {differs}")

    def _traced_before(self, ranges: Sequence[Sequence[Range]]) -> list[list[Kernel]]:
        """Return the kernels of an earlier window, for a window that has no trace of its own.

        Raises JoinError if the ranges have a gap, are not as many as those kernels, or counted nothing.
        """
        if self._kernels is None:  # the earlier window was discarded
            raise JoinError("no earlier window has the kernels of the steps")
        for step, counted, kernels in zip(self._steps, ranges, self._kernels, strict=True):
            if missing := join.gap(counted):
                raise JoinError(f"step {step.index}: {missing}")
            if len(counted) != len(kernels):
                raise JoinError(f"step {step.index}: {len(counted)} ranges for {len(kernels)} kernels seen before")
        if not any(value for counted in ranges for single in counted for value in single.values):
            raise JoinError("every value is 0")
        return self._kernels

    def _trace_uncounted(self) -> int:
        """Trace the steps without counters, keep their kernels, and return the largest number of kernels of a step."""
        self._prepare()

        def run_all() -> None:
            for position in range(len(self._steps)):
                self._labelled(position)

        kernels = join.kernels(_traced(run_all, self._device, self._folder), self._labels)
        steps = [[kernel for kernel in kernels if kernel.step == position] for position in range(len(self._steps))]
        self._compare(steps)
        self._report.uncounted_kernel_ns = [_duration_ns(step) for step in steps]
        return max(map(len, steps), default=0)

    def _labelled(self, position: int) -> None:
        """Run a step under its label and wait for the device."""
        import torch

        with torch.profiler.record_function(self._labels[position]):
            self._run(self._steps[position])
            torch.cuda.synchronize(self._device)


def room(kernels: int) -> int:
    """Return the ranges of an image for `kernels` a step: more than that, since a full image drops some silently."""
    return kernels + kernels // 8 + 64


def unlike(steps: Sequence[Step], names: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each step whose kernels are not those of the first step of its kind."""
    first: dict[str, int] = {}
    for position, step in enumerate(steps):
        example = first.setdefault(step.kind, position)
        if differs := join.difference(names[example], names[position]):
            yield f"steps {steps[example].index} and {step.index} are both {step.kind} and differ: {differs}"


def _duration_ns(kernels: Sequence[Kernel]) -> int:
    return sum(kernel.duration_ns for kernel in kernels)


@contextmanager
def _timed(seconds: Seconds, part: str) -> Iterator[None]:
    """Add the time of a block to a part of `seconds`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        setattr(seconds, part, getattr(seconds, part) + time.perf_counter() - started)


def _traced(body: Callable[[], None], device: "torch.device", folder: Path) -> bytes:
    """Return Kineto's trace of `body`. The range profiler runs inside it: Kineto may tear CUPTI down when it stops."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with TemporaryDirectory(dir=folder) as temporary:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\.(profiler|autograd)")
            profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True)
        with profiler:
            body()
            torch.cuda.synchronize(device)
        # torch exports to files only.
        trace = Path(temporary) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        return trace.read_bytes()


def context(device: "torch.device") -> int:
    """Return the address of the CUDA context that torch uses on `device`. Raises CuptiError if there is none."""
    import torch

    # torch makes the context when it first works on a device.
    address = ctypes.c_void_p()
    with torch.cuda.device(device):
        torch.cuda.synchronize()
        code = driver().cuCtxGetCurrent(ctypes.byref(address))
    if code or not address.value:
        raise CuptiError("cuCtxGetCurrent", code or None, f"no CUDA context on {device}")
    return address.value


def driver() -> ctypes.CDLL:
    """Return NVIDIA's driver library. Raises CuptiError if there is none."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CuptiError("libcuda.so.1", None, "no NVIDIA driver on this machine") from error
