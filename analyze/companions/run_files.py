"""The files beside a trace: run.json, ceilings.json, telemetry.csv, read field by field and nothing else copied."""

from __future__ import annotations

import csv
import io
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from ridgeline.analyze.companions.size_limit import LARGEST_BYTES, read_bounded
from ridgeline.analyze.errors import CompanionError

FORMAT = 1
Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Config(msgspec.Struct):
    model: str | None = None
    mode: str | None = None
    execution: str | None = None
    dtype: str | None = None
    batch: Int64 | None = None
    prompt_tokens: Int64 | None = None
    generated_tokens: Int64 | None = None
    block: Int64 | None = None
    steps: Int64 | None = None


class Model(msgspec.Struct):
    parameters: Int64 | None = None


class Environment(msgspec.Struct):
    device: str | None = None
    device_kind: str | None = None
    driver: str | None = None
    torch: str | None = None
    cuda: str | None = None
    transformers: str | None = None


class Timing(msgspec.Struct):
    metric: str
    value_ns: Int64
    phase: str | None = None
    kind: str | None = None
    step: Int64 | None = None
    repeat: Int64 | None = None


class Tokens(msgspec.Struct):
    committed: Int64 | None = None


class Memory(msgspec.Struct):
    peak_bytes: Int64 | None = None
    weights_bytes: Int64 | None = None
    cache_bytes: Int64 | None = None
    other_bytes: Int64 | None = None


class Ncu(msgspec.Struct):
    step: Int64 | None = None


class Counters(msgspec.Struct):
    ncu: Ncu | None = None


class Profiler(msgspec.Struct):
    graph_node_ns: float | None = None


class Run(msgspec.Struct):
    """run.json, as ``ridgeline capture`` writes it."""

    format: int
    name: str
    outcome: str
    experiment: str | None = None
    message: str | None = None
    config: Config = msgspec.field(default_factory=Config)
    model: Model = msgspec.field(default_factory=Model)
    environment: Environment = msgspec.field(default_factory=Environment)
    timings: list[Timing] = msgspec.field(default_factory=list)
    tokens: Tokens = msgspec.field(default_factory=Tokens)
    memory: Memory | None = None
    profiler: Profiler | None = None
    counters: Counters | None = None


class Ceiling(msgspec.Struct):
    resource: str
    value: Annotated[float, msgspec.Meta(gt=0)]
    unit_of_value: str
    source: str
    level: str | None = None
    unit: str | None = None
    precision: str | None = None
    method: str | None = None


class Ceilings(msgspec.Struct):
    """ceilings.json, as ``ridgeline ceilings`` writes it."""

    format: int
    device: str
    ceilings: list[Ceiling]
    device_kind: str | None = None
    measured_on: str | None = None


_File = TypeVar("_File", Run, Ceilings)


def read_run(path: Path, most_bytes: int = LARGEST_BYTES) -> Run:
    """Raises :class:`CompanionError`."""
    run = _read(path, Run, most_bytes)
    if run.outcome not in ("ok", "oom", "error"):
        raise CompanionError(f"{path}: outcome {run.outcome!r}: expected ok, oom or error")
    return run


def read_ceilings(path: Path, most_bytes: int = LARGEST_BYTES) -> Ceilings:
    """Raises :class:`CompanionError`."""
    return _read(path, Ceilings, most_bytes)


def _read(path: Path, struct: type[_File], most_bytes: int) -> _File:
    try:
        value = msgspec.json.decode(read_bounded(path, most_bytes), type=struct)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise CompanionError(f"{path}: {e}: expected the form that ridgeline writes") from None
    except OSError as e:
        raise CompanionError(f"{path}: cannot be read: {e.strerror}") from None
    if value.format != FORMAT:
        raise CompanionError(f"{path}: format {value.format}, this ridgeline reads {FORMAT}")
    return value


_TELEMETRY = {
    "time_ns": int, "power_w": float, "energy_j": float, "sm_clock_hz": float, "memory_clock_hz": float,
    "temperature_c": float, "memory_used_bytes": int, "throttle_reasons": str,
}  # fmt: skip


_SAMPLE_BYTES = 256
"""What a row of it may take: as a dictionary it takes several times as much."""


def read_telemetry(path: Path, most_bytes: int = LARGEST_BYTES) -> list[dict[str, Any]]:
    """Rows of telemetry.csv, those without a time left out; empty cells are None. Raises :class:`CompanionError`."""
    try:
        text = io.TextIOWrapper(io.BytesIO(read_bounded(path, most_bytes)), encoding="utf-8", newline="")
        rows = csv.DictReader(text, strict=True)
        if "time_ns" not in (rows.fieldnames or ["time_ns"]):
            raise ValueError("no column time_ns")
        cells = ({name: _cell(row.get(name), kind) for name, kind in _TELEMETRY.items()} for row in rows)
        samples = list(islice((row for row in cells if row["time_ns"] is not None), most_bytes // _SAMPLE_BYTES + 1))
        if len(samples) > most_bytes // _SAMPLE_BYTES:
            raise ValueError(f"more than {len(samples) - 1:,} samples, too many for this --memory")
        return samples
    except OSError as e:
        raise CompanionError(f"{path}: cannot be read: {e.strerror}") from None
    except (ValueError, csv.Error) as e:
        raise CompanionError(f"{path}: {e}: expected the columns {', '.join(_TELEMETRY)}") from None


def _cell(text: str | None, kind: type) -> Any:
    value = kind(text) if text else None
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{text} does not fit 64 bits")
    return value
