"""A run directory: written under a temporary name, renamed when complete, so that it is either whole or absent."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from capture.config import Point
from capture.presets import PRESETS
from capture.records import FORMAT, Record
from capture.steps import Step

RETRIED = frozenset({"error"})
"""Outcomes that a second capture tries again; `ok` and `oom` are results."""


def config_of(point: Point, device_kind: str) -> dict[str, Any]:
    """The configuration as stored: the device it resolved to, and of a checkpoint only its directory's name."""
    stored = msgspec.to_builtins(point)
    for label in ("name", "experiment"):
        del stored[label]
    stored["device"] = device_kind
    stored["checkpoint"] = Path(point.checkpoint).name if point.checkpoint is not None else None
    return dict(stored)


def model_of(point: Point) -> dict[str, Any]:
    """The architecture of a point's model."""
    shape = PRESETS[point.model]
    keys = ("name", "hidden", "layers", "heads", "kv_heads", "ffn", "vocabulary", "parameters")
    return {key: getattr(shape, key) for key in keys}


def tokens_of(point: Point, steps: list[Step]) -> dict[str, Any]:
    """What a generation of these steps commits and processes, summed over the batch; forwards are counted by kind."""
    kinds = [step.kind for step in steps]
    return {
        "committed": point.batch * sum(step.tokens for step in steps),
        "processed": point.batch * sum(step.query for step in steps),
        "attended": point.batch * sum(step.query * step.context for step in steps),
        "forwards": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
    }


def read(directory: Path) -> Record | None:
    """The record of a complete run directory; None where there is none, or none of this format."""
    try:
        record = msgspec.json.decode((directory / "run.json").read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None
    return record if record.format == FORMAT else None


def difference(record: Record, point: Point, device_kind: str) -> str | None:
    """The first key in which a stored run is not the point's, with both values; None when it is the point's."""
    for key, value in config_of(point, device_kind).items():
        if record.config.get(key) != value:
            return f"{key} = {record.config.get(key)} there, {value} here"
    return None


def write_record(directory: Path, record: Record) -> None:
    """Write run.json."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    (directory / "run.json").write_bytes(text + b"\n")


@contextmanager
def written(final: Path) -> Iterator[Path]:
    """A temporary sibling to write into: it becomes `final` when the block ends, and vanishes when the block raises."""
    final.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, so that a folder searched for runs passes it over, and of this process, so that two never meet.
    temporary = final.parent / f".{final.name}.{os.getpid()}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
