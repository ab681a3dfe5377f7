"""A profiled window of a generation: a Kineto trace, and an execution trace of the same steps."""

import gzip
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ExecutionTraceObserver, ProfilerActivity, profile, record_function

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.labels import Labels
from ridgeline.capture.measuring.cleaning import clean
from ridgeline.capture.measuring.clocks import clock, synchronize
from ridgeline.capture.measuring.execution import Compiled, Prepared, Runner
from ridgeline.capture.measuring.graph_nodes import write_names
from ridgeline.capture.measuring.timing import step_timings
from ridgeline.capture.records import Timing
from ridgeline.capture.steps import Step, profiled_window

ATTENTION = re.compile(r"aten::_?(?:scaled_dot_product_)?(flash|efficient|cudnn)_attention")
"""Operators of one attention backend; attention that PyTorch composes of products and a softmax is `math`."""

MATH = re.compile(r"aten::_scaled_dot_product_attention_math")


def record(
    prepared: Prepared,
    network: torch.nn.Module,
    labels: Labels,
    device: torch.device,
    directory: Path,
    steps: Sequence[Step],
) -> tuple[list[Step], list[Timing], list[str]]:
    """Profile a window of a generation of `steps` into `trace.json.gz` and `trace.et.json.gz`.

    Returns the steps of the window, their durations under the profiler, and the attention backends that ran.

    Graph replays record no operators, and modules only where torch names graph nodes. For them the same window is
    profiled again with every kernel launched by the host, into `trace.twin.json.gz`, and the execution trace is that of
    the twin. Raises CaptureError where the profiler sees no kernel of a device.
    """
    window = profiled_window(steps)
    before, inside = steps[: window[0]], [steps[place] for place in window]
    # The first use of CUPTI loads it and disturbs what it sees: profile one step and discard the result.
    prepared.runner.generation.reset()
    with profiler(device):
        prepared.runner.run(prepared.runner.generation.steps[0])
        synchronize(device)

    timings: list[Timing] = []
    if prepared.replayed:
        timings, _ = _trace(prepared.runner, before, inside, device, directory / "trace")
    name = "trace.twin" if prepared.replayed else "trace"
    # The execution trace is of the launched window, since replays record no operators.
    observer = ExecutionTraceObserver()
    observer.register_callback(str(directory / "trace.et.json"))
    # Hooks on the modules of compiled code would have it compiled again, and record nothing inside it.
    with nullcontext() if isinstance(prepared.launched, Compiled) else labels.attached(network):
        launched_timings, text = _trace(prepared.launched, before, inside, device, directory / name, observer)
    plain = directory / "trace.et.json"
    with gzip.open(f"{plain}.gz", "wb", compresslevel=6) as file:
        file.write(plain.read_bytes())
    plain.unlink()
    # Attention without an operator of any backend was composed of products and a softmax.
    attention = {match[1] for match in ATTENTION.finditer(text)}
    if MATH.search(text) or not attention:
        attention.add("math")
    return inside, timings or launched_timings, sorted(attention)


def _trace(
    runner: Runner,
    before: Sequence[Step],
    inside: Sequence[Step],
    device: torch.device,
    path: Path,
    observer: ExecutionTraceObserver | None = None,
) -> tuple[list[Timing], str]:
    """Run the steps `before` a window, then profile those `inside` it into `PATH.json.gz`.

    Returns the duration of each profiled step and the text of the trace. The device is warm when the window starts,
    and inside it nothing waits for the device unless the mode does.
    """
    runner.generation.reset()
    for step in before:
        runner.run(step)
    marks = clock(device, len(inside) + 1)
    synchronize(device)
    with profiler(device, observer) as profiling:
        marks.mark()
        for step in inside:
            with record_function(step.label):  # the label by which analysis finds the step
                runner.run(step)
            marks.mark()
        synchronize(device)
    text = _export(profiling, path.parent, path.name, on_device=device.type == "cuda")
    return step_timings("profiled_step", inside, marks.elapsed_ns(), repeat=0, started_ns=0), text


@contextmanager
def profiler(device: torch.device, observer: ExecutionTraceObserver | None = None) -> Iterator[profile]:
    """A profiler of host and device with shapes, and with overload names where this torch records them.

    It builds no events in Python, which takes seconds for ten thousand events; the trace does not need them.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    config: Any = None
    with suppress(TypeError, AttributeError):  # older versions of torch
        config = torch.profiler._ExperimentalConfig(capture_overload_names=True)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.(profiler|autograd)")
        with profile(
            activities=activities, record_shapes=True, experimental_config=config, execution_trace_observer=observer
        ) as profiling:
            yield profiling


def _export(profiling: profile, directory: Path, name: str, *, on_device: bool) -> str:
    """Write a trace with a cleaned header to `NAME.json.gz` and return its text.

    Raises CaptureError where a trace of a device has no kernel.
    """
    plain = directory / f"{name}.raw.json"
    profiling.export_chrome_trace(str(plain))
    text = write_names(clean(plain.read_text(), trace_name=f"{name}.json"))
    plain.unlink()
    if on_device and '"cat": "kernel"' not in text:
        raise CaptureError(
            "the profiler saw no kernel on the device; expected CUPTI's activities: look for another profiler that is "
            "attached, or for a driver older than this torch needs (KINETO_LOG_LEVEL=0 shows what Kineto says)."
        )
    with gzip.open(directory / f"{name}.json.gz", "wt", compresslevel=6) as file:
        file.write(text)
    return text
