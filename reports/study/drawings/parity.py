"""Intensity by closed form against that of the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ridgeline.reports.figures.layout import QUIET, Spec, layout, log_axis
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.kinds import legend, mark
from ridgeline.reports.study.drawings.series import LEGEND, Panel, panels
from ridgeline.reports.study.drawings.settings import hover

COMPONENTS = {"linear": "#4574b8", "attention": "#e0783c", "other": "#e4b93d", "all": "#1f9e89"}


def costs(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E1: intensity by the closed forms against that of the traced kernels; on the diagonal they agree."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]] | None:
        known = [row for row in own if row["predicted_intensity"] and row["intensity"]]
        if not known:
            return None
        ends = _decades([row[key] for row in known for key in ("predicted_intensity", "intensity")])
        data: list[Spec] = [_diagonal(ends)]
        for component, paint in COMPONENTS.items():
            data += _parity([row for row in known if row["component"] == component], component, paint)
        frame = layout(520, margin={"l": 74, "r": 16, "t": 12, "b": 52}, showlegend=True, legend=LEGEND)
        frame["xaxis"] = log_axis("closed form, FLOP per byte", ends)
        frame["yaxis"] = log_axis("kernels, FLOP per byte of DRAM traffic", ends)
        unknown = len(own) - len(known)
        left_out = f"{unknown} of {len(own)} points left out: no intensity by trace." if unknown else ""
        return {"data": data, "layout": frame}, [legend(known), left_out]

    found = panels(rows, ["device", "convention"], draw)
    return sorted(found, key=lambda panel: "corrected" not in panel.title)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


def _diagonal(ends: tuple[int, int]) -> Spec:
    line = [10.0**e for e in ends]
    stroke = {"color": QUIET, "width": 1.2}
    look = {"mode": "lines", "line": stroke, "hoverinfo": "skip", "showlegend": False, "meta": {"role": "roof"}}
    return {"type": "scatter", "x": line, "y": line, "name": "equal", **look}


def _parity(rows: Sequence[Row], component: str, paint: str) -> list[Spec]:
    if not rows:
        return []
    text = [
        hover(row["name"], f"{row['kind']}, {row['query']:,} of {row['context']:,.0f}, {component}") for row in rows
    ]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": component,
            "x": [row["predicted_intensity"] for row in rows],
            "y": [row["intensity"] for row in rows],
            "marker": {
                "color": paint,
                "size": 8,
                "opacity": 0.8,
                "symbol": [mark(r["kind"]) for r in rows],
            },
            "text": text,
            "hovertemplate": "%{text}<br>closed form %{x:.4g}, kernels %{y:.4g} FLOP/B<extra></extra>",
        }
    ]
