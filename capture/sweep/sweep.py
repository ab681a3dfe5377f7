"""Loads a configuration, describes what it would take, and runs it into a folder of run directories."""

import statistics
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.forecast import roofs
from ridgeline.capture.configuration.forecast.footprint import Footprint, predict, predict_time
from ridgeline.capture.configuration.forecast.forwards import has_head
from ridgeline.capture.configuration.points import ITEM_BYTES, Point
from ridgeline.capture.configuration.presets import shape_of
from ridgeline.capture.errors import CaptureError, ConfigError
from ridgeline.capture.recording import run_directory
from ridgeline.capture.records import Record
from ridgeline.capture.steps import Step
from ridgeline.capture.sweep import session
from ridgeline.capture.sweep.bench import Bench, Progress
from ridgeline.capture.sweep.worker import Worker


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A point's name, its predicted memory, and its least time in seconds at the roofs that `roofs_of` names.

    `note` says what a prediction of a mode of one's own lacks; `seconds` is None where the mode's steps are unknown.
    """

    name: str
    footprint: Footprint
    seconds: float | None
    roofs_of: str
    note: str | None = None


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a point. `outcome` is `ok`, `oom` or `error`; `skipped` is true if it was captured before.

    `note` says which of the requested counters a skipped point lacks, and its experiment if another one was requested.
    The numbers are medians over the repeats, None unless the outcome is `ok`: committed tokens per second over the
    whole generation, milliseconds per step by kind, time to first token, and the rate at which the weights were read.
    """

    name: str
    outcome: str
    path: Path
    message: str | None = None
    skipped: bool = False
    note: str | None = None
    tokens_per_s: float | None = None
    ttft_ms: float | None = None
    step_ms: dict[str, float] = {}
    weights_bytes_per_s: float | None = None
    peak_memory_bytes: int | None = None

    def headline(self) -> str:
        """One line for a terminal: tokens per second and milliseconds per step, or why there are none."""
        if self.skipped:
            return f"{self.name}: captured before, skipped" + (f"; {self.note}" if self.note else "")
        if self.outcome != "ok" or self.tokens_per_s is None:
            return f"{self.name}: {self.outcome}: {self.message}"
        parts = [f"{self.tokens_per_s:.1f} tokens/s", *(f"{kind} {ms:.2f} ms" for kind, ms in self.step_ms.items())]
        if rate := self.weights_bytes_per_s:
            # tiny weights on a CPU are read at megabytes a second, large ones on a GPU at terabytes
            units = iter(("B/s", "kB/s", "MB/s", "GB/s", "TB/s"))
            unit = next(units)
            while rate >= 999.5 and unit != "TB/s":
                rate, unit = rate / 1000, next(units)
            parts.append(f"weights read at {rate:.3g} {unit}")
        return f"{self.name}: {', '.join(parts)}"


