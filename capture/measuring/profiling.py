"""A Kineto trace of a window of steps, and an execution trace of the same steps."""

import ctypes
import gzip
import importlib
import json
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.profiler import ExecutionTraceObserver, ProfilerActivity, profile

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.cleaning import clean
from ridgeline.capture.measuring.clocks import synchronize
from ridgeline.capture.measuring.graph_nodes import write_names
from ridgeline.capture.measuring.labels import Labels

ATTENTION = re.compile(r"aten::_?(?:scaled_dot_product_)?(flash|efficient|cudnn)_attention")
"""Operators of one attention backend; attention that PyTorch composes of products and a softmax is `math`."""

MATH = re.compile(r"aten::_scaled_dot_product_attention_math")

GRAPH_LAUNCH = re.compile(r'"name": "(cudaGraphLaunch|cuGraphLaunch|hipGraphLaunch)')
"""The launch of a CUDA graph in a trace."""

COMPILED = re.compile(r'"name": "(## Call CompiledFxGraph|Torch-Compiled Region|CompiledFunction)')
"""Annotations of the code that torch.compile made."""


COLLECTIVES = "torch.distributed.nn.functional"
"""A module that the profiler imports."""

ERRORS = 2
"""The severity of errors in PyTorch's log; 1 is that of warnings."""


class Trace(NamedTuple):
    """A recorded window: its Kineto trace and execution trace, gzipped, and what the trace shows of the program.

    `execution` is `cuda_graph`, `compile` or `eager`; `attention` lists the attention backends. `execution_trace` is
    None where another observer of the process prevented it.
    """

    kineto: bytes
    execution_trace: bytes | None
    execution: str
    attention: list[str]

    def write(self, directory: Path, name: str) -> None:
        """Write `NAME.json.gz` and, where there is an execution trace, `trace.et.json.gz` into `directory`."""
        (directory / f"{name}.json.gz").write_bytes(self.kineto)
        if self.execution_trace is not None:
            (directory / "trace.et.json.gz").write_bytes(self.execution_trace)


class Tracing:
    """A profiler of host and device with shapes, labels and, with `observed`, an execution trace.

    `modules` get labels. `memory` records allocations. A program's own hooks, profilers and observers stay as they are.
    """

    def __init__(
        self,
        device: torch.device,
        labels: Labels,
        modules: Sequence[nn.Module],
        *,
        observed: bool = True,
        memory: bool = False,
    ) -> None:
        self._device, self._observed, self._text = device, observed, ""
        self._open, self._attached = ExitStack(), ExitStack()
        try:
            observer = self._observer() if observed else None
            self._attached.enter_context(labels.attached(*modules))
            synchronize(device)
            self._profile = start(device, observer, memory=memory)
        except BaseException:
            self.close()
            raise

    def _observer(self) -> ExecutionTraceObserver:
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="ridgeline-"))
        self._observed_file = Path(folder) / "trace.et.json"
        observer = ExecutionTraceObserver()
        observer.register_callback(str(self._observed_file))
        self._attached.callback(observer.unregister_callback)
        return observer

    def stop(self) -> None:
        """Wait for the device and stop the profiler, remove labels from the modules, and read the trace."""
        self._stop()
        # Before another profiler starts: it takes the memory of these device activities, and their times become 0.
        self._text = _text(self._profile)

    def _stop(self) -> None:
        try:
            synchronize(self._device)
        finally:
            stop(self._profile)
            self._attached.close()

    def close(self) -> None:
        """Remove what the profiler left, without a result."""
        self._attached.close()
        self._open.close()

    def result(self, unfinished: Sequence[str] = ()) -> Trace:
        """Return the trace of a profiler that has stopped.

        Labels in `unfinished` are of steps that did not end, and lose their keys. Raises CaptureError where the trace
        of a device has no kernel.
        """
        with self._open:
            text = self._text
            for label in unfinished:
                text = text.replace(json.dumps(label, ensure_ascii=False), '"unfinished step"')
            if self._device.type == "cuda" and '"cat": "kernel"' not in text:
                raise CaptureError(
                    "the profiler saw no kernel on the device; expected CUPTI's activities: look for another profiler "
                    "that is attached, or for a driver older than this torch needs (KINETO_LOG_LEVEL=0 shows what "
                    "Kineto says)."
                )
            observed = None
            if self._observed and self._observed_file.exists():
                observed = gzip.compress(self._observed_file.read_bytes(), compresslevel=6)
        execution = "cuda_graph" if GRAPH_LAUNCH.search(text) else "compile" if COMPILED.search(text) else "eager"
        return Trace(gzip.compress(text.encode(), compresslevel=6), observed, execution, attention_backends(text))

    def discard(self) -> None:
        """Stop the profiler without a result."""
        with self._open, suppress(Exception):
            self._stop()


