"""The roofs a prediction is made with, found without importing torch: measured in a folder, else from a datasheet."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

MEASURED = "ceilings.json"
DATASHEETS = Path(__file__).parents[2] / "warehouse" / "datasheets.json"
"""Read as a file: importing `warehouse` would import DuckDB, which a machine that only captures need not have."""

STAND_IN = "NVIDIA H200"
"""The device to predict for where none is found."""


class Roofs(msgspec.Struct, frozen=True, kw_only=True):
    """A device's rates: FLOP/s by precision, and bytes a second of its memory. `of` says whose, and how known."""

    of: str
    compute: Mapping[str, float]
    bytes_per_s: float

    def flops_per_s(self, dtype: str) -> float:
        """The peak for a dtype; for one without a row of its own, the highest there is."""
        return self.compute.get(dtype) or max(self.compute.values())


def find(folder: Path | None = None) -> Roofs:
    """The roofs measured in a folder, else those of this machine's device by its datasheet, else an H200's."""
    measured = _measured(folder / MEASURED) if folder is not None else None
    if measured is not None:
        return measured
    device = _device()
    entry = _datasheet(*device) if device is not None else None
    if entry is None:
        (entry,) = [entry for entry in _entries() if entry["device"] == STAND_IN]
        return _roofs(entry["ceilings"], f"{STAND_IN} by its datasheet, for want of one known here")
    return _roofs(entry["ceilings"], f"{entry['device']} by its datasheet")


def _measured(path: Path) -> Roofs | None:
    """The roofs of a ceilings.json; None where there is none that says enough."""
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return _roofs(stored["ceilings"], f"{stored['device']} as measured in {path.name}")
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


def _roofs(rows: list[dict[str, Any]], of: str) -> Roofs:
    """Roofs from rows of Ceiling: the highest of several. Raises ValueError where there is no bandwidth or no peak."""
    compute: dict[str, float] = {}
    for row in rows:
        if row["resource"] == "compute" and row["unit_of_value"] == "FLOP/s":
            compute[row["precision"]] = max(row["value"], compute.get(row["precision"], 0.0))
    bandwidth = max(row["value"] for row in rows if row["resource"] == "bandwidth" and row.get("level") == "dram")
    if not compute:
        raise ValueError(f"{of}: no peak rate of any precision.")
    return Roofs(of=of, compute=compute, bytes_per_s=bandwidth)


def _entries() -> list[dict[str, Any]]:
    """The devices of the datasheets."""
    entries: list[dict[str, Any]] = msgspec.json.decode(DATASHEETS.read_bytes())["devices"]
    return entries


def _datasheet(name: str, memory_bytes: int) -> dict[str, Any] | None:
    """The one entry that fits a device's name and memory; None for none or several."""
    found = [
        entry
        for entry in _entries()
        if any(re.search(pattern, name) for pattern in entry["match"])
        and (not entry.get("memory_bytes") or entry["memory_bytes"][0] <= memory_bytes <= entry["memory_bytes"][1])
    ]
    return found[0] if len(found) == 1 else None


def _device() -> tuple[str, int] | None:
    """Name and memory of the first NVIDIA device, or None."""
    with suppress(Exception):  # No library, no driver, no device: all the same here.
        import pynvml

        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            return str(pynvml.nvmlDeviceGetName(handle)), int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        finally:
            pynvml.nvmlShutdown()
    return None
