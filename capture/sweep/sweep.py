"""The package's front door: load a configuration, say what it would take, run it into a folder of run directories."""

import statistics
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.points import ITEM_BYTES, Point
from ridgeline.capture.configuration.presets import PRESETS, Shape
from ridgeline.capture.errors import CaptureError, ConfigError
from ridgeline.capture.forecast import roofs
from ridgeline.capture.forecast.footprint import Footprint, predict, predict_time
from ridgeline.capture.forecast.forwards import has_head
from ridgeline.capture.records import Record
from ridgeline.capture.sweep import session
from ridgeline.capture.sweep.bench import Bench
from ridgeline.capture.sweep.worker import Worker


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a point would be called, the memory it would need, and at least how long, by the roofs of `roofs_of`."""

    name: str
    footprint: Footprint
    seconds: float
    roofs_of: str


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a point. `outcome` is `ok`, `oom` or `error`; `skipped` when its directory was there already.

    `note` says where a skipped point lacks the counters asked for. The numbers are medians over the repeats, None
    unless the outcome is `ok`: committed tokens per second over the whole generation, milliseconds per step by kind,
    time to first token, and the rate at which weights alone were read.
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


def load(path: Path | str) -> list[Point]:
    """The validated points of a TOML file, in order.

    Raises ConfigError when the file cannot be read, is not TOML, or asks for something that cannot be.
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
    return config.points(document, source=path.name)


def describe(points: Iterable[Point], out: Path | str | None = None) -> list[Description]:
    """Names, predicted memory and least times of points, without making any of them.

    Times are those at the roofs measured in the folder `out`, else at a datasheet's.
    """
    found = roofs.find(Path(out) if out is not None else None)
    return [
        Description(
            name=point.directory,
            footprint=predict(point),
            seconds=predict_time(point, found),
            roofs_of=found.of,
        )
        for point in points
    ]


def run(
    points: Sequence[Point],
    out: Path | str,
    *,
    progress: Callable[[str], None] = lambda _: None,
    report: Callable[[RunResult], None] = lambda _: None,
    counters: str = "auto",
    isolate: bool = True,
) -> list[RunResult]:
    """Run each point into `out/<name>/`, skipping those that are there, and measure ceilings where none are stored.

    A point that runs out of memory, fails or kills its process is a result like any other, and the next one runs. One
    that cannot fit, by what is known of smaller ones or of the device, is recorded without being run. `report` is told
    of each point as soon as it is done. `counters` is how hardware counters are read: `auto`, `cupti`, `ncu` or `off`;
    those of a point that is there stay as they are. With `isolate=False` points run in this process, for a debugger: a
    crash ends the sweep, and nothing limits how long counters take.

    Raises DeviceError before anything is run when a device asked for is not there or lacks what a point needs, and
    CaptureError when `out` cannot be written or holds another configuration under a point's name.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{out}: cannot be made a folder of runs: {error.strerror}.") from error
    with session.ended_by_sigterm():
        bench = Worker() if isolate else Bench()
        results = []
        for record, skipped in session.Session(points, out, progress, counters=counters, bench=bench):
            result = summarize(record, out / record.name, skipped=skipped)
            if skipped:
                result = msgspec.structs.replace(result, note=_uncounted(record, counters))
            results.append(result)
            report(result)
        return results


def summarize(record: Record, path: Path, *, skipped: bool = False) -> RunResult:
    """The headline numbers of a record."""
    result = RunResult(name=record.name, outcome=record.outcome, path=path, message=record.message, skipped=skipped)
    if record.outcome != "ok":
        return result
    seconds = _median_ns(record, "end_to_end") / 1e9
    kinds = dict.fromkeys(timing.kind for timing in record.timings if timing.metric == "step")
    return msgspec.structs.replace(
        result,
        tokens_per_s=record.tokens["committed"] / seconds,
        ttft_ms=_median_ns(record, "ttft") / 1e6,
        step_ms={kind: _median_ns(record, "step", kind) / 1e6 for kind in kinds if kind is not None},
        weights_bytes_per_s=_weights_bytes(record) / seconds,
        peak_memory_bytes=record.memory.peak_bytes if record.memory else None,
    )


def _uncounted(record: Record, asked: str) -> str | None:
    """What a stored run lacks of the counters asked for, in words, or None."""
    if record.outcome != "ok" or asked == "off" or (asked == "auto" and record.environment.device_kind == "cpu"):
        return None
    told = record.counters or {}
    found = ["cupti"] if told.get("outcome") == "ok" and told.get("method") == "cupti" else []
    found += ["ncu"] if told.get("ncu", {}).get("outcome", "ok" if "ncu" in told else None) == "ok" else []
    if asked in found or (asked == "auto" and found):
        return None
    if found:
        return f"its counters were read by {found[0]}, not {asked} as asked: remove it to count anew"
    reason = f" ({told['reason']})" if told.get("reason") else ""
    return f"it has no counters{reason}: remove it to count anew"


def _weights_bytes(record: Record) -> int:
    """Weights that a generation's forwards read, each kind those it has use for."""
    shape = _shape(record.config)
    forwards: dict[str, int] = record.tokens["forwards"]
    headless = sum(n for kind, n in forwards.items() if not has_head(record.config["mode"], kind, shape))
    read = shape.streamed_parameters * sum(forwards.values()) - shape.embedding_parameters * headless
    return read * ITEM_BYTES[record.config["dtype"]]


def _shape(stored: dict[str, Any]) -> Shape:
    """The shape that a stored configuration ran."""
    return PRESETS[stored["model"]].with_(**{key: stored.get(key) for key in ("layers", "heads", "kv_heads")})


def _median_ns(record: Record, metric: str, kind: str | None = None) -> float:
    """The median of a metric over repeats (and steps), of one kind of step if given."""
    return statistics.median(
        timing.value_ns for timing in record.timings if timing.metric == metric and kind in (None, timing.kind)
    )
