"""Points as Plotly traces: area is total time, colour the family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from ridgeline.reports import units
from ridgeline.reports.figures import families
from ridgeline.reports.figures.layout import QUIET, Spec
from ridgeline.reports.figures.placement import EDGES
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row

LARGEST = {"roofline": 46, "lane": 28}
"""Diameter in pixels of the point with the most time."""

STYLE: Spec = {
    "sizemode": "area",
    "sizemin": 3,
    "opacity": 0.78,
    "line": {"width": 0.8, "color": "rgba(255,255,255,0.9)"},
}


def by_family(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Rows in the families' order."""
    ordered = sorted(rows, key=lambda row: (families.order(row["family"]), row["family"]))
    return [(family, list(group)) for family, group in groupby(ordered, key=lambda row: row["family"])]


def traces(points: Sequence[Row], place: str) -> list[Spec]:
    """One trace a family, for points of one place."""
    shown = [point for point in points if point["place"] == place]
    sizeref = 2 * max((point["duration_ns"] for point in shown), default=1) / LARGEST[place] ** 2
    return [_trace(family, rows, sizeref) for family, rows in by_family(shown)]


def _trace(family: str, rows: list[Row], sizeref: float) -> Spec:
    rows = sorted(rows, key=lambda row: -row["duration_ns"])
    symbols = [EDGES[row["edge"]] if row["edge"] else families.symbol(family) for row in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(family),
        "cliponaxis": False,
        "x": [row["x"] for row in rows],
        "y": [row["y"] if row["y"] is not None else family for row in rows],
        "marker": {
            **STYLE,
            "color": families.color(family),
            "size": [row["duration_ns"] for row in rows],
            "sizeref": sizeref,
            "symbol": symbols,
        },
        "text": [hover(row) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
    }


def hover(row: Row) -> str:
    """What a notebook shows over a point: every line escaped, since names come from other people's traces."""
    total, median = units.duration(row["duration_ns"]), units.duration(row["median_ns"])
    lines = [row["short"], f"{row['operator'] or row['attribution']} {row['operands']}".strip()]
    lines.append(f"{row['launches']:,} launch{'es' if row['launches'] > 1 else ''}, {total}, median {median}")
    if row["flops"]:
        lines.append(f"{units.si(row['flops'], 'FLOP')} ({row['flops_source']})")
    if row["dram_bytes"]:
        lines.append(f"{units.si(row['dram_bytes'], 'B')} ({row['dram_bytes_source']}), confidence {row['confidence']}")
    if row["roof_time_ns"]:
        lines.append(f"{units.percent(row['roof_time_ns'] / row['duration_ns'])} of its roof, bound: {row['bound']}")
    if row["diagnosis"]:
        lines.append(row["diagnosis"])
    return "<br>".join(escape(line) for line in lines)


def badges(points: Iterable[Row], place: str = "roofline") -> list[Spec]:
    """A count at every edge that points lie beyond."""
    counts = Counter(point["edge"] for point in points if point["edge"] and point["place"] == place)
    return [_badge(BADGES[edge] | (ABOVE if place == "lane" else {}), count) for edge, count in sorted(counts.items())]


BADGES: dict[str, Spec] = {
    "left": {"x": 0, "y": 0.5, "xanchor": "left", "text": "◀ {} off the frame"},
    "right": {"x": 1, "y": 0.5, "xanchor": "right", "text": "{} off the frame ▶"},
    "bottom": {"x": 0.5, "y": 0, "yanchor": "bottom", "text": "▼ {} off the frame"},
    "top": {"x": 0.5, "y": 1, "yanchor": "top", "text": "▲ {} off the frame"},
}


ABOVE: Spec = {"y": 1, "yanchor": "bottom"}
"""A lane has no height to spare: its badges stand above it."""


def _badge(badge: Spec, count: int) -> Spec:
    fixed = {
        "xref": "paper",
        "yref": "paper",
        "showarrow": False,
        "font": {"size": 11, "color": QUIET},
        "name": "badge",
    }
    return {**badge, **fixed, "text": badge["text"].format(count)}
