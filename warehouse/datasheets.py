"""Peaks from vendors' datasheets (``datasheets.json``): dense rates, each with its source."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


@cache
def devices() -> list[dict[str, Any]]:
    """The entries of ``datasheets.json``."""
    entries: list[dict[str, Any]] = json.loads(Path(__file__).with_name("datasheets.json").read_text())["devices"]
    return entries


def match(name: str, memory_bytes: int | None = None) -> dict[str, Any] | None:
    """The entry whose patterns fit a device's name and, where both are known, its memory; None for none or several."""
    found = [entry for entry in devices() if _fits(entry, name, memory_bytes)]
    return found[0] if len(found) == 1 else None


def _fits(entry: dict[str, Any], name: str, memory_bytes: int | None) -> bool:
    if not any(re.search(pattern, name) for pattern in entry["match"]):
        return False
    low, high = entry.get("memory_bytes") or (0, 1 << 62)
    return memory_bytes is None or low <= memory_bytes <= high


def ceiling_rows() -> Iterator[tuple[Any, ...]]:
    """Rows for the table ``ceilings``, in its columns' order."""
    for entry in devices():
        for c in entry["ceilings"]:
            method = f"{entry['source']}: {c['method']}"
            yield (
                None, entry["device"], c["resource"], c["level"], c["unit"], c["precision"],
                float(c["value"]), c["unit_of_value"], "datasheet", method, None,
            )  # fmt: skip
