"""Run directories: written under a temporary name and renamed when complete, so that each is whole or absent."""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import msgspec

from ridgeline.atomic_file import atomic_directory
from ridgeline.capture.ceilings.ceiling import FILE_NAME as CEILINGS
from ridgeline.capture.configuration.point import LOCAL, Point
from ridgeline.capture.configuration.presets import shape_of
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.records import FORMAT, Environment, Record
from ridgeline.capture.steps import Step

RETRIED = frozenset({"error"})
"""The outcomes that a second capture tries again. `ok` and `oom` are results and stay."""

LABELS = ("name", "experiment", *LOCAL)
"""The fields of a point that are not stored under `config`: labels, which do not change the work, and paths."""

PERMISSIONS = frozenset({"beyond_training"})
"""The stored keys that permit a point and do not change its work."""


def config_of(point: Point, device_kind: str) -> dict[str, Any]:
    """The configuration of `point` as run.json stores it.

    `device` becomes the resolved device kind, a checkpoint and a file of prompts their names, without the path.
    """
    config: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(point))  # tuples become lists, as in the file
    for label in LABELS:
        del config[label]
    config["device"] = device_kind
    for key in ("checkpoint", "prompts"):
        config[key] = Path(config[key]).name if config[key] is not None else None
    return config


def config_in(record: Record) -> dict[str, Any]:
    """The configuration of a stored run, with today's default for each key that is younger than the run."""
    fields = {field.name: field.default for field in msgspec.structs.fields(Point) if field.name not in LABELS}
    return {key: value for key, value in fields.items() if value is not msgspec.NODEFAULT} | record.config


def model_of(point: Point) -> dict[str, Any]:
    """The architecture and parameter count of the model of `point`."""
    shape = shape_of(point)
    keys = ("name", "hidden", "layers", "heads", "kv_heads", "ffn", "vocabulary", "parameters")
    return {key: getattr(shape, key) for key in keys}


def tokens_of(point: Point, steps: Sequence[Step], committed: int) -> dict[str, Any]:
    """Counts of a generation: tokens committed, positions processed, pairs attended to, and forwards by kind.

    All but `forwards` are sums over the batch. With guidance each sequence is processed twice.
    """
    return {
        "committed": committed,
        "processed": point.sequences * sum(step.query for step in steps),
        "attended": point.sequences * sum(step.query * step.context for step in steps),
        "forwards": dict(Counter(step.kind for step in steps)),
    }


def unfinished(point: Point, environment: Environment, *, outcome: str = "ok", message: str | None = None) -> Record:
    """The record of a point without measurements; where it will get none, `message` says why."""
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
    """The record of the run directory `directory`; None where run.json is missing, damaged or of another format."""
    try:
        record = msgspec.json.decode((directory / "run.json").read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None
    return record if record.format == FORMAT else None


class Named(msgspec.Struct):
    """What every run.json has, also one that another program wrote."""

    format: int
    name: str
    outcome: str


def is_run(path: Path) -> bool:
    """Whether `path` is a run directory, of any program and format."""
    try:
        msgspec.json.decode((path / "run.json").read_bytes(), type=Named)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def refuse(path: Path) -> None:
    """Raise CaptureError where `path` cannot be written, and where it is neither free, a run, nor a folder of ranks."""
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise CaptureError(f"{path} cannot be written: {above} is no folder or not writable; choose another path.")
    if path.exists() and not is_run(path) and not _holds_ranks(path):
        raise CaptureError(f"{path} exists and is no run; expected a run or nothing there: choose another path.")


def _holds_ranks(path: Path) -> bool:
    """Whether `path` is a folder that holds nothing but the runs of ranks, whole or being written, and ceilings."""
    return path.is_dir() and all(
        child.name == CEILINGS or rank_of(child) is not None or child.name.startswith(".rank")
        for child in path.iterdir()
    )


def rank_of(path: Path) -> int | None:
    """The rank whose run directory `path` is, None for anything else."""
    number = path.name.removeprefix("rank")
    return int(number) if path.name.startswith("rank") and number.isdecimal() and is_run(path) else None


def make_room_for_ranks(path: Path, world_size: int) -> None:
    """Remove what earlier recordings left in the folder of a job: a run without ranks, and ranks beyond `world_size`.

    Any rank may call it at any time.
    """
    with suppress(FileNotFoundError):  # another rank removes it too
        if is_run(path):
            empty(path, but=[path / CEILINGS, *path.glob("rank*"), *path.glob(".rank*")])
        for child in path.glob("rank*"):
            if (rank_of(child) or 0) >= world_size:
                shutil.rmtree(child)


def stored(folder: Path) -> Iterator[Record]:
    """The records of all complete run directories in `folder`, sorted by name."""
    for file in sorted(folder.glob("*/run.json")):
        # Hidden directories are unfinished runs.
        if not file.parent.name.startswith(".") and (record := read(file.parent)) is not None:
            yield record


def difference(record: Record, point: Point, device_kind: str) -> str | None:
    """The first key whose stored value differs from `point`'s, with both values; None where the work is the same."""
    config = config_in(record)
    for key, value in config_of(point, device_kind).items():
        if key not in PERMISSIONS and config.get(key) != value:
            return f"{key} = {config.get(key)} there, {value} here"
    return None


def write_record(directory: Path, record: Record | dict[str, Any]) -> None:
    """Write run.json into `directory`. A `record` that is a dictionary has at least the fields of Named."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    (directory / "run.json").write_bytes(text + b"\n")


def empty(directory: Path, *, but: Collection[Path] = ()) -> None:
    """Remove the content of `directory` except the paths in `but`."""
    for path in set(directory.iterdir()) - set(but):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def written(final: Path, *, replace: bool = False) -> AbstractContextManager[Path]:
    """Yield a temporary directory that becomes the run directory `final` when the block ends.

    It is deleted if the block raises, and where another process has meanwhile written a `final` that needs no retry.
    With `replace` it takes the place of any run, and of the runs of ranks, in `final`.
    Raises OSError, with the name of `final`, where the folder cannot be written or `final` is not a run directory, and
    with `replace` CaptureError as `refuse` does.
    """
    final.parent.mkdir(parents=True, exist_ok=True)

    def publish(temporary: Path, path: Path) -> None:
        if replace:
            refuse(path)
            if path.exists():
                shutil.rmtree(path)
        elif (existing := read(path)) is not None:
            if existing.outcome not in RETRIED:
                return
            shutil.rmtree(path)
        # A directory without a readable run.json may hold anything: it stays, and the rename onto it raises.
        temporary.rename(path)

    return atomic_directory(final, publish)