def load(path: Path | str, experiment: str | None = None) -> list[Point]:
    """Return the validated points of a TOML file, in order, all of them labelled `experiment` if that is given.

    Raises ConfigError if the file cannot be read, is not TOML, or is not a valid configuration.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; expected a TOML configuration.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a TOML configuration.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}.") from error
    if experiment is not None:
        runs = document.get("runs")
        for table in [document, *(runs if isinstance(runs, list) else ())]:
            if isinstance(table, dict):
                table["experiment"] = experiment
    return config.points(document, source=path.name, folder=path.parent)


def describe(points: Iterable[Point], out: Path | str | None = None) -> list[Description]:
    """Return names, predicted memory and least times of points, without running them.

    Times are at the roofs measured in the folder `out`, else at those of a datasheet. Raises ConfigError for a mode of
    one's own that cannot be loaded or whose schedule has wrong steps.
    """
    device_roofs = roofs.find(Path(out) if out is not None else None)
    descriptions = []
    for point in points:
        steps: Sequence[Step] | None = ()
        note = None
        if not point.built_in:
            from ridgeline.capture.modes import own  # with torch, as the mode has

            steps = own.planned(point)
            note = f"{point.mode}: memory is predicted without its cache"
            if steps is None:
                note = f"{point.mode} has no schedule(point): of memory the weights are predicted, of time nothing"
        description = Description(
            name=point.directory,
            footprint=predict(point, steps or ()),
            seconds=None if steps is None else predict_time(point, device_roofs, steps),
            roofs_of=device_roofs.of,
            note=note,
        )
        descriptions.append(description)
    return descriptions


def run(
    points: Sequence[Point],
    out: Path | str,
    *,
    progress: Progress = lambda _: None,
    report: Callable[[RunResult], None] = lambda _: None,
    counters: str = "auto",
    isolate: bool = True,
) -> list[RunResult]:
    """Run each point into `out/<name>/`, skipping points captured before, and measure ceilings unless they are stored.

    A point that runs out of memory, fails or kills its process is a result, and the next one runs. A point that cannot
    fit, judging by smaller ones or by the device's memory, is recorded as out of memory without being run. `report` is
    called for each point as soon as it is done. `counters` says how to read hardware counters: `auto`, `cupti`, `ncu`
    or `off`; skipped points keep theirs. With `isolate` false the points run in this process, for a debugger: a crash
    ends the sweep, and counters have no time limit.

    Raises DeviceError before anything runs if a device is missing or lacks what a point needs, and CaptureError if
    `out` cannot be written or holds another configuration under a point's name.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{out}: cannot be created ({error.strerror}); expected a folder for runs.") from error
    with session.ended_by_sigterm():
        bench = Worker() if isolate else Bench()
        labels = {point.directory: point.experiment for point in points}
        results = []
        for record, skipped in session.Session(points, out, progress, counters=counters, bench=bench):
            result = summarize(record, out / record.name, skipped=skipped)
            if skipped:
                notes = (_missing_counters(record, counters), _other_label(record, labels[record.name]))
                result = msgspec.structs.replace(result, note="; ".join(filter(None, notes)) or None)
            results.append(result)
            report(result)
        return results


def summarize(record: Record, path: Path, *, skipped: bool = False) -> RunResult:
    """Return the headline numbers of a record."""
    result = RunResult(name=record.name, outcome=record.outcome, path=path, message=record.message, skipped=skipped)
    if record.outcome != "ok":
        return result
    seconds = _median_ns(record, "end_to_end") / 1e9  # unprofiled
    kinds = dict.fromkeys(timing.kind for timing in record.timings if timing.metric == "step")
    # The weights that all forwards read. Forwards without logits do not read those of the output projection.
    point, forwards = msgspec.convert(run_directory.config_in(record), Point), record.tokens["forwards"]
    shape = shape_of(point)
    headless = sum(count for kind, count in forwards.items() if not has_head(point.mode, kind, shape))
    weights = shape.streamed_parameters * sum(forwards.values()) - shape.embedding_parameters * headless
    rate = weights * ITEM_BYTES[point.dtype] / seconds
    return msgspec.structs.replace(
        result,
        tokens_per_s=record.tokens["committed"] / seconds,
        ttft_ms=_median_ns(record, "ttft") / 1e6,
        step_ms={kind: _median_ns(record, "step", kind) / 1e6 for kind in kinds if kind is not None},
        weights_bytes_per_s=rate if point.built_in else None,  # another mode may forward a part of the weights
        peak_memory_bytes=record.memory.peak_bytes if record.memory else None,
    )


def _other_label(record: Record, experiment: str) -> str | None:
    """Return that a stored run is of another experiment than the requested one, with the remedy, or None."""
    if record.experiment == experiment:
        return None
    return f"it belongs to experiment {record.experiment}, not {experiment}: choose another --out to capture it again"


def _missing_counters(record: Record, method: str) -> str | None:
    """Return what a stored run lacks of the counters that `method` asks for, with the remedy, or None."""
    if record.outcome != "ok" or method == "off" or (method == "auto" and record.environment.device_kind == "cpu"):
        return None
    counters = record.counters or {}
    methods = ["cupti"] if counters.get("outcome") == "ok" and counters.get("method") == "cupti" else []
    methods += ["ncu"] if "ncu" in counters and counters["ncu"].get("outcome", "ok") == "ok" else []
    if method in methods or (method == "auto" and methods):
        return None
    if methods:
        return f"its counters are from {methods[0]}, not {method}: remove the run to count again"
    reason = f" ({counters['reason']})" if counters.get("reason") else ""
    return f"it has no counters{reason}: remove the run to count again"


def _median_ns(record: Record, metric: str, kind: str | None = None) -> float:
    """Return the median of a metric over repeats and steps; with `kind`, of steps of that kind only."""
    return statistics.median(
        timing.value_ns for timing in record.timings if timing.metric == metric and kind in (None, timing.kind)
    )
