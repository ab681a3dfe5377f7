"""Place kernels on the roofline or in the bandwidth lane."""

import math
from collections.abc import Iterable

from ridgeline.reports.figures.machine import Decades, Frame
from ridgeline.reports.names import clip, shorten
from ridgeline.reports.queries import Row

# The symbol of a point beyond each edge of the frame.
EDGES = {"left": "triangle-left", "right": "triangle-right", "bottom": "triangle-down", "top": "triangle-up"}


def placed(rows: Iterable[Row], frame: Frame) -> list[Row]:
    """Return rows of ``sql/kernel_shapes.sql`` with ``short``, ``operands`` and the columns of :func:`place`."""
    return [
        {**row, "short": shorten(row["kernel"]), "operands": clip(row["shapes"] or "", 120), **place(row, frame)}
        for row in rows
    ]


def place(row: Row, frame: Frame) -> Row:
    """Return where a row's point lies: ``place`` (roofline, lane or none), ``x``, ``y`` and ``edge``.

    The row has ``flops``, ``dram_bytes`` and ``duration_ns``. With FLOPs and bytes the point lies on the roofline, with
    bytes alone in the bandwidth lane. A point beyond the frame lies at the edge that ``edge`` names.
    """
    flops, dram_bytes, duration = row["flops"] or 0, row["dram_bytes"] or 0, row["duration_ns"]
    if not dram_bytes or not duration:
        return {"place": "none", "x": None, "y": None, "edge": None}
    if not flops:
        x, edge = within(dram_bytes / duration * 1e9, frame.bytes_per_s, "left", "right")
        return {"place": "lane", "x": x, "y": None, "edge": edge}
    x, across = within(flops / dram_bytes, frame.intensity, "left", "right")
    y, along = within(flops / duration * 1e9, frame.flops_per_s, "bottom", "top")
    return {"place": "roofline", "x": x, "y": y, "edge": along or across}


def within(value: float, decades: Decades, low: str, high: str) -> tuple[float, str | None]:
    """Return the value and None, or the nearest end of the axis and that end's name.

    >>> within(0.5, (-2, 4), "left", "right"), within(1e-3, (-2, 4), "left", "right")
    ((0.5, None), (0.01, 'left'))
    """
    exponent = math.log10(value)
    if exponent < decades[0]:
        return 10.0 ** decades[0], low
    if exponent > decades[1]:
        return 10.0 ** decades[1], high
    return value, None