def attention_backends(trace: str) -> list[str]:
    """The attention backends that a trace names, sorted. Attention of plain products and a softmax has no name."""
    attention = {match[1] for match in ATTENTION.finditer(trace)}
    return sorted(attention | {"math"} if MATH.search(trace) else attention)


def start(device: torch.device, observer: ExecutionTraceObserver | None = None, *, memory: bool = False) -> profile:
    """Start a profiler of host and device with shapes and, where this torch has them, overload names.

    If several threads run, it profiles all of them: a profiler of one thread would miss the steps of others, and could
    not be stopped by another one. With `memory` it profiles one thread, since only that one sees allocations. It builds
    no events in Python, which takes seconds for ten thousand events; the trace does not need them.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    config: Any = None
    with suppress(TypeError, AttributeError):  # older versions of torch
        config = torch.profiler._ExperimentalConfig(  # type: ignore[attr-defined]
            capture_overload_names=True, profile_all_threads=not memory and threading.active_count() > 1
        )
    _import_collectives()
    with _quiet():
        profiling = profile(
            activities=activities,
            record_shapes=True,
            profile_memory=memory,
            experimental_config=config,
            execution_trace_observer=observer,
        )
        profiling.__enter__()  # type: ignore[no-untyped-call]
    return profiling


def stop(profiling: profile) -> None:
    """Stop a profiler, and finish the file of its execution trace."""
    with _quiet():
        profiling.__exit__(None, None, None)  # type: ignore[no-untyped-call]


def _import_collectives() -> None:
    """Import COLLECTIVES so that its functions do not hold the program's process group.

    The default of their parameter `group` is the default group at the import, and None means that group at the call.
    A group that these functions hold outlives `destroy_process_group()`. Its threads then run while Python ends, and
    one that releases a tensor in that time aborts the process.
    """
    if COLLECTIVES in sys.modules or not torch.distributed.is_available():
        return
    collectives = importlib.import_module(COLLECTIVES)
    world = torch.distributed.group.WORLD
    for function in vars(collectives).values():
        if defaults := getattr(function, "__defaults__", None):
            function.__defaults__ = tuple(None if default is world else default for default in defaults)


@contextmanager
def profiler(device: torch.device) -> Iterator[profile]:
    """A profiler as `start` makes it, for the block."""
    profiling = start(device)
    try:
        yield profiling
    finally:
        stop(profiling)


def is_profiled() -> bool:
    """Whether a profiler of torch is on, in any thread."""
    return torch.autograd.profiler._is_profiler_enabled


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignore warnings of the profiler's modules.

    The filter is put into the list itself: `catch_warnings` has Python forget which warnings the program has shown
    already, and it would show them again.
    """
    filters: Any = warnings.filters
    ignored = ("ignore", None, Warning, re.compile(r"torch\.(profiler|autograd)"), 0)
    filters.insert(0, ignored)
    try:
        yield
    finally:
        with suppress(ValueError):  # the program has other filters now
            filters.remove(ignored)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore the profiler's warnings, and the lines that it writes to stderr at every start and stop."""
    with quiet_warnings():
        # Kineto reads the level once, when it is first used; the program's environment stays as it was.
        unset = "KINETO_LOG_LEVEL" not in os.environ
        if unset:
            os.environ["KINETO_LOG_LEVEL"] = "99"
        level = _log_level()
        before, level.value = level.value, max(level.value, ERRORS)
        try:
            yield
        finally:
            level.value = before
            if unset:
                os.environ.pop("KINETO_LOG_LEVEL", None)


def _log_level() -> ctypes.c_int:
    """The least severity that PyTorch's C++ code logs: its variable, which the environment sets at the start only."""
    with suppress(Exception):  # a build with another logger, or without the library
        library = ctypes.CDLL(str(Path(torch.__file__).with_name("lib") / "libc10.so"))
        return ctypes.c_int.in_dll(library, "FLAGS_caffe2_log_level")
    return ctypes.c_int(ERRORS)


def _text(profiling: profile) -> str:
    """The text of a trace with a cleaned header and names on graph nodes."""
    with tempfile.TemporaryDirectory(prefix="ridgeline-") as folder:
        plain = Path(folder) / "trace.json"
        profiling.export_chrome_trace(str(plain))
        return write_names(clean(plain.read_text(), trace_name="trace.json"))
