"""Peaks from vendors' datasheets (``datasheets.json``): dense rates, each with its source.

This module imports no DuckDB, so a machine that only captures can read it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
"""``device``, ``match``, ``memory_bytes``, ``multiprocessors``, ``l2_bytes``, ``source``, ``ceilings``."""

_UNNAMED = frozenset({"", "AMD Radeon Graphics"})
"""What ROCm reports of a device whose name its tables lack."""
_GIB = 1 << 30
_UNNAMED_BY_SIZE = {
    (304, 192): "AMD Instinct MI300X", (304, 256): "AMD Instinct MI325X", (228, 128): "AMD Instinct MI300A",
    (110, 64): "AMD Instinct MI250X", (104, 64): "AMD Instinct MI210",
}  # fmt: skip
"""AMD's devices by compute units and GiB of memory. A die of an MI250 has the peaks of an MI210; the MI350X and the
MI355X differ in neither number, so neither is here.
"""
_MAKERS_WORDS = {"nvidia", "amd", "intel", "r", "instinct", "geforce", "rtx", "tesla"}
_MOST_NAMES = 5


@cache
def devices() -> list[Entry]:
    """Return the entries of ``datasheets.json``."""
    entries: list[Entry] = json.loads(Path(__file__).with_name("datasheets.json").read_text())["devices"]
    return entries


def match(name: str, memory_bytes: int | None = None, multiprocessors: int | None = None) -> Entry | None:
    """Return the only entry that fits a device's name, memory in bytes and multiprocessors; None if none or several do.

    Devices of one name differ by memory (H100 80GB and 94GB). An entry without a range of memory fits any. A device of
    AMD with fewer compute units than its entry is a partition, which has a part of the rates; a slice of an NVIDIA
    device (MIG) has a name that no entry fits. A device without a name is known by its compute units and its memory.
    """
    # clouds pass AMD's devices on as virtual functions
    name = name.strip().removesuffix(" VF")
    if name in _UNNAMED and memory_bytes and multiprocessors:
        name = _UNNAMED_BY_SIZE.get((multiprocessors, round(memory_bytes / _GIB / 32) * 32), "")
    matches = [
        entry
        for entry in devices()
        if any(re.search(pattern, name) for pattern in entry["match"])
        and _fits(entry, memory_bytes, multiprocessors if name.startswith("AMD ") else None)
    ]
    return matches[0] if len(matches) == 1 else None


def _fits(entry: Entry, memory_bytes: int | None, multiprocessors: int | None) -> bool:
    low, high = entry.get("memory_bytes") or (0, 1 << 62)
    fits_memory = memory_bytes is None or low <= memory_bytes <= high
    return fits_memory and multiprocessors in (None, entry.get("multiprocessors", multiprocessors))


def named(name: str) -> Entry:
    """Return the entry that a user names: a device's full name (`NVIDIA A100-SXM4-80GB`), or words of it (`a100 80gb`).

    Of several entries with these words, the one without further words is chosen, else the SXM one, else the one with
    the highest bandwidth. Raises ``LookupError`` with close names if there is none.
    """
    words = _words(name)
    exact = [entry for entry in devices() if name and any(re.search(each, name) for each in entry["match"])]
    matches = exact or [entry for entry in devices() if words and words <= _words(entry["device"])]
    if matches:
        return max(matches, key=lambda each: (_words(each["device"]) == words, "SXM" in each["device"], _dram(each)))
    by_lower = {entry["device"].lower(): entry["device"] for entry in devices()}
    by_lower |= {" ".join(sorted(_words(device))): device for device in by_lower.values()}
    close = difflib.get_close_matches(" ".join(sorted(words)), by_lower, n=_MOST_NAMES, cutoff=0.5)
    raise LookupError(", ".join(dict.fromkeys(by_lower[each] for each in close or by_lower)))


def _words(name: str) -> set[str]:
    """Return the words of a device's name without its maker's."""
    return set(re.findall(r"[a-z0-9]+", re.sub(r"sxm\d", "sxm", name.lower()))) - _MAKERS_WORDS


def _dram(entry: Entry) -> int:
    return max(int(row["value"]) for row in entry["ceilings"] if row.get("level") == "dram")


def ceiling_rows() -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the table ``ceilings`` that datasheets give, in the order of its columns."""
    for entry in devices():
        for c in entry["ceilings"]:
            method = f"{entry['source']}: {c['method']}"
            yield (
                None, entry["device"], c["resource"], c["level"], c["unit"], c["precision"],
                float(c["value"]), c["unit_of_value"], "datasheet", method, None,
            )  # fmt: skip
