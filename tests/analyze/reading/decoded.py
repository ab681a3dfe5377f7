"""Values of decoded columns, as a trace is assembled from them."""

from __future__ import annotations

from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.trace import column_blocks


def starts_ns(columns: Columns, group: str = "device") -> list[int]:
    return [start_ns for block in column_blocks(columns, group, "start_ns") for start_ns in block.tolist()]


def durations_ns(columns: Columns, group: str = "device") -> list[int]:
    return [duration_ns for block in column_blocks(columns, group, "duration_ns") for duration_ns in block.tolist()]
