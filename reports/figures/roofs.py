"""The frame of a roofline: axes from the machine's ceilings, and its roofs with their labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from ridgeline.reports.figures.layout import FONT, QUIET, Spec, axis, layout, log_axis
from ridgeline.reports.figures.machine import Frame, Machine, Roof
from ridgeline.reports.names import escape

HEIGHT, WIDTH = 620, 1180
MARGIN = {"l": 84, "r": 246, "t": 14, "b": 52}
LABEL_GAP = 15
LABEL_AT = 0.44
"""How far along the axis memory roofs are labelled: between pointwise arithmetic and matrix products, where few are."""
DASH = {"measured": "solid", "datasheet": "dash"}

Used = Collection[tuple[str | None, str | None]]
"""Pairs of unit and precision."""


def skeleton(machine: Machine, used: Used | None = None, height: int = HEIGHT) -> Spec:
    """Axes and roofs: all memory roofs, and of the compute roofs those ``used``, or all."""
    frame = machine.frame
    peaks = _same(_wanted(machine.peaks, used))
    return {
        "data": [
            *(_diagonal(roof, peaks, frame) for roof in machine.bandwidths),
            *(_plateau(roof, machine, frame) for roof in peaks),
        ],
        "layout": layout(
            height,
            margin=MARGIN,
            xaxis=log_axis("arithmetic intensity, FLOP per byte of DRAM traffic", frame.intensity),
            yaxis=log_axis("achieved FLOP/s", frame.flops_per_s, "FLOP/s"),
            annotations=[*_ends(peaks, frame, height), *_slopes(machine, peaks, frame, height)],
        ),
    }


def lane(machine: Machine, families: Sequence[str]) -> Spec:
    """Axes of the bandwidth lane: one row a family, and the DRAM roofs as vertical lines."""
    frame, rows = machine.frame, list(reversed(families))
    roofs = [roof for roof in machine.bandwidths if roof.level == "dram"]
    return {
        "data": [],
        "layout": layout(
            72 + 30 * max(len(rows), 1) + 18,
            margin=MARGIN | {"t": 24},
            xaxis=log_axis("achieved DRAM bandwidth", frame.bytes_per_s, "B/s"),
            yaxis=axis("", type="category", categoryarray=rows, categoryorder="array", range=[-0.6, len(rows) - 0.4]),
            shapes=[_upright(roof) for roof in roofs],
            annotations=[_upright_label(roof, i) for i, roof in enumerate(sorted(roofs, key=lambda r: r.value))],
        ),
    }


def _wanted(peaks: list[Roof], used: Used | None) -> list[Roof]:
    chosen = [roof for roof in peaks if used is None or (roof.unit, roof.precision) in used]
    return chosen or peaks


def _same(peaks: list[Roof]) -> list[Roof]:
    """Roofs of one value as one: bf16 and fp16 often share theirs."""
    groups = groupby(sorted(peaks, key=_likeness), key=_likeness)
    return [_together(list(group)) for _, group in groups]


def _likeness(roof: Roof) -> tuple[Any, ...]:
    return (-roof.value, roof.source, roof.unit or "", roof.unit_of_value)


def _together(roofs: list[Roof]) -> Roof:
    return replace(roofs[0], precision="/".join(dict.fromkeys(roof.precision or "" for roof in roofs)))


def _plateau(roof: Roof, machine: Machine, frame: Frame) -> Spec:
    """From where the fastest memory of its source feeds it to the right edge."""
    low, high = (10.0**e for e in frame.intensity)
    start = roof.value / (machine.diagonal(roof.source) or roof.value)
    return _line(roof, [min(max(start, low), high), high], [roof.value, roof.value])


def _diagonal(roof: Roof, peaks: Sequence[Roof], frame: Frame) -> Spec:
    """From the left or lower edge to the ridge under the highest peak shown."""
    low, high = (10.0**e for e in frame.intensity)
    x = [max(low, 10.0 ** frame.flops_per_s[0] / roof.value), min(high, _ridge(roof, peaks))]
    return _line(roof, x, [roof.value * x[0], roof.value * x[1]])


def _line(roof: Roof, x: list[float], y: list[float]) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": escape(roof.label),
        "hoverinfo": "skip",
        "line": _stroke(roof),
        "meta": {
            "role": "roof",
            "resource": roof.resource,
            "source": roof.source,
            "value": roof.value,
            "unit": roof.unit,
            "precision": roof.precision,
            "level": roof.level,
        },
    }


def _stroke(roof: Roof) -> Spec:
    return {"color": QUIET, "width": 1.6 if roof.source == "measured" else 1.1, "dash": DASH.get(roof.source, "dot")}


def _ridge(roof: Roof, peaks: Sequence[Roof]) -> float:
    """Where a memory roof meets the highest compute roof of its source, or of any."""
    values = [peak.value for peak in peaks if peak.source == roof.source] or [peak.value for peak in peaks]
    return max(values, default=math.inf) / roof.value


def _ends(peaks: list[Roof], frame: Frame, height: int) -> list[Spec]:
    """Labels at the right ends of compute roofs, pushed apart where they would touch."""
    inner = height - MARGIN["t"] - MARGIN["b"]
    scale = inner / (frame.flops_per_s[1] - frame.flops_per_s[0])
    labels, ceiling = [], math.inf
    for roof in sorted(peaks, key=lambda r: -r.value):
        level = (math.log10(roof.value) - frame.flops_per_s[0]) * scale
        ceiling = min(level, ceiling - LABEL_GAP)
        where = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 8, "yanchor": "middle"}
        labels.append(_label("end", roof, **where, y=math.log10(roof.value), yshift=ceiling - level))
    return labels


def _slopes(machine: Machine, peaks: Sequence[Roof], frame: Frame, height: int) -> list[Spec]:
    """Labels along memory roofs: above the line, but below it for the lower roof of a level that has two."""
    width = WIDTH - MARGIN["l"] - MARGIN["r"]
    across = width / (frame.intensity[1] - frame.intensity[0])
    along = (height - MARGIN["t"] - MARGIN["b"]) / (frame.flops_per_s[1] - frame.flops_per_s[0])
    angle = math.atan2(along, across)
    labels = []
    for roof in machine.bandwidths:
        x = min(
            LABEL_AT * frame.intensity[1] + (1 - LABEL_AT) * frame.intensity[0], math.log10(_ridge(roof, peaks)) - 0.6
        )
        side = -1 if any(other.level == roof.level and other.value > roof.value for other in machine.bandwidths) else 1
        shift = {"xshift": -9 * side * math.sin(angle), "yshift": 9 * side * math.cos(angle)}
        name = "slope above" if side > 0 else "slope below"
        labels.append(_label(name, roof, x=x, y=x + math.log10(roof.value), textangle=-math.degrees(angle), **shift))
    return labels


def _label(name: str, roof: Roof, **where: Any) -> Spec:
    """A roof's label; the page knows by its name how to lay it out."""
    font = {"family": FONT, "size": 11, "color": QUIET}
    return {"name": name, "text": escape(roof.label), "showarrow": False, "font": font, **where}


def _upright(roof: Roof) -> Spec:
    ends = {"x0": roof.value, "x1": roof.value, "y0": 0, "y1": 1}
    return {"type": "line", "xref": "x", "yref": "paper", **ends, "line": _stroke(roof), "name": "roof"}


def _upright_label(roof: Roof, rank: int) -> Spec:
    """The lower roof's label to the left of its line, the higher one's to the right."""
    side = {"xanchor": "right", "xshift": 2} if rank == 0 else {"xanchor": "left", "xshift": -2}
    return _label("upright", roof, yref="paper", x=math.log10(roof.value), y=1, yanchor="bottom", **side)
