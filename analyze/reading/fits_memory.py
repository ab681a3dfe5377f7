"""Whether a decoded trace can be loaded within a limit of memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import GROUPS, Columns
from ridgeline.analyze.resources.limits import DECODER_BYTES, in_words, resident_bytes

LIBRARY_BYTES = 200 << 20
"""This process with its imports and DuckDB's buffers, before it loads a trace."""
HALF_BYTES = 1000
"""Bytes of the begin or the end of a span, as an object."""
ROW_BYTES = {"device": 400, "launch": 100, "operator": 160, "annotation": 300, "frame": 60, "memory": 300}
"""Bytes of a row of each group at the peak, rounded up; measured by tests/bench/bench_memory.py. Frames are dropped
before the rows of the other groups are made: a trace of 5 GB with 3.4 million frames peaks at 1.4 GB."""


def check(path: Path, parts: Sequence[Columns], memory_bytes: int) -> None:
    """Raise :class:`TraceError` if loading the decoded trace is estimated to take more than ``memory_bytes``."""
    rows = {group: sum(part.rows(group) for part in parts) for group in GROUPS}
    row_bytes = dict(ROW_BYTES)
    if not rows["device"]:
        row_bytes["operator"] += ROW_BYTES["device"]  # without a device, operators are the activities too
    libraries = max(LIBRARY_BYTES, resident_bytes())
    needed = libraries + len(parts) * DECODER_BYTES + sum(rows[group] * row_bytes[group] for group in GROUPS)
    needed += HALF_BYTES * sum(len(part.halves) for part in parts)
    if needed > memory_bytes:
        raise TraceError(
            f"{path}: {sum(rows.values()):,} operators, launches and activities take about {in_words(needed)} of "
            f"memory, more than the {in_words(memory_bytes)} allowed: try --memory {math.ceil(needed / 1e9)}GB or "
            "record fewer steps"
        )
