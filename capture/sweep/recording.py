"""Runs one point of a sweep, from weights to a run directory. Running out of memory and other failures are outcomes."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ridgeline.capture import environment
from ridgeline.capture.configuration.points import Point
from ridgeline.capture.configuration.presets import published, shape_of
from ridgeline.capture.counters import count as counting
from ridgeline.capture.decoder import checkpoints, diffusion_gemma
from ridgeline.capture.decoder.decoder import DTYPES, quiet_transformers, random_decoder
from ridgeline.capture.measuring import graph_nodes, scaling, timing
from ridgeline.capture.measuring import peak_memory as memory
from ridgeline.capture.measuring.execution import Compiled, Direct, Prepared, prepare, walk
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import start
from ridgeline.capture.modes.generation import Generation
from ridgeline.capture.recording import run_directory
from ridgeline.capture.recording.findings import Findings
from ridgeline.capture.recording.outcomes import outcome_of
from ridgeline.capture.recording.plan import ByGeneration, Pass
from ridgeline.capture.recording.recording import Recording
from ridgeline.capture.records import Record, Scaled, Timing
from ridgeline.capture.steps import RecordedStep, Step, profiled_window

Progress = Callable[[str], None]


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
        result.outcome, result.message = outcome_of(error)
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
        window = steps_of(workshop.launched.generation, result.window)
        counters = counting.count(point, window, workshop.launched, device, directory, method, progress)
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
    labels = Labels()
    plan = ByGeneration(warmup=0, timed=point.repeats, traced=traced_steps)
    # Counters are read later, with a time limit for the process.
    recording = Recording(
        directory,
        plan=plan,
        device=device,
        # Enabled labels would have compiled code compiled again, inside the trace.
        labels=Labels() if point.execution == "compile" else labels,
        counters="off",
        joined=True,
        strict=True,
        say=progress,
    )
    prepared = ready(point, decoder, device, labels, progress)
    generation = prepared.runner.generation
    result.prepare_s = round(prepared.seconds, 3)
    recording.instruments.twin = prepared.replayed
    recording.instruments.parts = {
        "weights_bytes": decoder.nbytes,
        "cache_bytes": generation.cache_bytes,
        "logits_bytes": generation.logits_bytes,
    }
    # Hooks on the modules of compiled code would have it compiled again, and record nothing inside it.
    if not isinstance(prepared.launched, Compiled):
        recording.modules.append(decoder.network)
    progress("warming up")
    timing.warm_up(prepared.runner, device)
    try:
        for each in recording.generations():
            timed = each.pass_ is Pass.timed
            if timed:
                progress(f"timing, repeat {each.repeat + 1} of {point.repeats}")
            elif each.pass_ is Pass.traced:
                progress("profiling")
            # Where confidence decides, a traced generation takes the steps that the last timed one took.
            steps = walk(generation) if timed else iter(steps_of(generation, recording.findings.steps))
            runner = prepared.launched if each.eager else prepared.runner
            if not timed and not result.tokens:
                result.tokens = _tokens(point, generation, recording.findings)
            generation.reset()
            for step in steps:
                if each.needs(step.index):
                    recording.begin(step)
                    runner.run(step)
                    recording.end()
    finally:
        recording.instruments.stop()
    recording.findings.measure(result)
    # The trace cannot tell block-sparse attention: its compiled kernels have names of the compiler's choice. Attention
    # without an operator of any backend was composed of products and a softmax.
    result.attention = ["block_sparse"] if point.attention == "block_sparse" else result.attention or ["math"]
    recording.findings.write(directory)
    return prepared.launched


def _tokens(point: Point, generation: Generation, findings: Findings) -> dict[str, Any]:
    """Return the counts of a generation that has run."""
    return run_directory.tokens_of(point, steps_of(generation, findings.steps), generation.committed)


def traced_steps(steps: Sequence[RecordedStep]) -> list[int]:
    """The indices of the steps to trace: every kind of step once, the commonest twice."""
    return [steps[place].index for place in profiled_window(steps)]


def steps_of(generation: Generation, steps: Sequence[RecordedStep]) -> list[Step]:
    """The steps of `generation` that `steps` recorded."""
    every = {step.index: step for step in generation.steps}
    return [every[step.index] for step in steps]


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
            half_timings = timing.generation(prepared.runner, device)
        return scaling.extrapolate(timings, half_timings, **depths)
    except Exception as error:
        message = outcome_of(error)[1]
    memory.release(device)
    return Scaled(**depths, message=message)
