"""One point of a sweep, from weights to a run directory; out of memory is an outcome, and so is any other failure."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ridgeline.capture import environment, run_directory
from ridgeline.capture.configuration.points import Point
from ridgeline.capture.configuration.presets import PRESETS, shape_of
from ridgeline.capture.counters import count as counting
from ridgeline.capture.decoder import checkpoints, diffusion_gemma
from ridgeline.capture.decoder.decoder import DTYPES, quiet_transformers, random_decoder
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.labels import Labels
from ridgeline.capture.measuring import energy, profiler_cost, profiling, scaling, telemetry, timing
from ridgeline.capture.measuring import peak_memory as memory
from ridgeline.capture.measuring.execution import Direct, Prepared, prepare
from ridgeline.capture.modes import start
from ridgeline.capture.records import ProfilerCost, Record, Scaled, Timing

Progress = Callable[[str], None]

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""What a RuntimeError's message has when it means that memory ran out."""


class Workshop:
    """The decoder of the last point, kept as long as points ask for the same weights."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._decoder: Any = None
        self.launched: Direct | None = None
        """What launches the last point's steps, kept for its counters; its graphs are not."""

    def decoder(self, point: Point, device: torch.device) -> Any:
        """The point's decoder on `device`, made when the last one is another."""
        self.launched = None
        key = (shape_of(point), point.dtype, point.linear, point.checkpoint, point.seed, point.fused, device)
        if self._decoder is None or key != self._key:
            self.clear(device)
            self._decoder = _make(point, device)
            self._key = key
        self._decoder.reserve(point.length)
        return self._decoder

    def clear(self, device: torch.device) -> None:
        """Let go of the decoder and its memory, and of what was compiled for it."""
        self._decoder = self._key = self.launched = None
        torch.compiler.reset()
        memory.release(device)


def record(point: Point, device: torch.device, directory: Path, workshop: Workshop, progress: Progress) -> Record:
    """Run a point and write its files, run.json last, into `directory`; the record written.

    Never raises for what the point itself does: running out of memory and other exceptions become its outcome, and the
    memory they held is released before this returns.
    """
    result = Record(
        name=point.directory,
        experiment=point.experiment,
        config=run_directory.config_of(point, device.type),
        model=run_directory.model_of(point),
        environment=environment.describe(device),
    )
    # Only text leaves the except clauses: a traceback would keep the failing model alive.
    try:
        with torch.inference_mode():
            _fill(result, point, device, directory, workshop, progress)
    except Exception as error:
        result.outcome, result.message = _outcome(error)
    if result.outcome != "ok":
        workshop.clear(device)
        for unfinished in directory.iterdir():
            unfinished.unlink()
    run_directory.write_record(directory, result)
    return result


def _fill(
    result: Record, point: Point, device: torch.device, directory: Path, workshop: Workshop, progress: Progress
) -> None:
    """Everything a successful point leaves behind but run.json itself."""
    progress("making weights")
    decoder = workshop.decoder(point, device)
    workshop.launched = _measure(result, point, decoder, device, directory, progress)
    if 2 <= decoder.depth < PRESETS[point.model].layers:
        workshop.launched = None  # Its cache would stand in the way; counting makes it anew.
        memory.release(device)
        result.scaled = _scaled(point, decoder, device, result.timings, progress)


def _measure(
    result: Record, point: Point, decoder: Any, device: torch.device, directory: Path, progress: Progress
) -> Direct:
    """Time and profile a point's generation; what launched it. Graphs of it are gone when this returns."""
    memory.release(device)
    memory.reset_peak(device)
    labels = Labels()
    prepared = ready(point, decoder, device, labels, progress)
    generation = prepared.runner.generation
    result.prepare_s = round(prepared.seconds, 3)
    progress("warming up")
    timing.warm_up(prepared.runner, device)
    with telemetry.recorded(device) as samples:
        measured = timing.measure(prepared.runner, device, point.repeats, progress=progress)
    result.timings = measured.timings
    committed = int((~generation.canvas.masked[:, point.prompt_tokens :]).sum())
    result.tokens = run_directory.tokens_of(point, measured.steps, committed)
    result.energy = energy.summarize(samples, result.tokens["committed"] * point.repeats)
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
    profiled = profiling.record(prepared, decoder.network, labels, device, directory, measured.steps)
    # Generated code is named as it pleases the compiler, and there is no other in its place.
    result.attention = ["block_sparse"] if point.attention == "block_sparse" else profiled.attention
    result.window = profiled.steps
    result.timings += profiled.timings
    return prepared.launched


