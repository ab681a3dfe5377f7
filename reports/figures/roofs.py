"""Draw a machine's roofs with their labels, on axes that follow from the machine."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from ridgeline.reports.figures.layout import FONT, QUIET, Spec, axis, layout, log_axis, scatter
from ridgeline.reports.figures.machine import Frame, Machine, Roof, highest
from ridgeline.reports.names import escape

HEIGHT, WIDTH = 620, 1180
MARGIN = {"l": 84, "r": 246, "t": 14, "b": 52}
# Least distance in pixels between the labels of two compute roofs.
LABEL_GAP = 15
# Where along the axis memory roofs are labelled: few points lie between pointwise arithmetic and matrix products.
LABEL_AT = 0.44
DASH = {"measured": "solid", "datasheet": "dash"}

# Pairs of compute unit and precision.
UsedPeaks = Collection[tuple[str | None, str | None]]


def skeleton(machine: Machine, used: UsedPeaks | None = None) -> Spec:
    """Return axes and roofs of a roofline: all memory roofs, and the compute roofs that are ``used``, or all."""
    frame, peaks = machine.frame, _distinct_peaks(machine, used)
    low, high = (10.0**e for e in frame.intensity)
    lines = []
    for roof in machine.bandwidths:
        # From the left or the lower edge to the ridge point under the highest compute roof.
        x = [max(low, 10.0 ** frame.flops_per_s[0] / roof.value), min(high, _ridge(roof, peaks))]
        lines.append(_line(roof, x, [roof.value * x[0], roof.value * x[1]]))
    for roof in peaks:
        # From the intensity at which the fastest memory of the same source feeds it to the right edge.
        start = roof.value / (highest(machine.bandwidths, roof.source) or roof.value)
        lines.append(_line(roof, [min(max(start, low), high), high], [roof.value, roof.value]))
    return {
        "data": lines,
        "layout": layout(
            HEIGHT,
            margin=MARGIN,
            xaxis=log_axis("arithmetic intensity, FLOP per byte of DRAM traffic", frame.intensity),
            yaxis=log_axis("achieved FLOP/s", frame.flops_per_s, "FLOP/s"),
            annotations=[*_peak_labels(peaks, frame), *_slope_labels(machine, peaks)],
        ),
    }


def lane(machine: Machine, families: Sequence[str]) -> Spec:
    """Return the axes of the bandwidth lane: one row a family, and the DRAM roofs as vertical lines."""
    roofs = sorted((roof for roof in machine.bandwidths if roof.level == "dram"), key=lambda roof: roof.value)
    rows = list(reversed(families))
    upright = {"type": "line", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "name": "roof"}
    labels = []
    for i, roof in enumerate(roofs):
        # The label of the lower roof lies left of its line, the others right of theirs, so that two do not meet.
        side = {"xanchor": "left", "xshift": -2} if i else {"xanchor": "right", "xshift": 2}
        labels.append(_label("upright", roof, yref="paper", x=math.log10(roof.value), y=1, yanchor="bottom", **side))
    return {
        "data": [],
        "layout": layout(
            72 + 30 * max(len(rows), 1) + 18,
            margin=MARGIN | {"t": 24},
            xaxis=log_axis("achieved DRAM bandwidth", machine.frame.bytes_per_s, "B/s"),
            yaxis=axis("", type="category", categoryarray=rows, categoryorder="array", range=[-0.6, len(rows) - 0.4]),
            shapes=[{**upright, "x0": roof.value, "x1": roof.value, "line": _stroke(roof)} for roof in roofs],
            annotations=labels,
        ),
    }


def _distinct_peaks(machine: Machine, used: UsedPeaks | None) -> list[Roof]:
    """Return the compute roofs to draw, highest first; roofs of one value, as bf16 and fp16 often have, are merged."""

    def likeness(roof: Roof) -> tuple[Any, ...]:
        return (-roof.value, roof.source, roof.unit or "", roof.unit_of_value)

    chosen = [roof for roof in machine.peaks if used is None or (roof.unit, roof.precision) in used]
    merged = []
    for _, group in groupby(sorted(chosen or machine.peaks, key=likeness), key=likeness):
        roofs = list(group)
        precisions = dict.fromkeys(roof.precision or "" for roof in roofs)
        merged.append(replace(roofs[0], precision="/".join(precisions)))
    return merged


def _ridge(roof: Roof, peaks: Sequence[Roof]) -> float:
    """Return the intensity at which a memory roof meets the highest compute roof of its source, or of any."""
    return (highest(peaks, roof.source) or math.inf) / roof.value


def _line(roof: Roof, x: list[float], y: list[float]) -> Spec:
    # The page finds a roof, and what it limits, by its `meta`.
    meta = {key: getattr(roof, key) for key in ("resource", "source", "value", "unit", "precision", "level")}
    more = {"hoverinfo": "skip", "line": _stroke(roof), "meta": {"role": "roof", **meta}}
    return scatter("lines", x, y, name=escape(roof.label), **more)


def _stroke(roof: Roof) -> Spec:
    return {"color": QUIET, "width": 1.6 if roof.source == "measured" else 1.1, "dash": DASH.get(roof.source, "dot")}


def _peak_labels(peaks: list[Roof], frame: Frame) -> list[Spec]:
    """Return labels at the right ends of compute roofs, pushed down where they would touch the one above."""
    pixels_per_decade = (HEIGHT - MARGIN["t"] - MARGIN["b"]) / (frame.flops_per_s[1] - frame.flops_per_s[0])
    fixed = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 8, "yanchor": "middle"}
    labels, lowest = [], math.inf
    for roof in sorted(peaks, key=lambda r: -r.value):
        level = (math.log10(roof.value) - frame.flops_per_s[0]) * pixels_per_decade
        lowest = min(level, lowest - LABEL_GAP)
        labels.append(_label("end", roof, **fixed, y=math.log10(roof.value), yshift=lowest - level))
    return labels


def _slope_labels(machine: Machine, peaks: Sequence[Roof]) -> list[Spec]:
    """Return labels along memory roofs: above the line, but below it for the lower roof of a level that has two."""
    left, right = machine.frame.intensity
    bottom, top = machine.frame.flops_per_s
    # A memory roof rises by one decade a decade; its angle on screen depends on the pixels that each decade has.
    across = (WIDTH - MARGIN["l"] - MARGIN["r"]) / (right - left)
    along = (HEIGHT - MARGIN["t"] - MARGIN["b"]) / (top - bottom)
    angle = math.atan2(along, across)
    labels = []
    for roof in machine.bandwidths:
        x = min(LABEL_AT * right + (1 - LABEL_AT) * left, math.log10(_ridge(roof, peaks)) - 0.6)
        side = -1 if any(other.level == roof.level and other.value > roof.value for other in machine.bandwidths) else 1
        # Nine pixels off the line, at a right angle to it.
        shift = {"xshift": -9 * side * math.sin(angle), "yshift": 9 * side * math.cos(angle)}
        name = "slope above" if side > 0 else "slope below"
        labels.append(_label(name, roof, x=x, y=x + math.log10(roof.value), textangle=-math.degrees(angle), **shift))
    return labels


def _label(name: str, roof: Roof, **where: Any) -> Spec:
    """Return a roof's label; the page decides by ``name`` how to move it when the plot changes its size."""
    font = {"family": FONT, "size": 11, "color": QUIET}
    return {"name": name, "text": escape(roof.label), "showarrow": False, "font": font, **where}
