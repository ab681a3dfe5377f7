"""How many times faster than the naive mode, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports import units
from ridgeline.reports.figures.layout import Spec, axis, layout
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.series import LEGEND, Panel, Series, in_all, panels, papers, series
from ridgeline.reports.study.drawings.settings import SETTINGS, hover


def speedup(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """How many times faster than the naive mode, stage by stage."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        levels = [level for _, level in sorted({(row["stage"], row["level"]) for row in own})]
        frame = layout(420, margin={"l": 74, "r": 16, "t": 12, "b": 52}, showlegend=True, legend=LEGEND)
        frame["xaxis"] = axis("", type="category", categoryarray=levels, categoryorder="array", range=[-0.3, 4.3])
        frame["yaxis"] = axis("naive latency over this one", rangemode="tozero", ticksuffix="×")
        data = [_ladder(one) for one in series(own, SETTINGS)]
        claims = papers([mark | {"x": levels[-1]} for mark in marks])
        return {"data": data + claims, "layout": frame}, [in_all(own, SETTINGS)]

    return panels(rows, ["device", "model", "batch", "prompt_tokens", "generated_tokens"], draw)


def _ladder(one: Series) -> Spec:
    rows = sorted(one.rows, key=lambda row: row["stage"])
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(one.label),
        "x": [row["level"] for row in rows],
        "y": [row["speedup"] for row in rows],
        "line": {"color": one.color, "dash": one.dash, "width": 1.8},
        "marker": {"color": one.color, "symbol": one.symbol, "size": 8},
        "text": [
            hover(row["name"], f"{row['level']}: {units.digits(row['speedup'])} times {row['naive_name']}")
            for row in rows
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }
