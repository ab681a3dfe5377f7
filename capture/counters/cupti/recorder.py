"""Windows of steps with counters: each step a round of the range profiler, all of them under torch's profiler."""

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
    """Seconds of host time a window spent: enabling, then in all its steps."""

    enable: float = 0.0
    start: float = 0.0
    run: float = 0.0
    stop: float = 0.0
    decode: float = 0.0
    read: float = 0.0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded window. `kernel_ns` is the time of each step's kernels by Kineto, in nanoseconds, if that watched."""

    name: str
    metrics: tuple[str, ...]
    passes: int
    ranges: int
    kernel_ns: list[int]
    seconds: Seconds


class Report(msgspec.Struct, kw_only=True):
    """What was recorded, and in `problems`, a line each, what was not and why.

    `uncounted_kernel_ns` is as a window's `kernel_ns`, of the steps without counters; empty where they were not run so.
    """

    method: str = "cupti"
    windows: list[Window] = []
    uncounted_kernel_ns: list[int] = []
    problems: list[str] = []


class Recorder:
    """The windows of one call of `record`: rows, and the kernels that every window must have."""

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
        """Record every plan that can be."""
        try:
            unseen = kernels is None or (plans and plans[0].alone)
            capacity = self._uncounted() if unseen else kernels or 0
            for one in plans:
                self._window(one, room(capacity))
        except JoinError as error:
            self._report.problems.append(f"steps without counters: {error}")
        except CuptiError as error:  # The device side is in doubt: more calls could crash the process.
            self._report.problems.append(f"counting stopped: {error}")
        finally:
            for one in plans:
                one.host.close()

    def _window(self, one: Plan, capacity: int) -> None:
        """Record a window, or say why not."""
        seconds = Seconds()
        ranges: list[list[Range]] = []
        self._prepare()

        def body() -> None:
            ranges.extend(self._counted(one.host, capacity, seconds))

        try:
            if one.alone:
                body()
                steps = self._known(ranges)
            else:
                steps = join.by_step(ranges, join.kernels(_traced(body, self._device, self._folder), self._labels))
                self._compare(steps)
        except JoinError as error:
            self._report.problems.append(f"window {one.name} left out: {error}")
            return
        self._keep(one, steps, ranges)
        self._report.windows.append(
            Window(
                name=one.name,
                metrics=one.host.metrics,
                passes=one.host.passes,
                ranges=sum(map(len, ranges)),
                kernel_ns=[] if one.alone else [_duration_ns(step) for step in steps],
                seconds=seconds,
            )
        )

    def _keep(self, one: Plan, steps: Sequence[Sequence[Kernel]], ranges: Sequence[Sequence[Range]]) -> None:
        """Add a window's rows, and say how many values were no numbers."""
        for step, own, counted in zip(self._steps, steps, ranges, strict=True):
            self.rows += join.rows(step.index, one.name, one.host.metrics, own, counted)
        values = [value for counted in ranges for single in counted for value in single.values]
        if odd := sum(not math.isfinite(value) for value in values):
            self._report.problems.append(f"window {one.name}: {odd} of {len(values)} values are no numbers; left out")

    def _compare(self, steps: list[list[Kernel]]) -> None:
        """Hold a window's kernels against the first window's. Raises JoinError where they differ."""
        names = [[kernel.name for kernel in step] for step in steps]
        if self._kernels is None:
            self._kernels = steps
            self._report.problems += unlike(self._steps, names)
        for step, ours, first in zip(self._steps, names, self._kernels, strict=True):
            if differs := join.difference(ours, [kernel.name for kernel in first]):
                raise JoinError(f"step {step.index} has other kernels than before: {differs}")

    def _known(self, ranges: Sequence[Sequence[Range]]) -> list[list[Kernel]]:
        """The kernels seen before, which a window without a trace must have counted.

        Raises JoinError when its ranges are not as many, without a gap, or counted nothing.
        """
        assert self._kernels is not None
        for step, counted, kernels in zip(self._steps, ranges, self._kernels, strict=True):
            if missing := join.gap(counted):
                raise JoinError(f"step {step.index}: {missing}")
            if len(counted) != len(kernels):
                raise JoinError(f"step {step.index}: {len(counted)} ranges for {len(kernels)} kernels seen before")
        if not any(value for counted in ranges for single in counted for value in single.values):
            raise JoinError("every value is 0")
        return self._kernels

    def _uncounted(self) -> int:
        """Run the steps without counters, keep their kernels' names and times; the most kernels of a step."""
        self._prepare()

        def body() -> None:
            for position in range(len(self._steps)):
                self._labelled(position)

        found = join.kernels(_traced(body, self._device, self._folder), self._labels)
        steps = [[kernel for kernel in found if kernel.step == position] for position in range(len(self._steps))]
        self._compare(steps)
        self._report.uncounted_kernel_ns = [_duration_ns(step) for step in steps]
        return max(map(len, steps), default=0)

    def _counted(self, host: Host, capacity: int, seconds: Seconds) -> Iterator[list[Range]]:
        """Run the steps with counters: each step's ranges. Raises CuptiError."""
        with _timed(seconds, "enable"):
            profiler = RangeProfiler(host, context(self._device), ranges=capacity)
        with profiler:
            for position in range(len(self._steps)):
                yield self._round(profiler, position, seconds)

    def _round(self, profiler: RangeProfiler, position: int, seconds: Seconds) -> list[Range]:
        """One step with counters."""
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
            return profiler.ranges()

    def _labelled(self, position: int) -> None:
        """Run a step to its end on the device, under its label."""
        import torch

        with torch.profiler.record_function(self._labels[position]):
            self._run(self._steps[position])
            torch.cuda.synchronize(self._device)


