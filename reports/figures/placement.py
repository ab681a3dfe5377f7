"""Points: kernels by shape, with their place on the roofline or in the bandwidth lane."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ridgeline.reports.figures.machine import Decades, Frame
from ridgeline.reports.names import clip, shorten
from ridgeline.reports.queries import Row

EDGES = {"left": "triangle-left", "right": "triangle-right", "bottom": "triangle-down", "top": "triangle-up"}
"""The mark of a point beyond each edge of the frame."""


def placed(rows: Iterable[Row], frame: Frame) -> list[Row]:
    """Rows of ``sql/points.sql`` with ``short``, ``place`` (roofline, lane or none), ``x``, ``y`` and ``edge``.

    A point beyond the frame stands at the edge it left, which ``edge`` names; its own numbers are unchanged.
    """
    return [{**row, **_names(row), **place(row, frame)} for row in rows]


def _names(row: Row) -> Row:
    return {"short": shorten(row["kernel"]), "operands": clip(row["shapes"] or "", 120)}


def place(row: Row, frame: Frame) -> Row:
    """Where a point stands: by arithmetic where it has FLOPs and bytes, by bandwidth where it has bytes only."""
    flops, moved, duration = row["flops"] or 0, row["dram_bytes"] or 0, row["duration_ns"]
    if not moved or not duration:
        return {"place": "none", "x": None, "y": None, "edge": None}
    if not flops:
        x, edge = within(moved / duration * 1e9, frame.bytes_per_s, "left", "right")
        return {"place": "lane", "x": x, "y": None, "edge": edge}
    x, across = within(flops / moved, frame.intensity, "left", "right")
    y, along = within(flops / duration * 1e9, frame.flops_per_s, "bottom", "top")
    return {"place": "roofline", "x": x, "y": y, "edge": along or across}


def within(value: float, decades: Decades, low: str, high: str) -> tuple[float, str | None]:
    """The value, or the end of the axis it lies beyond and that end's name.

    >>> within(0.5, (-2, 4), "left", "right"), within(1e-3, (-2, 4), "left", "right")
    ((0.5, None), (0.01, 'left'))
    """
    exponent = math.log10(value)
    if exponent < decades[0]:
        return 10.0 ** decades[0], low
    if exponent > decades[1]:
        return 10.0 ** decades[1], high
    return value, None
