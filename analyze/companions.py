"""The files beside a trace: run.json, ceilings.json, telemetry.csv, read field by field and nothing else copied."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from analyze.errors import CompanionError

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


def read_run(path: Path) -> Run:
    """Raises :class:`CompanionError`."""
    run = _read(path, Run)
    if run.outcome not in ("ok", "oom", "error"):
        raise CompanionError(f"{path}: outcome {run.outcome!r}: expected ok, oom or error")
    return run


def read_ceilings(path: Path) -> Ceilings:
    """Raises :class:`CompanionError`."""
    return _read(path, Ceilings)


def _read(path: Path, struct: type[_File]) -> _File:
    try:
        value = msgspec.json.decode(path.read_bytes(), type=struct)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
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


def read_telemetry(path: Path) -> list[dict[str, Any]]:
    """Rows of telemetry.csv, those without a time left out; empty cells are None. Raises :class:`CompanionError`."""
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file, strict=True)
            cells = ({name: _cell(row.get(name), kind) for name, kind in _TELEMETRY.items()} for row in rows)
            return [row for row in cells if row["time_ns"] is not None]
    except (OSError, ValueError, csv.Error) as e:
        raise CompanionError(f"{path}: {e}: expected the columns {', '.join(_TELEMETRY)}") from None


def _cell(text: str | None, kind: type) -> Any:
    value = kind(text) if text else None
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{text} does not fit 64 bits")
    return value
