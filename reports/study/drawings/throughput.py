"""Throughput against the batch, and the memory that ends it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ridgeline.reports import units
from ridgeline.reports.figures.layout import QUIET, Spec, axis, layout
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.series import LEGEND, Panel, Series, curves, in_all, lines, panels
from ridgeline.reports.study.drawings.settings import all_but, hover
from ridgeline.reports.study.drawings.trends import THROUGHPUT, left_out

MEMORY = {
    "weights_bytes": ("weights", "#4574b8"),
    "cache_bytes": ("cache", "#e4b93d"),
    "other_bytes": ("activations and the rest", "#a2a2a2"),
}


def throughput(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E6: throughput against the batch, where memory ends, and peak memory by part beneath."""
    keys = all_but("batch")

    def draw(own: list[Row]) -> tuple[Spec, list[str]] | None:
        drawn, rest = curves(own, keys, "batch")
        if not drawn:
            return None
        places = sorted({row["batch"] for one in drawn for row in one.rows})
        spec = _throughput_frame(places)
        spec["data"] = [trace for one in drawn for trace in _boundary(one)]
        spec["data"] += [trace for i, one in enumerate(drawn) for trace in _memory(one, i, len(drawn))]
        capacity = max((row["capacity_bytes"] or 0 for row in own), default=0)
        if capacity:
            spec["layout"]["shapes"] = [_capacity(capacity)]
            spec["layout"]["annotations"] = [_capacity_label(capacity)]
        shown = [row for one in drawn for row in one.rows]
        return spec, [in_all(shown, keys), *left_out(rest, "batch")]

    return panels(rows, ["device", "prompt_tokens"], draw)


def _throughput_frame(places: Sequence[int]) -> Spec:
    """Batches are places on a linear axis of their logarithm, so that bars of one batch can stand side by side."""
    spec: Spec = {"data": [], "layout": layout(720, margin={"l": 74, "r": 16, "t": 12, "b": 52}, barmode="stack")}
    spec["layout"] |= {"showlegend": True, "legend": LEGEND}
    at = [math.log2(place) for place in places]
    spec["layout"]["xaxis"] = axis(
        "batch",
        tickvals=at,
        ticktext=[f"{place:,}" for place in places],
        anchor="y2",
        range=[at[0] - 0.6, at[-1] + 0.6],
    )
    spec["layout"]["yaxis"] = axis("tokens/s", rangemode="tozero", exponentformat="SI", domain=[0.46, 1])
    spec["layout"]["yaxis2"] = axis(
        "peak memory", rangemode="tozero", exponentformat="SI", ticksuffix="B", domain=[0, 0.38]
    )
    return spec


def _boundary(one: Series) -> list[Spec]:
    """The curve of the runs that fit, then a dotted line to a cross at the first batch that did not."""
    fits = sorted((row for row in one.rows if row["outcome"] == "ok"), key=lambda row: row["batch"])
    failed = sorted((row for row in one.rows if row["outcome"] == "oom"), key=lambda row: row["batch"])
    traces: list[Spec] = []
    if fits:
        own = Series(
            one.label, [row | {"place": math.log2(row["batch"])} for row in fits], one.color, one.dash, one.symbol
        )
        traces += lines([own], "place", "", [THROUGHPUT], base=None)["data"]
    if failed:
        level = fits[-1]["tokens_per_s"] if fits else 0
        beyond = ", ".join(f"{row['batch']:,}" for row in failed)
        x = [math.log2(row["batch"]) for row in (*fits[-1:], failed[0])]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": escape(f"{one.label}, out of memory"),
                "legendgroup": escape(one.label),
                "showlegend": not fits,
                "x": x,
                "y": [level] * len(x),
                "line": {"color": one.color, "dash": "dot", "width": 1.4},
                "marker": {"color": one.color, "symbol": "x", "size": [0, 11][-len(x) :]},
                "text": [hover(one.label, f"out of memory at {beyond}", failed[0]["message"] or "")] * len(x),
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return traces


def _memory(one: Series, rank: int, of: int) -> list[Spec]:
    """Peak memory at each batch, its parts stacked, of several runs the most; the outline has the series' colour."""
    by_peak = sorted((row for row in one.rows if row["peak_memory_bytes"]), key=lambda row: row["peak_memory_bytes"])
    rows = list({row["batch"]: row for row in by_peak}.values())
    rows.sort(key=lambda row: row["batch"])
    width = 0.8 / of
    place = [math.log2(row["batch"]) + (rank - (of - 1) / 2) * width for row in rows]
    return [
        {
            "type": "bar",
            "name": name,
            "legendgroup": f"memory {name}",
            "showlegend": rank == 0,
            "yaxis": "y2",
            "x": place,
            "y": [row[column] or 0 for row in rows],
            "width": width * 0.9,
            "marker": {"color": paint, "line": {"color": one.color, "width": 1.4}},
            "text": [
                hover(one.label, f"batch {row['batch']:,}, {name}: {units.si(row[column] or 0, 'B')}") for row in rows
            ],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        }
        for column, (name, paint) in MEMORY.items()
        if any(row[column] for row in rows) or rank == 0
    ]


def _capacity(capacity: float) -> Spec:
    line = {"color": QUIET, "width": 1.4, "dash": "dash"}
    return {
        "type": "line",
        "xref": "paper",
        "yref": "y2",
        "x0": 0,
        "x1": 1,
        "y0": capacity,
        "y1": capacity,
        "line": line,
    }


def _capacity_label(capacity: float) -> Spec:
    text = f"the device's {units.si(capacity, 'B')}"
    where = {"xref": "paper", "yref": "y2", "x": 0, "y": capacity, "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 11, "color": QUIET}, **where}
