"""Runs one point of a sweep, from weights to a run directory. Running out of memory and other failures are outcomes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ridgeline.capture import environment, run_directory
from ridgeline.capture.configuration.points import Point
from ridgeline.capture.configuration.presets import published, shape_of
from ridgeline.capture.counters import count as counting
from ridgeline.capture.decoder import checkpoints, diffusion_gemma
from ridgeline.capture.decoder.decoder import DTYPES, quiet_transformers, random_decoder
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.labels import Labels
from ridgeline.capture.measuring import energy, graph_nodes, profiler_cost, profiling, scaling, telemetry, timing
from ridgeline.capture.measuring import peak_memory as memory
from ridgeline.capture.measuring.execution import Direct, Prepared, prepare
from ridgeline.capture.modes import start
from ridgeline.capture.records import ProfilerCost, Record, Scaled, Timing

Progress = Callable[[str], None]

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""Parts of the messages by which a plain RuntimeError reports that memory ran out."""


class Workshop:
    """Keeps the decoder of the last point for points with the same weights."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._decoder: Any = None
        self.launched: Direct | None = None
        """The eager runner of the last point, kept for its counters; its CUDA graphs are not kept."""

    def decoder(self, point: Point, device: torch.device) -> Any:
        """Return the point's decoder on `device`: the last one, or one from its checkpoint or of random weights."""
        self.launched = None
        shape, dtype = shape_of(point), DTYPES[point.dtype]
        key = (shape, point.dtype, point.linear, point.checkpoint, point.seed, point.fused, device)
        if self._decoder is None or key != self._key:
            self.clear(device)  # two decoders may not fit
            quiet_transformers()
            options: dict[str, Any] = {"capacity": point.length, "fused": bool(point.fused), "linear": point.linear}
            if shape.layout == "diffusion_gemma":
                self._decoder = diffusion_gemma.random_decoder(shape, dtype, device, seed=point.seed)
            elif point.checkpoint is not None:
                self._decoder = checkpoints.load(
                    Path(point.checkpoint), shape, dtype, device, layers=published(point).layers, **options
                )
            else:
                self._decoder = random_decoder(shape, dtype, device, seed=point.seed, **options)
            self._key = key
        self._decoder.reserve(point.length)
        return self._decoder

    def clear(self, device: torch.device) -> None:
        """Free the decoder, its memory, and the code compiled for it."""
        self._decoder = self._key = self.launched = None
        torch.compiler.reset()
        memory.release(device)


def record(point: Point, device: torch.device, directory: Path, workshop: Workshop, progress: Progress) -> Record:
    """Run a point, write its files into `directory`, run.json last, and return the record.

    Never raises for what the point does: running out of memory and other exceptions become its outcome, and the memory
    that they held is released before this returns.
    """
    result = run_directory.unfinished(point, environment.describe(device))
    # Only text leaves the except clauses of this module: a traceback would keep the failed model's memory alive.
    try:
        with torch.inference_mode():
            progress("making weights")
            decoder = workshop.decoder(point, device)
            workshop.launched = _measure(result, point, decoder, device, directory, progress)
            if 2 <= decoder.depth < published(point).layers:
                workshop.launched = None  # frees its cache; counting makes the generation again
                memory.release(device)
                result.scaled = _scaled(point, decoder, device, result.timings, progress)
    except Exception as error:
        result.outcome, result.message = _outcome(error)
    if result.outcome != "ok":
        workshop.clear(device)
        for unfinished in directory.iterdir():
            unfinished.unlink()
    run_directory.write_record(directory, result)
    return result


def count(
    point: Point, device: torch.device, directory: Path, workshop: Workshop, progress: Progress, method: str
) -> Record | None:
    """Add hardware counters to the point recorded last, by `auto`, `cupti` or `ncu`, and return the rewritten record.

    Returns None if `auto` finds no way to count. Raises CaptureError if the requested method does not work.
    """
    result = run_directory.read(directory)
    assert result is not None
    with torch.inference_mode():
        if workshop.launched is None:
            decoder = workshop.decoder(point, device)
            workshop.launched = ready(point, decoder, device, Labels(), progress, replayed=False).launched
        counters = counting.count(point, result.window, workshop.launched, device, directory, method, progress)
    if counters is None:
        return None
    result.counters = counters
    run_directory.write_record(directory, result)
    return result


