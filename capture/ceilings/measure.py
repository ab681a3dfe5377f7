"""Measure the roofs of this device: the rates at which it reads, copies and multiplies."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ridgeline.capture import environment
from ridgeline.capture.ceilings.ceiling import FORMAT, save, stored


def measure(
    device: str = "auto", *, links: bool = False, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure the ceilings of `device` (`auto`, `cpu` or `cuda`) in a few seconds. The machine should be idle.

    With `links`, also those of its links to the host and to other devices.

    Returns the content of ceilings.json: format, device, date, versions and, under `ceilings`, rows of Ceiling.
    Raises DeviceError when the device is missing.
    """
    if "torch" not in sys.modules:
        environment.prepare()  # torch reads these settings once, when it is imported
    import torch

    from ridgeline.capture.ceilings import cpu, cuda

    where = environment.resolve(device)
    described = environment.describe(where)
    with torch.inference_mode():
        rows = (cuda if where.type == "cuda" else cpu).measure(where, progress)
        if links:
            from ridgeline.capture.ceilings import links as of_links

            rows += of_links.measure(where, progress)
    return {
        "format": FORMAT,
        "device": described.device,
        "device_kind": described.device_kind,
        "measured_on": datetime.now(UTC).date().isoformat(),
        "torch": described.torch,
        "driver": described.driver,
        "ceilings": [msgspec.to_builtins(row) for row in rows],
    }


def kept(path: Path, device: Any, *, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the ceilings of the torch `device` in the file `path`, else measure them and write the file."""
    ceilings = stored(path, device)
    if ceilings is None:
        ceilings = measure(device.type, progress=progress)
        save(path, ceilings)
    return ceilings


def write(path: Path | str, *, links: bool = False, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure the ceilings of this machine, save them to `path` and return them. Raises OSError."""
    measured = measure(links=links, progress=progress)
    save(Path(path), measured)
    return measured
