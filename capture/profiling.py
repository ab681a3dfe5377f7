"""A profiled window of a generation: a Kineto trace, and an execution trace of the same steps."""

import gzip
import json
import re
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ExecutionTraceObserver, ProfilerActivity, profile

from capture.clocks import synchronize
from capture.errors import CaptureError
from capture.labels import Labels
from capture.modes import Generation
from capture.steps import Step, profiled_window

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


def record(
    generation: Generation, network: torch.nn.Module, labels: Labels, device: torch.device, directory: Path
) -> list[Step]:
    """Profile the middle of a generation into `trace.json.gz` and `trace.et.json.gz`; the steps of the window.

    The steps before the window run unprofiled, and the profiler is started once and thrown away, so that neither a cold
    device nor a cold profiler is in the trace. Inside the window nothing waits for the device.
    """
    window = profiled_window(generation.steps)
    _warm_profiler(generation, device)
    generation.reset()
    for step in generation.steps[: window.start]:
        generation.run(step)
    observer = ExecutionTraceObserver()
    observer.register_callback(str(directory / "trace.et.json"))
    synchronize(device)
    steps = generation.steps[window.start : window.stop]
    with labels.attached(network), _profiler(device, observer) as profiler:
        for step in steps:
            with labels.range(step.label):
                generation.run(step)
        synchronize(device)
    _export(profiler, directory, on_device=device.type == "cuda")
    return steps


def _warm_profiler(generation: Generation, device: torch.device) -> None:
    """Profile one step for nothing: the first use of CUPTI loads it and disturbs what it sees."""
    generation.reset()
    with _profiler(device):
        generation.run(generation.steps[0])
        synchronize(device)


def _profiler(device: torch.device, observer: ExecutionTraceObserver | None = None) -> profile:
    """A profiler of the host and the device, with shapes, and overload names where this torch records them."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.(profiler|autograd)")
        return profile(
            activities=activities,
            record_shapes=True,
            experimental_config=_overload_names(),
            execution_trace_observer=observer,
            acc_events=True,
        )


def _overload_names() -> Any:
    """The configuration that puts overload names into event names; None where torch does not know it."""
    with suppress(TypeError, AttributeError):
        return torch.profiler._ExperimentalConfig(capture_overload_names=True)  # type: ignore[attr-defined]
    return None


def _export(profiler: profile, directory: Path, *, on_device: bool) -> None:
    """Write the trace, its header cleaned, and compress both files. Raises CaptureError for a blind profiler."""
    plain = directory / "trace.raw.json"
    profiler.export_chrome_trace(str(plain))
    text = clean(plain.read_text(), trace_name="trace.json")
    plain.unlink()
    if on_device and '"cat": "kernel"' not in text:
        raise CaptureError(
            "the profiler saw no kernel on the device; expected CUPTI's activities: look for another profiler that is "
            "attached, or for a driver older than this torch needs (KINETO_LOG_LEVEL=0 shows what Kineto says)."
        )
    with gzip.open(directory / "trace.json.gz", "wt", compresslevel=6) as file:
        file.write(text)
    executed = directory / "trace.et.json"
    with executed.open("rb") as source, gzip.open(f"{executed}.gz", "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target)
    executed.unlink()


def clean(trace: str, *, trace_name: str) -> str:
    """A Kineto trace with HEADER_KEYS alone before its events, and `trace_name` in place of the path after them.

    The events are left as they were written, byte for byte.
    """
    head, marker, body = trace.partition('"traceEvents":')
    header = json.loads(f"{head.rstrip().removesuffix(',')}}}")
    kept = {key: value for key, value in header.items() if key in HEADER_KEYS}
    lines = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in kept.items())
    cut = body.rfind("]")
    tail = re.sub(r'"traceName":\s*"(?:[^"\\]|\\.)*"', f'"traceName": "{trace_name}"', body[cut:])
    return f"{{\n{lines}  {marker}{body[:cut]}{tail}"