def _profiler_cost(device: torch.device) -> ProfilerCost:
    """What the profiler adds to a replay, or why that is not known. Never raises: the point has its timings already."""
    try:
        return profiler_cost.calibrated(device)
    except Exception as error:
        message = _outcome(error)[1]
    memory.release(device)
    return ProfilerCost(message=message)


def count(
    point: Point, device: torch.device, directory: Path, workshop: Workshop, progress: Progress, method: str
) -> Record | None:
    """Add hardware counters to a point recorded just now, by `auto`, `cupti` or `ncu`; the record, written again.

    None where `auto` finds nothing to count by. Raises CaptureError when what was asked for cannot be had.
    """
    result = run_directory.read(directory)
    assert result is not None
    with torch.inference_mode():
        if workshop.launched is None:
            decoder = workshop.decoder(point, device)
            workshop.launched = ready(point, decoder, device, Labels(), progress, replayed=False).launched
        told = counting.count(point, result.window, workshop.launched, device, directory, method, progress)
    if told is None:
        return None
    result.counters = told
    run_directory.write_record(directory, result)
    return result


def ready(
    point: Point, decoder: Any, device: torch.device, labels: Labels, progress: Progress, *, replayed: bool = True
) -> Prepared:
    """A point's generation on a decoder, ready to run as the point says; not `replayed`, without CUDA graphs."""
    decoder.attend_by(point.attention)
    generation = start(decoder, point, labels)
    return prepare(generation, device, execution=point.execution, replayed=replayed, progress=progress)


def _scaled(point: Point, decoder: Any, device: torch.device, timings: list[Timing], progress: Progress) -> Scaled:
    """Step times of the whole model where the point runs a subset of its layers, by timing half of them as well.

    Never raises for what that does: the point itself is measured already.
    """
    layers, half = decoder.depth, decoder.depth // 2
    depths = {"layers": layers, "other_depth": half, "of": PRESETS[point.model].layers}
    progress("timing half of the layers")
    try:
        return scaling.extrapolate(timings, _at_depth(half, point, decoder, device, progress), **depths)
    except Exception as error:
        message = _outcome(error)[1]
    memory.release(device)
    return Scaled(**depths, message=message)


def _at_depth(depth: int, point: Point, decoder: Any, device: torch.device, progress: Progress) -> list[Timing]:
    """The timings of one generation by the first `depth` layers."""
    with decoder.shallower(depth):
        prepared = ready(point, decoder, device, Labels(), progress)
        timing.warm_up(prepared.runner, device)
        return timing.measure_once(prepared.runner, device, 0).timings


def _make(point: Point, device: torch.device) -> Any:
    """A decoder from the point's checkpoint, or of random weights."""
    quiet_transformers()
    shape, dtype = shape_of(point), DTYPES[point.dtype]
    if shape.layout == "diffusion_gemma":
        return diffusion_gemma.random_decoder(shape, dtype, device, seed=point.seed)
    options: dict[str, Any] = {"capacity": point.length, "fused": bool(point.fused), "linear": point.linear}
    if point.checkpoint is not None:
        return checkpoints.load(Path(point.checkpoint), shape, dtype, device, **options)
    return random_decoder(shape, dtype, device, seed=point.seed, **options)


def first_line(error: BaseException) -> str:
    """An exception's message to the end of its first line."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip()


def _outcome(error: Exception) -> tuple[str, str]:
    """What a failed point's record says of its outcome.

    Memory that runs out while a graph is captured or a step compiled breaks that as well, so the exception that arrives
    may be another one. Both are told then: the device may not be as it was.
    """
    plain = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {first_line(error)}"
    cause = next(filter(_is_out_of_memory, _chain(error)), None)
    if cause is None:
        return "error", plain
    return "oom", first_line(cause) if cause is error else f"{first_line(cause)} ({plain})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those it arose from."""
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. CUDA, its libraries and torch's host allocator report it as a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in first_line(error) for words in OUT_OF_MEMORY)
