"""A profiled window of a generation: a Kineto trace, and an execution trace of the same steps."""

import gzip
import json
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ExecutionTraceObserver, ProfilerActivity, profile, record_function

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.labels import Labels
from ridgeline.capture.measuring.clocks import clock, synchronize
from ridgeline.capture.measuring.execution import Compiled, Direct, Prepared, Runner
from ridgeline.capture.measuring.timing import differences
from ridgeline.capture.records import Timing
from ridgeline.capture.steps import Step, profiled_window

HEADER_KEYS = frozenset(
    {
        "schemaVersion",
        "deviceProperties",
        "trace_id",
        "record_shapes",
        "profile_memory",
        "with_stack",
        "with_flops",
        "with_modules",
        "cuda_driver_version",
        "cuda_runtime_version",
        "cupti_version",
        "displayTimeUnit",
        "baseTimeNanoseconds",
    }
)
"""The keys of a trace's header that are kept. Others may name the host, the user or their environment."""


KERNEL_FILE = re.compile(r'"kernel_file":\s*"(?:[^"\\]|\\.)*/([^"/\\]*)"')
"""Where Inductor keeps a kernel's source; the group is the file's own name."""

ATTENTION = re.compile(r"aten::_?(?:scaled_dot_product_)?(flash|efficient|cudnn)_attention")
"""Operators that are one backend's; what PyTorch composes of products and a softmax is `math`."""

MATH = re.compile(r"aten::_scaled_dot_product_attention_math")


class Profiled(NamedTuple):
    """The steps of the window, how long each took under the profiler, and the attention backends that ran."""

    steps: list[Step]
    timings: list[Timing]
    attention: list[str]


def record(
    prepared: Prepared,
    network: torch.nn.Module,
    labels: Labels,
    device: torch.device,
    directory: Path,
    steps: Sequence[Step],
) -> Profiled:
    """Profile the middle of a generation of `steps` into `trace.json.gz` and `trace.et.json.gz`.

    Graph replays carry no operators: for them the same window is recorded once more, launched one kernel at a time,
    into `trace.twin.json.gz`, and the execution trace is the twin's. The steps before a window run unprofiled, and the
    profiler is started once and thrown away, so that neither a cold device nor a cold profiler is in the trace. Inside
    the window nothing waits for the device unless the mode does.
    """
    window = profiled_window(steps)
    before, inside = steps[: window[0]], [steps[place] for place in window]
    _warm_profiler(prepared.runner, device)
    launched = _Window(prepared.launched, before, inside, device)
    # Compiled code holds no labels, and hooks on its modules would have it compiled again.
    named: AbstractContextManager[Any] = labels.attached(network) if _labels(prepared.launched) else nullcontext()
    name = "trace"
    timings: list[Timing] = []
    if prepared.replayed:
        timings = _Window(prepared.runner, before, inside, device).trace(directory, name)
        name = "trace.twin"
    observer = ExecutionTraceObserver()
    observer.register_callback(str(directory / "trace.et.json"))
    with named:
        launched_timings = launched.trace(directory, name, observer)
    _compress(directory / "trace.et.json")
    return Profiled(inside, timings or launched_timings, _backends(directory / f"{name}.json.gz"))


def _labels(launched: Direct) -> bool:
    """Whether module labels can be put around what a runner launches."""
    return not isinstance(launched, Compiled)


