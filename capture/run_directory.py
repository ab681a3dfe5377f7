"""A run directory: written under a temporary name, renamed when complete, so that it is either whole or absent."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from ridgeline.atomic_file import atomic_directory
from ridgeline.capture.configuration.points import Point
from ridgeline.capture.configuration.presets import shape_of
from ridgeline.capture.records import FORMAT, Environment, Record
from ridgeline.capture.steps import Step

RETRIED = frozenset({"error"})
"""Outcomes that a second capture tries again; `ok` and `oom` are results."""

LABELS = ("name", "experiment")
"""The keys of a point that change nothing in what is run."""

PERMISSIONS = frozenset({"beyond_training"})
"""Of the keys that are stored, those that say what may be run and change nothing in it."""


def config_of(point: Point, device_kind: str) -> dict[str, Any]:
    """The configuration as stored: the device it resolved to, and of a checkpoint only its directory's name."""
    stored = msgspec.json.decode(msgspec.json.encode(point))  # As it will be read: a tuple is a list there.
    for label in LABELS:
        del stored[label]
    stored["device"] = device_kind
    stored["checkpoint"] = Path(point.checkpoint).name if point.checkpoint is not None else None
    return dict(stored)


def config_in(record: Record) -> dict[str, Any]:
    """The configuration of a stored run. Of a key that came after it, it ran what is now the default."""
    fields = {field.name: field.default for field in msgspec.structs.fields(Point) if field.name not in LABELS}
    return {key: value for key, value in fields.items() if value is not msgspec.NODEFAULT} | record.config


def model_of(point: Point) -> dict[str, Any]:
    """The architecture of a point's model."""
    shape = shape_of(point)
    keys = ("name", "hidden", "layers", "heads", "kv_heads", "ffn", "vocabulary", "parameters")
    return {key: getattr(shape, key) for key in keys}


def tokens_of(point: Point, steps: list[Step], committed: int) -> dict[str, Any]:
    """What a generation of these steps committed and processed, summed over the batch; forwards are counted by kind.

    Guided, each sequence is processed twice.
    """
    kinds = [step.kind for step in steps]
    return {
        "committed": committed,
        "processed": point.sequences * sum(step.query for step in steps),
        "attended": point.sequences * sum(step.query * step.context for step in steps),
        "forwards": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
    }


def unfinished(point: Point, environment: Environment, *, outcome: str, message: str) -> Record:
    """The record of a point that has nothing to show but its outcome."""
    return Record(
        name=point.directory,
        experiment=point.experiment,
        config=config_of(point, environment.device_kind),
        model=model_of(point),
        environment=environment,
        outcome=outcome,
        message=message,
    )


def read(directory: Path) -> Record | None:
    """The record of a complete run directory; None where there is none, or none of this format."""
    try:
        record = msgspec.json.decode((directory / "run.json").read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None
    return record if record.format == FORMAT else None


def stored(folder: Path) -> Iterator[Record]:
    """The records of all complete run directories in a folder, by name."""
    for file in sorted(folder.glob("*/run.json")):
        record = None if file.parent.name.startswith(".") else read(file.parent)
        if record is not None:
            yield record


def difference(record: Record, point: Point, device_kind: str) -> str | None:
    """The first key in which a stored run is not the point's, with both values; None when it is the point's."""
    there = config_in(record)
    for key, value in config_of(point, device_kind).items():
        if key not in PERMISSIONS and there.get(key) != value:
            return f"{key} = {there.get(key)} there, {value} here"
    return None


def write_record(directory: Path, record: Record) -> None:
    """Write run.json."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    (directory / "run.json").write_bytes(text + b"\n")


def empty(directory: Path, *, but: Collection[Path] = ()) -> None:
    """Remove what is in a directory, but for the paths given."""
    for path in set(directory.iterdir()) - set(but):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def written(final: Path) -> AbstractContextManager[Path]:
    """Yield a temporary directory that becomes the run directory `final` when the block ends.

    It is deleted instead if the block raises, or if another process has written a `final` that needs no second try.
    Raises OSError for a `final` that is no run directory, and leaves it as it is.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    return atomic_directory(final, _publish)


def _publish(temporary: Path, final: Path) -> None:
    existing = read(final)
    if existing is not None and existing.outcome in RETRIED:
        shutil.rmtree(final)
        existing = None
    if existing is None:
        temporary.rename(final)
