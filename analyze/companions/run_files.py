"""The files beside a trace that Ridgeline writes: run.json, ceilings.json and telemetry.csv.

Each field is named here; a field that is not named is not copied into the warehouse.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from ridgeline.analyze.companions.size_limit import companion_errors, read_bounded
from ridgeline.analyze.errors import CompanionError
from ridgeline.analyze.resources.limits import STANDARD, Limits

FORMAT = 1
Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Config(msgspec.Struct):
    """The keys of the configuration that are columns of ``runs``."""

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


class Job(msgspec.Struct):
    id: str
    rank: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
    world_size: Int64
    hosts: Int64 | None = None


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
    outcome: Literal["ok", "oom", "error"]
    experiment: str | None = None
    message: str | None = None
    config: Config = msgspec.field(default_factory=Config)
    model: Model = msgspec.field(default_factory=Model)
    environment: Environment = msgspec.field(default_factory=Environment)
    job: Job | None = None
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
_TELEMETRY: Mapping[str, type[int] | type[float] | type[str]] = {
    "time_ns": int, "power_w": float, "energy_j": float, "sm_clock_hz": float, "memory_clock_hz": float,
    "temperature_c": float, "memory_used_bytes": int, "throttle_reasons": str,
}  # fmt: skip
_SAMPLE_BYTES = 256
"""Bytes of ``companion_bytes`` that a row of telemetry may use: as a dictionary it takes several times as much."""


def read_run(path: Path, limits: Limits = STANDARD) -> tuple[Run, bytes]:
    """Return run.json, and its text, from which predictions decode the rest of the configuration.

    Raises :class:`CompanionError`.
    """
    return _read(path, Run, limits)


def read_ceilings(path: Path, limits: Limits = STANDARD) -> Ceilings:
    """Return ceilings.json. Raises :class:`CompanionError`."""
    return _read(path, Ceilings, limits)[0]


def _read(path: Path, struct: type[_File], limits: Limits) -> tuple[_File, bytes]:
    with companion_errors(path, "expected the form that ridgeline writes"):
        text = read_bounded(path, limits)
        value = msgspec.json.decode(text, type=struct)
    # a field of a newer format may mean something else
    if value.format != FORMAT:
        raise CompanionError(f"{path}: format {value.format}, this ridgeline reads {FORMAT}")
    return value, text


def read_telemetry(path: Path, limits: Limits = STANDARD) -> list[dict[str, Any]]:
    """Return the rows of telemetry.csv that have a time; an empty cell is None. Raises :class:`CompanionError`."""
    most_samples = limits.companion_bytes // _SAMPLE_BYTES
    samples: list[dict[str, Any]] = []
    with companion_errors(path, f"expected the columns {', '.join(_TELEMETRY)}"):
        text = io.TextIOWrapper(io.BytesIO(read_bounded(path, limits)), encoding="utf-8", newline="")
        rows = csv.DictReader(text, strict=True)  # row by row, since a row takes more memory than its text
        if "time_ns" not in (rows.fieldnames or ["time_ns"]):  # an empty file has no samples
            raise ValueError("no column time_ns")
        for row in rows:
            sample = {name: kind(row[name]) if row.get(name) else None for name, kind in _TELEMETRY.items()}
            if any(isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 for value in sample.values()):
                raise ValueError(f"a value at time_ns {sample['time_ns']} does not fit 64 bits")
            if sample["time_ns"] is None:
                continue
            if len(samples) == most_samples:
                raise ValueError(f"more than {most_samples:,} samples, too many for this --memory")
            samples.append(sample)
    return samples