class _Window:
    """The steps of a generation up to and including a window, run by one runner."""

    def __init__(self, runner: Runner, before: Sequence[Step], inside: Sequence[Step], device: torch.device) -> None:
        self._runner, self._before, self._inside, self._device = runner, before, inside, device

    def trace(self, directory: Path, name: str, observer: ExecutionTraceObserver | None = None) -> list[Timing]:
        """Run the steps, profile those inside into `NAME.json.gz`; how long each took under the profiler."""
        self._runner.generation.reset()
        for step in self._before:
            self._runner.run(step)
        marks = clock(self._device, len(self._inside) + 1)
        synchronize(self._device)
        with profiler(self._device, observer) as watching:
            marks.mark()
            for step in self._inside:
                with record_function(step.label):
                    self._runner.run(step)
                marks.mark()
            synchronize(self._device)
        _export(watching, directory, name, on_device=self._device.type == "cuda")
        return [
            Timing(
                metric="profiled_step",
                phase=step.phase,
                kind=step.kind,
                step=step.index,
                repeat=0,
                value_ns=value_ns,
                started_ns=0,
            )
            for step, value_ns in zip(self._inside, differences(marks.elapsed_ns()), strict=True)
        ]


def _warm_profiler(runner: Runner, device: torch.device) -> None:
    """Profile one step for nothing: the first use of CUPTI loads it and disturbs what it sees."""
    runner.generation.reset()
    with profiler(device):
        runner.run(runner.generation.steps[0])
        synchronize(device)


@contextmanager
def profiler(device: torch.device, observer: ExecutionTraceObserver | None = None) -> Iterator[profile]:
    """A profiler of the host and the device, with shapes, and overload names where this torch records them.

    It keeps no events for Python, of which a trace has no need: making them takes seconds for some ten thousand.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.(profiler|autograd)")
        with profile(
            activities=activities,
            record_shapes=True,
            experimental_config=_overload_names(),
            execution_trace_observer=observer,
        ) as watching:
            yield watching


def _overload_names() -> Any:
    """The configuration that puts overload names into event names; None where torch does not know it."""
    with suppress(TypeError, AttributeError):
        return torch.profiler._ExperimentalConfig(capture_overload_names=True)  # type: ignore[attr-defined]
    return None


def _export(watching: profile, directory: Path, name: str, *, on_device: bool) -> None:
    """Write a trace, its header cleaned, and compress it. Raises CaptureError for a blind profiler."""
    plain = directory / f"{name}.raw.json"
    watching.export_chrome_trace(str(plain))
    text = clean(plain.read_text(), trace_name=f"{name}.json")
    plain.unlink()
    if on_device and '"cat": "kernel"' not in text:
        raise CaptureError(
            "the profiler saw no kernel on the device; expected CUPTI's activities: look for another profiler that is "
            "attached, or for a driver older than this torch needs (KINETO_LOG_LEVEL=0 shows what Kineto says)."
        )
    with gzip.open(directory / f"{name}.json.gz", "wt", compresslevel=6) as file:
        file.write(text)


def _compress(path: Path) -> None:
    """Replace a file by its gzip."""
    with path.open("rb") as source, gzip.open(f"{path}.gz", "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target)
    path.unlink()


def _backends(trace: Path) -> list[str]:
    """The attention backends whose operators a trace holds; where it holds none, attention was composed of products."""
    with gzip.open(trace, "rt") as file:
        text = file.read()
    found = {match[1] for match in ATTENTION.finditer(text)}
    return sorted(found | ({"math"} if MATH.search(text) or not found else set()))


def clean(trace: str, *, trace_name: str) -> str:
    """A Kineto trace with HEADER_KEYS alone before its events, and `trace_name` in place of the path after them.

    The events are left as they were written, byte for byte, but for the folder of compiled kernels, which has the
    user's name.
    """
    head, marker, body = trace.partition('"traceEvents":')
    header = json.loads(f"{head.rstrip().removesuffix(',')}}}")
    kept = {key: value for key, value in header.items() if key in HEADER_KEYS}
    lines = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in kept.items())
    cut = body.rfind("]")
    tail = re.sub(r'"traceName":\s*"(?:[^"\\]|\\.)*"', f'"traceName": "{trace_name}"', body[cut:])
    events = KERNEL_FILE.sub(r'"kernel_file": "\1"', body[:cut])
    return f"{{\n{lines}  {marker}{events}{tail}"
