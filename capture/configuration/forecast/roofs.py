"""The roofs that a prediction uses, without torch: measured in a folder, else those of a datasheet."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ridgeline.warehouse import datasheets

MEASURED = "ceilings.json"
STAND_IN = "NVIDIA H200"
"""The device that predictions assume where no device is found."""


class Roofs(msgspec.Struct, frozen=True, kw_only=True):
    """A device's peaks: FLOP/s by precision, and bytes per second of its DRAM. `of` names the device and the source."""

    of: str
    compute: Mapping[str, float]
    bytes_per_s: float

    def flops_per_s(self, dtype: str) -> float:
        """Return the peak of `dtype`, or the highest of all precisions if `dtype` has none of its own."""
        return self.compute.get(dtype) or max(self.compute.values())


def find(folder: Path | None = None) -> Roofs:
    """Return the roofs measured in `folder`, else those of this machine's device by its datasheet, else an H200's."""
    if folder is not None:
        with suppress(OSError, ValueError):
            return measured(folder / MEASURED)
    device = _device()
    entry = datasheets.match(*device) if device is not None else None
    if entry is not None:
        return of_rows(entry["ceilings"], f"{entry['device']} by its datasheet")
    # Predictions need some device; the description names it.
    (entry,) = [entry for entry in datasheets.devices() if entry["device"] == STAND_IN]
    return of_rows(entry["ceilings"], f"{STAND_IN} by its datasheet, as no known device is here")


def measured(path: Path) -> Roofs:
    """Return the roofs of a ceilings.json.

    Raises OSError for a file that cannot be read, and ValueError for one without a bandwidth and a peak.
    """
    try:
        stored = msgspec.json.decode(path.read_bytes())
        return of_rows(stored["ceilings"], f"{stored['device']} as measured in {path.name}")
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} does not have the form that ridgeline ceilings writes.") from error


def of_rows(rows: Iterable[Mapping[str, Any]], of: str) -> Roofs:
    """Return the roofs in rows of `ceilings`: the highest of each precision, and of DRAM.

    Raises ValueError for rows without a DRAM bandwidth or without a peak in FLOP/s; integer peaks do not count.
    """
    compute: dict[str, float] = {}
    bandwidths: list[float] = []
    for row in rows:
        if row["resource"] == "compute" and row["unit_of_value"] == "FLOP/s":
            compute[row["precision"]] = max(row["value"], compute.get(row["precision"], 0.0))
        elif row["resource"] == "bandwidth" and row.get("level") == "dram":
            bandwidths.append(row["value"])
    if not compute or not bandwidths:
        raise ValueError(f"{of}: no peak in FLOP/s or no DRAM bandwidth; expected both.")
    return Roofs(of=of, compute=compute, bytes_per_s=max(bandwidths))


def _device() -> tuple[str, int] | None:
    """Return name and memory in bytes of the first NVIDIA device, or None."""
    with suppress(Exception):  # No library, no driver and no device all mean that the device is unknown.
        import pynvml

        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            return str(pynvml.nvmlDeviceGetName(handle)), int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        finally:
            pynvml.nvmlShutdown()
    return None
