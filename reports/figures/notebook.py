"""Frame a figure for a notebook: which runs it shows, its title, legend and source."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ridgeline.reports import queries
from ridgeline.reports.figures.layout import QUIET, Spec
from ridgeline.reports.figures.machine import device_name
from ridgeline.reports.names import clip, escape
from ridgeline.reports.queries import Connection, Row
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEGEND: Spec = {"font": {"size": 11.5}, "itemsizing": "constant", "tracegroupgap": 2, "groupclick": "toggleitem"}
NAMED = 8
"""Runs that a line names; of more it counts."""
TITLE_LONGEST, LINE = 100, 140
"""Characters of the names in a title, and of a line under it."""
TITLE, SUBTITLE, ENTRY = 34, 16, 20
"""Heights in pixels of a title, of a line under it, and of an entry of the legend."""


@dataclass(frozen=True)
class Run:
    """A run of a figure; ``name`` distinguishes it from the others."""

    run_id: str
    name: str
    device: str


def selected(connection: Connection, runs: str | Sequence[str]) -> list[Run]:
    """Return the runs that ``runs`` names, as :func:`~ridgeline.warehouse.selection.resolve` reads one or several.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if one of them names no run, or is ambiguous.
    """
    run_ids = resolve(connection, [runs] if isinstance(runs, str) else runs)
    statement = "SELECT run_id, name, device, device_kind FROM runs WHERE LIST_CONTAINS($runs, run_id)"
    rows = {row["run_id"]: row for row in queries.fetch(connection, statement, runs=run_ids)}
    names = [rows[run_id]["name"] for run_id in run_ids]
    return [
        Run(run_id, f"{name} ({run_id[:6]})" if names.count(name) > 1 else name, device_name(rows[run_id]))
        for run_id, name in zip(run_ids, names, strict=True)
    ]


def title(what: str, runs: Sequence[Run]) -> str:
    """Return the title of a figure: what it shows, of which runs or how many, on which devices.

    >>> title("Roofline", [Run("a1", "before", "H200"), Run("b2", "after", "H200")])
    'Roofline: before, after on H200'
    """
    names = ", ".join(run.name for run in runs)
    if len(names) > TITLE_LONGEST:
        names = f"{len(runs)} runs" if len(runs) > 1 else clip(names, TITLE_LONGEST)
    return f"{what}: {names} on {' and '.join(dict.fromkeys(run.device for run in runs))}"


def source(runs: Sequence[Run], *more: str) -> str:
    """Return the source of a figure: this version, the runs with their ids, and ``more`` about its numbers."""
    from ridgeline import __version__

    named = [run.run_id if len(runs) == 1 else f"{run.name} ({run.run_id[:6]})" for run in runs[:NAMED]]
    named += [f"{len(runs) - NAMED} more"] if runs[NAMED:] else []
    runs_of = f"Ridgeline {__version__}, run{'s' if len(runs) > 1 else ''} {', '.join(named)}"
    return "; ".join([runs_of, *filter(None, more)])


def byte_sources(points: Iterable[Row]) -> str:
    """Return the sources of the DRAM bytes of points, most time first."""
    totals: dict[str, int] = {}
    for point in points:
        totals[point["dram_bytes_source"]] = totals.get(point["dram_bytes_source"], 0) + point["duration_ns"]
    return f"DRAM bytes: {', '.join(sorted(totals, key=lambda name: -totals[name]))}" if totals else ""


def figure(spec: Spec, title: str, lines: Iterable[str], legend: str = "") -> go.Figure:
    """Return a specification as a Plotly figure with a title, ``lines`` under it, and a legend.

    The figure stands on white, since a notebook may have any background. ``legend`` is its place: ``right`` of the
    plot, ``below`` it where labels of roofs stand right, or empty for the specification's own. A click on an entry
    hides its marks.
    """
    import plotly.graph_objects as go

    layout = spec["layout"]
    wrapped = [escape(part) for line in lines if line for part in textwrap.wrap(line, LINE, break_on_hyphens=False)]
    room = TITLE + SUBTITLE * len(wrapped)
    framed = {
        **layout,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "height": layout["height"] + room,
        "margin": {**layout["margin"], "t": layout["margin"]["t"] + room},
        "title": {
            "text": f"<b>{escape(title)}</b>",
            "font": {"size": 14},
            "subtitle": {"text": "<br>".join(wrapped), "font": {"size": 11, "color": QUIET}},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "pad": {"l": 12, "t": 10},
            "y": 1,
            "yref": "container",
            "yanchor": "top",
        },
    }
    if legend:
        # Roofs and ridges have their labels beside them.
        data = [{"showlegend": "role" not in trace.get("meta", {}), **trace} for trace in spec["data"]]
        return go.Figure({"data": data, "layout": framed | _legend(data, framed, legend)})
    return go.Figure({"data": spec["data"], "layout": framed})


def _legend(data: Sequence[Spec], layout: Spec, place: str) -> Spec:
    """Return the entries of a layout that place the legend, with room for all of its entries."""
    shown = [trace for trace in data if trace["showlegend"]]
    groups = Counter(trace.get("legendgroup", "") for trace in shown)
    margin = layout["margin"]
    if place == "right":
        height = max(layout["height"], margin["t"] + margin["b"] + ENTRY * (len(shown) + 1))
        return {"showlegend": True, "legend": {**LEGEND, "traceorder": "normal"}, "height": height}
    # Beside each other: the entries of one run in lines of six, or two groups of several runs, an entry a line.
    lines = -(-len(shown) // 6) if len(groups) < 2 else (max(groups.values()) + 2) * -(-len(groups) // 2)
    plot = layout["height"] - margin["t"] - margin["b"]
    # Plotly places it in heights of the plot: beneath the title of the axis.
    below = {"orientation": "h", "x": 0, "xanchor": "left", "y": -margin["b"] / plot, "yanchor": "top"}
    room = ENTRY * lines + 10
    return {
        "showlegend": True,
        "legend": LEGEND | below,
        "height": layout["height"] + room,
        "margin": {**margin, "b": margin["b"] + room},
    }
