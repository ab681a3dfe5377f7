"""Draw points as Plotly traces: the area is the total time, the colour the family."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from ridgeline.reports.figures import bars, families
from ridgeline.reports.figures.layout import QUIET, Spec, scatter, tooltips
from ridgeline.reports.figures.placement import EDGES
from ridgeline.reports.formatting import duration, percent, si
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row

# Diameter in pixels of the point with the most time.
LARGEST = {"roofline": 46, "lane": 28}

STYLE: Spec = {
    "sizemode": "area",
    "sizemin": 3,
    "opacity": 0.9,
    "line": {"width": 0.8, "color": "rgba(255,255,255,0.9)"},
}

BADGES: dict[str, Spec] = {
    "left": {"x": 0, "y": 0.5, "xanchor": "left", "text": "◀ {} off the frame"},
    "right": {"x": 1, "y": 0.5, "xanchor": "right", "text": "{} off the frame ▶"},
    "bottom": {"x": 0.5, "y": 0, "yanchor": "bottom", "text": "▼ {} off the frame"},
    "top": {"x": 0.5, "y": 1, "yanchor": "top", "text": "▲ {} off the frame"},
}
# A lane has no height to spare, so its badges lie above it.
ABOVE: Spec = {"y": 1, "yanchor": "bottom"}


def page_style() -> Spec:
    """Return the colours, symbols and sizes that the scripts of a page draw with, so that notebooks look the same."""
    return {
        "families": {
            family: {"color": color, "symbol": families.symbol(family)} for family, color in families.COLORS.items()
        },
        "marks": {
            "style": STYLE,
            "largest": LARGEST,
            "edges": EDGES,
            "badges": BADGES,
            "above": ABOVE,
            "runs": {"colors": families.RUNS, "symbols": families.RUN_SYMBOLS},
        },
        "bars": {"layout": bars.frame(0), "row": bars.ROW},
    }


def traces(points: Sequence[Row], place: str) -> list[Spec]:
    """Return one trace a family for the points at ``place`` (roofline or lane)."""
    shown = [point for point in points if point["place"] == place]
    shown.sort(key=lambda point: (families.order(point["family"]), point["family"], -point["duration_ns"]))
    sizeref = _sizeref(shown, place)
    drawn: list[Spec] = []
    for family, group in groupby(shown, key=lambda point: str(point["family"])):
        rows = list(group)
        marker = {
            **STYLE,
            "color": families.color(family),
            "size": [row["duration_ns"] for row in rows],
            "sizeref": sizeref,
            "symbol": [EDGES[row["edge"]] if row["edge"] else families.symbol(family) for row in rows],
        }
        x = [row["x"] for row in rows]
        # The lane's axis has a category for each family.
        y = [row["y"] if row["y"] is not None else family for row in rows]
        text = tooltips([hover(row) for row in rows])
        drawn.append(scatter("markers", x, y, name=escape(family), cliponaxis=False, marker=marker, **text))
    return drawn


def _sizeref(points: Sequence[Row], place: str) -> float:
    # With sizemode area, Plotly's sizeref is 2 * largest value / largest diameter ** 2.
    return 2 * max((point["duration_ns"] for point in points), default=1) / LARGEST[place] ** 2


def discs(points: Iterable[Row]) -> list[tuple[float, float, float]]:
    """Return FLOP/B, FLOP/s and radius in pixels of the points on the roofline, as Plotly draws them."""
    shown = [point for point in points if point["place"] == "roofline"]
    sizeref = _sizeref(shown, "roofline")
    return [(p["x"], p["y"], max(math.sqrt(p["duration_ns"] / 2 / sizeref), STYLE["sizemin"])) for p in shown]


def hover(row: Row) -> str:
    """Return the tooltip of a point in a notebook, every line escaped, since traces hold arbitrary names."""
    total, median = duration(row["duration_ns"]), duration(row["median_ns"])
    lines = [row["short"], f"{row['operator'] or row['attribution']} {row['operands']}".strip()]
    lines.append(f"{row['launches']:,} launch{'es' if row['launches'] > 1 else ''}, {total}, median {median}")
    if row["flops"]:
        lines.append(f"{si(row['flops'], 'FLOP')} ({row['flops_source']})")
    if row["dram_bytes"]:
        lines.append(f"{si(row['dram_bytes'], 'B')} ({row['dram_bytes_source']}), confidence {row['confidence']}")
    if row["roof_time_ns"]:
        bound = "" if row["bound"] == "none" else f"; bound by {row['bound']}"
        fraction = percent(row["roof_time_ns"] / row["duration_ns"])
        lines.append(f"{fraction} of its roof ({row['nearest_roof']}){bound}")
    if row["diagnosis"]:
        lines.append(row["diagnosis"])
    return "<br>".join(escape(line) for line in lines)


def badges(points: Iterable[Row], place: str = "roofline") -> list[Spec]:
    """Return an annotation at each edge that says how many points lie beyond it."""
    counts = Counter(point["edge"] for point in points if point["edge"] and point["place"] == place)
    fixed = {
        "xref": "paper",
        "yref": "paper",
        "showarrow": False,
        "font": {"size": 11, "color": QUIET},
        "name": "badge",
    }
    above = ABOVE if place == "lane" else {}
    return [
        {**BADGES[edge], **above, **fixed, "text": BADGES[edge]["text"].format(count)}
        for edge, count in sorted(counts.items())
    ]
