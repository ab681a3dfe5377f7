"""Peaks from vendors' datasheets (``datasheets.json``): dense rates, each with its source.

This module imports no DuckDB, so a machine that only captures can read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


@cache
def devices() -> list[dict[str, Any]]:
    """Return the entries of ``datasheets.json``: ``device``, ``match``, ``memory_bytes``, ``source``, ``ceilings``."""
    entries: list[dict[str, Any]] = json.loads(Path(__file__).with_name("datasheets.json").read_text())["devices"]
    return entries


def match(name: str, memory_bytes: int | None = None) -> dict[str, Any] | None:
    """Return the only entry that fits a device's name and memory in bytes; None if none fits or several do.

    Devices of one name differ by memory (H100 80GB and 94GB). An entry without a range of memory fits any.
    """
    matches = []
    for entry in devices():
        low, high = entry.get("memory_bytes") or (0, 1 << 62)
        fits_memory = memory_bytes is None or low <= memory_bytes <= high
        # clouds pass AMD's devices on as virtual functions
        if fits_memory and any(re.search(pattern, name.removesuffix(" VF")) for pattern in entry["match"]):
            matches.append(entry)
    return matches[0] if len(matches) == 1 else None


def ceiling_rows() -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the table ``ceilings`` that datasheets give, in the order of its columns."""
    for entry in devices():
        for c in entry["ceilings"]:
            method = f"{entry['source']}: {c['method']}"
            yield (
                None, entry["device"], c["resource"], c["level"], c["unit"], c["precision"],
                float(c["value"]), c["unit_of_value"], "datasheet", method, None,
            )  # fmt: skip
