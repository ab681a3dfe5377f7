"""This device's roofs: what it can really read, copy and multiply, measured."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

FORMAT = 1
FILE_NAME = "ceilings.json"


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """One roof.

    `resource` is `compute`, `bandwidth` or `latency`; `level` the memory of a bandwidth (`dram`, `l2`); `unit` and
    `precision` what computes (`tensor` or `vector`; `bf16`, ...). `value` is in `unit_of_value`: `FLOP/s`, `OP/s` for
    integers, `byte/s`, or `s` for the shortest time anything takes. `method` says how, and which of the repeats counts.
    """

    resource: str
    level: str | None = None
    unit: str | None = None
    precision: str | None = None
    value: int | float
    unit_of_value: str
    source: str = "measured"
    method: str


def measure(device: str = "auto", *, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure a device's ceilings: `auto`, `cpu` or `cuda`. Seconds, on an otherwise idle machine.

    The result is what ceilings.json holds: format, device, date, versions, and the rows of Ceiling under `ceilings`.
    Raises DeviceError when the device is not there.
    """
    from ridgeline.capture import runtime

    runtime.prepare()
    import torch

    from ridgeline.capture import environment
    from ridgeline.capture.ceilings import cpu as ceilings_cpu
    from ridgeline.capture.ceilings import cuda as ceilings_cuda

    where = environment.resolve(device)
    described = environment.describe(where)
    with torch.inference_mode():
        rows = (ceilings_cuda if where.type == "cuda" else ceilings_cpu).measure(where, progress)
    return {
        "format": FORMAT,
        "device": described.device,
        "device_kind": described.device_kind,
        "measured_on": datetime.now(UTC).date().isoformat(),
        "torch": described.torch,
        "driver": described.driver,
        "ceilings": [msgspec.to_builtins(row) for row in rows],
    }


def write(
    path: Path | str, *, device: str = "auto", progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure a device's ceilings into a file; what was written. Raises as `measure` does, and OSError."""
    measured = measure(device, progress=progress)
    save(Path(path), measured)
    return measured


def save(path: Path, measured: dict[str, Any]) -> None:
    """Write measured ceilings to a file, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")
        part.replace(path)
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    finally:
        with suppress(OSError):  # where the folder is read-only
            part.unlink(missing_ok=True)


def stored(path: Path, device: Any) -> dict[str, Any] | None:
    """The ceilings in a file, if they are of this torch device and this version of torch."""
    from ridgeline.capture import environment

    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None
    described = environment.describe(device)
    same = found.get("device") == described.device and found.get("torch") == described.torch
    return found if same and found.get("format") == FORMAT else None