def room(kernels: int) -> int:
    """The ranges an image needs for so many kernels a step: some more, since a full one loses ranges silently."""
    return kernels + kernels // 8 + 64


def unlike(steps: Sequence[Step], names: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each step whose kernels are not those of the first step of its kind."""
    first: dict[str, int] = {}
    for position, step in enumerate(steps):
        example = first.setdefault(step.kind, position)
        if differs := join.difference(names[example], names[position]):
            yield f"steps {steps[example].index} and {step.index} are both {step.kind} and differ: {differs}"


def _duration_ns(kernels: Sequence[Kernel]) -> int:
    return sum(kernel.duration_ns for kernel in kernels)


@contextmanager
def _timed(seconds: Seconds, part: str) -> Iterator[None]:
    """Add the time of a block to a part."""
    started = time.perf_counter()
    try:
        yield
    finally:
        setattr(seconds, part, getattr(seconds, part) + time.perf_counter() - started)


def _traced(body: Callable[[], None], device: "torch.device", folder: Path) -> bytes:
    """Kineto's trace of what `body` does: the range profiler too, since a profiler that ends may tear CUPTI down."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with TemporaryDirectory(dir=folder) as temporary:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\.(profiler|autograd)")
            profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True)
        with profiler:
            body()
            torch.cuda.synchronize(device)
        trace = Path(temporary) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        return trace.read_bytes()


def context(device: "torch.device") -> int:
    """The CUDA context torch uses on `device`, as an address. Raises CuptiError when there is none."""
    import torch

    found = ctypes.c_void_p()
    with torch.cuda.device(device):
        torch.cuda.synchronize()
        code = driver().cuCtxGetCurrent(ctypes.byref(found))
    if code or not found.value:
        raise CuptiError("cuCtxGetCurrent", code or None, f"no CUDA context on {device}")
    return found.value


def driver() -> ctypes.CDLL:
    """NVIDIA's driver. Raises CuptiError without one."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CuptiError("libcuda.so.1", None, "no NVIDIA driver on this machine") from error
