"""A device's roofs as rows, and the file `ceilings.json` that keeps them. Imports no torch."""

from pathlib import Path
from typing import Any

import msgspec

from ridgeline.atomic_file import atomic_file
from ridgeline.capture import environment

FORMAT = 1
"""The version of the layout of ceilings.json."""

FILE_NAME = "ceilings.json"


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """One roof of a device.

    `resource` is `compute`, `bandwidth` or `latency`. `level` is the memory of a bandwidth, `dram` or `l2`, or `link`.
    `unit` (`tensor`, `vector`) and `precision` (`bf16`, ...) name what computes; the `unit` of a link is what is at its
    other end, `host` or `device`, and its value is of one direction. `value` is in `unit_of_value`: `FLOP/s`,
    `OP/s` for integers, `byte/s`, or `s` for the shortest duration of an operator. `method` says how the value was
    measured and which of the repeats counts.
    """

    resource: str
    level: str | None = None
    unit: str | None = None
    precision: str | None = None
    value: int | float
    unit_of_value: str
    source: str = "measured"
    method: str


def bandwidth(level: str, size_bytes: int, seconds: float, method: str) -> Ceiling:
    """The bandwidth of a memory level that moved `size_bytes` in `seconds`."""
    value = round(size_bytes / seconds)
    return Ceiling(resource="bandwidth", level=level, value=value, unit_of_value="byte/s", method=method)


def product(unit: str, precision: str, size: int, seconds: float, method: str) -> Ceiling:
    """The rate of a matrix product of `size` cubed that took `seconds`; a multiply-add counts 2."""
    value, of_value = round(2 * size**3 / seconds), "OP/s" if precision == "int8" else "FLOP/s"
    return Ceiling(
        resource="compute", unit=unit, precision=precision, value=value, unit_of_value=of_value, method=method
    )


def save(path: Path, measured: dict[str, Any]) -> None:
    """Write measured ceilings to `path`, completely or not at all. Raises OSError that names `path`."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")


def stored(path: Path, device: Any) -> dict[str, Any] | None:
    """The ceilings in the file `path` if it has this format and was measured on `device` by this torch, else None."""
    try:
        ceilings = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None
    here = environment.describe(device)
    # Another version of torch may choose other kernels.
    expected = {"format": FORMAT, "device": here.device, "torch": here.torch}
    return ceilings if expected.items() <= ceilings.items() else None