def ready(
    point: Point, decoder: Any, device: torch.device, labels: Labels, progress: Progress, *, replayed: bool = True
) -> Prepared:
    """Return a point's generation, prepared to run on `decoder`. With `replayed` false it has no CUDA graphs."""
    decoder.attend_by(point.attention)
    generation = start(decoder, point, labels)
    named = partial(graph_nodes.named, labels, decoder.network)
    return prepare(generation, device, execution=point.execution, replayed=replayed, progress=progress, named=named)


def _measure(
    result: Record, point: Point, decoder: Any, device: torch.device, directory: Path, progress: Progress
) -> Direct:
    """Time and profile a generation of a point into `result` and `directory`. Returns its eager runner.

    The generation's CUDA graphs are freed when this returns.
    """
    # The peak of the last point, or of making weights, must not count.
    memory.release(device)
    memory.reset_peak(device)
    labels = Labels()
    prepared = ready(point, decoder, device, labels, progress)
    generation = prepared.runner.generation
    result.prepare_s = round(prepared.seconds, 3)
    progress("warming up")
    timing.warm_up(prepared.runner, device)
    # Only the timed repeats: energy must not include making weights and warming up.
    with telemetry.recorded(device) as samples:
        result.timings, steps = timing.measure(prepared.runner, device, point.repeats, progress=progress)
    result.tokens = run_directory.tokens_of(point, steps, generation.committed)
    result.energy = energy.summarize(samples, result.tokens["committed"] * point.repeats)
    # Before profiling, whose own memory would count.
    result.memory = memory.peak(
        device,
        weights_bytes=decoder.nbytes,
        cache_bytes=generation.cache_bytes,
        logits_bytes=generation.logits_bytes,
    )
    telemetry.write(directory / "telemetry.csv", samples)
    if prepared.replayed:
        progress("calibrating the profiler")
        result.profiler = _profiler_cost(device)
    progress("profiling")
    result.window, profiled_timings, attention = profiling.record(
        prepared, decoder.network, labels, device, directory, steps
    )
    # The trace cannot tell block-sparse attention: its compiled kernels have names of the compiler's choice.
    result.attention = ["block_sparse"] if point.attention == "block_sparse" else attention
    result.timings += profiled_timings
    return prepared.launched


def _profiler_cost(device: torch.device) -> ProfilerCost:
    """Return what the profiler adds to a replay, or why that is unknown. Never raises: the point is timed already."""
    try:
        return profiler_cost.calibrated(device)
    except Exception as error:
        message = _outcome(error)[1]
    memory.release(device)
    return ProfilerCost(message=message)


def _scaled(point: Point, decoder: Any, device: torch.device, timings: list[Timing], progress: Progress) -> Scaled:
    """Return the step times of the whole model, extrapolated from the point's layers and from half of them.

    Never raises: the point is measured already.
    """
    layers, half = decoder.depth, decoder.depth // 2
    depths = {"layers": layers, "other_depth": half, "of": published(point).layers}
    progress("timing half of the layers")
    try:
        # All layers cost the same, so two depths define a line through any depth.
        with decoder.shallower(half):
            prepared = ready(point, decoder, device, Labels(), progress)
            timing.warm_up(prepared.runner, device)
            half_timings, _ = timing.measure_once(prepared.runner, device, 0)
        return scaling.extrapolate(timings, half_timings, **depths)
    except Exception as error:
        message = _outcome(error)[1]
    memory.release(device)
    return Scaled(**depths, message=message)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip()


def _outcome(error: Exception) -> tuple[str, str]:
    """Return the outcome and the message of a point that raised `error`.

    If memory runs out while a graph is captured or a step is compiled, that fails as well and raises another exception.
    The message has both then, since the CUDA context may be broken.
    """
    plain = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {first_line(error)}"
    cause: BaseException | None = error
    while cause is not None:
        # CUDA, its libraries and torch's allocator for host memory raise a plain RuntimeError.
        if isinstance(cause, torch.OutOfMemoryError | MemoryError) or (
            isinstance(cause, RuntimeError) and any(words in first_line(cause) for words in OUT_OF_MEMORY)
        ):
            return "oom", first_line(cause) if cause is error else f"{first_line(cause)} ({plain})"
        cause = cause.__cause__ or cause.__context__
    return "error", plain
