"""One point of a sweep, from weights to a run directory; out of memory is an outcome, and so is any other failure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from capture import (
    checkpoints,
    environment,
    memory,
    models,
    profiling,
    run_directory,
    telemetry,
    timing,
)
from capture.config import Point
from capture.errors import CaptureError
from capture.labels import Labels
from capture.models import Decoder
from capture.modes import MODES
from capture.presets import PRESETS
from capture.records import Record

Progress = Callable[[str], None]


class Workshop:
    """The decoder of the last point, kept as long as points ask for the same weights."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._decoder: Decoder | None = None

    def decoder(self, point: Point, device: torch.device) -> Decoder:
        """The point's decoder on `device`, made when the last one is another."""
        key = (point.model, point.dtype, point.checkpoint, point.seed, device)
        if self._decoder is None or key != self._key:
            self.clear(device)
            self._decoder = _make(point, device)
            self._key = key
        self._decoder.reserve(point.length)
        return self._decoder

    def clear(self, device: torch.device) -> None:
        """Let go of the decoder and its memory."""
        self._decoder = self._key = None
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
    except (torch.OutOfMemoryError, MemoryError) as error:
        result.outcome, result.message = "oom", first_line(error)
    except CaptureError as error:
        result.outcome, result.message = "error", str(error)
    except Exception as error:
        out_of_memory = _is_host_allocation(error)
        result.outcome = "oom" if out_of_memory else "error"
        result.message = first_line(error) if out_of_memory else f"{type(error).__name__}: {first_line(error)}"
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
    labels = Labels()
    memory.release(device)
    memory.reset_peak(device)
    generation = MODES[point.mode](decoder, point, labels)
    result.tokens = run_directory.tokens_of(point, generation.steps)
    progress("warming up")
    timing.warm_up(generation, device)
    with telemetry.recorded(device) as samples:
        result.timings = timing.measure(generation, device, point.repeats, progress=progress)
    result.memory = memory.peak(device, weights_bytes=decoder.nbytes, cache_bytes=generation.cache_bytes)
    telemetry.write(directory / "telemetry.csv", samples)
    progress("profiling")
    result.window = profiling.record(generation, decoder.network, labels, device, directory)


def _make(point: Point, device: torch.device) -> Decoder:
    """A decoder from the point's checkpoint, or of random weights."""
    models.quiet_transformers()
    shape, dtype = PRESETS[point.model], models.DTYPES[point.dtype]
    if point.checkpoint is not None:
        return checkpoints.load(Path(point.checkpoint), shape, dtype, device, capacity=point.length)
    return models.random(shape, dtype, device, capacity=point.length, seed=point.seed)


def first_line(error: BaseException) -> str:
    """An exception's message to the end of its first line."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip()


def _is_host_allocation(error: BaseException) -> bool:
    """Whether torch's host allocator was refused, which it reports as a plain RuntimeError."""
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
