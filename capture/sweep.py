"""The package's front door: load a configuration, say what it would take, run it into a folder of run directories."""

import statistics
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from capture import config
from capture.config import ITEM_BYTES, Point
from capture.errors import CaptureError, ConfigError
from capture.footprint import Footprint, predict
from capture.presets import PRESETS
from capture.records import Record


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a point would be called, and the memory it would need."""

    name: str
    footprint: Footprint


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a point. `outcome` is `ok`, `oom` or `error`; `skipped` when its directory was there already.

    The numbers are medians over the repeats, None unless the outcome is `ok`: committed tokens per second over the
    whole generation, milliseconds per step by kind, time to first token, and the rate at which weights alone were read.
    """

    name: str
    outcome: str
    path: Path
    message: str | None = None
    skipped: bool = False
    tokens_per_s: float | None = None
    ttft_ms: float | None = None
    step_ms: dict[str, float] = {}
    weights_bytes_per_s: float | None = None
    peak_memory_bytes: int | None = None


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


def describe(points: Iterable[Point]) -> list[Description]:
    """Names and predicted memory of points, without making any of them."""
    return [Description(name=point.directory, footprint=predict(point)) for point in points]


def run(
    points: Sequence[Point], out: Path | str, *, progress: Callable[[str], None] = lambda _: None
) -> list[RunResult]:
    """Run each point into `out/<name>/`, skipping those that are there, and measure ceilings where none are stored.

    A point that runs out of memory or fails is a result like any other, and the next one runs. Raises DeviceError
    before anything is run when a device asked for is not there, and CaptureError when `out` cannot be written or holds
    another configuration under a point's name.
    """
    from capture import runtime

    runtime.prepare()
    from capture.session import Session  # Imports torch, which those settings must precede.

    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{out}: cannot be made a folder of runs: {error.strerror}.") from error
    return [summarize(record, out / record.name, skipped=skipped) for record, skipped in Session(points, out, progress)]


def summarize(record: Record, path: Path, *, skipped: bool = False) -> RunResult:
    """The headline numbers of a record."""
    result = RunResult(name=record.name, outcome=record.outcome, path=path, message=record.message, skipped=skipped)
    if record.outcome != "ok":
        return result
    seconds = _median_ns(record, "end_to_end") / 1e9
    forwards = sum(record.tokens["forwards"].values())
    streamed = PRESETS[record.config["model"]].streamed_parameters * ITEM_BYTES[record.config["dtype"]]
    kinds = dict.fromkeys(timing.kind for timing in record.timings if timing.metric == "step")
    return msgspec.structs.replace(
        result,
        tokens_per_s=record.tokens["committed"] / seconds,
        ttft_ms=_median_ns(record, "ttft") / 1e6,
        step_ms={kind: _median_ns(record, "step", kind) / 1e6 for kind in kinds if kind is not None},
        weights_bytes_per_s=streamed * forwards / seconds,
        peak_memory_bytes=record.memory.peak_bytes if record.memory else None,
    )


def _median_ns(record: Record, metric: str, kind: str | None = None) -> float:
    """The median of a metric over repeats (and steps), of one kind of step if given."""
    return statistics.median(
        timing.value_ns for timing in record.timings if timing.metric == metric and kind in (None, timing.kind)
    )
