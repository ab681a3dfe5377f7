"""Draw the parts of a latency, stacked."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports.figures.layout import QUIET, Spec
from ridgeline.reports.formatting import duration, percent
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.lines import LEGEND
from ridgeline.reports.study.drawings.panels import Panel, panels
from ridgeline.reports.study.drawings.run_bars import frame, run_bars
from ridgeline.reports.study.drawings.settings import SETTINGS, in_all

# In the order in which parts are stacked.
PARTS = {
    "prefill": "#4574b8",
    "decode": "#74ace7",
    "denoise": "#bb162c",
    "refresh": "#e0783c",
    "reuse": "#2a8e9a",
    "commit": "#8f80ea",
    "sampling": "#e0a8c0",
    "host": "#a2a2a2",
}

# Label and rows of each run; its rows are the parts of its latency.
Bars = Sequence[tuple[str, list[Row]]]


def split(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E2: draw the parts of a latency, one bar a run."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        bars = [(escape(name), parts) for name, parts in run_bars(own, "latency_ns")]
        kinds = [*PARTS, *sorted({row["part"] for row in own} - PARTS.keys())]
        data = [_part(part, bars) for part in kinds if any(row["part"] == part for row in own)]
        spec: Spec = {"data": data + _totals(bars), "layout": frame([name for name, _ in bars], "s")}
        spec["layout"] |= {
            "showlegend": True,
            "legend": LEGEND | {"orientation": "h", "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        }
        spec["layout"]["margin"]["t"] = 44
        # Room for the total beyond the longest bar.
        spec["layout"]["xaxis"]["range"] = [0, max(row["high_ns"] for row in own) / 1e9 * 1.18]
        runs = {row["run_id"] for row in own}
        untraced = {row["run_id"] for row in own if row["basis"] == "not traced"}
        fused = runs - {row["run_id"] for row in own if row["part"] == "sampling"}
        notes = [in_all(own, SETTINGS)]
        for text, some in (
            ("lack a trace of some kind of step, so the part of that kind includes its host time", untraced),
            ("have no kernel labelled as sampling, because a compiler fused sampling with other work", fused),
        ):
            notes += [f"{len(some)} of {len(runs)} run{'s' if len(runs) != 1 else ''} {text}."] if some else []
        return spec, notes

    return panels(rows, ["device", "model", "batch", "prompt_tokens", "generated_tokens"], draw)


def _part(part: str, bars: Bars) -> Spec:
    own = [(name, row) for name, rows in bars for row in rows if row["part"] == part]
    return {
        "type": "bar",
        "orientation": "h",
        "name": escape(part),
        "marker": {"color": PARTS.get(part, "#4a586b")},
        "x": [row["value_ns"] / 1e9 for _, row in own],
        "y": [name for name, _ in own],
        "text": [f"{duration(row['value_ns'])}, {percent(row['value_ns'] / row['latency_ns'])}" for _, row in own],
        "textposition": "none",
        "hovertemplate": "%{y}<br>%{fullData.name}: %{text}<extra></extra>",
    }


def _totals(bars: Bars) -> list[Spec]:
    """Return the spread of each bar over the repeats, and its total beyond it."""
    runs = [rows[0] for _, rows in bars]
    fixed = {
        "type": "scatter",
        "showlegend": False,
        "hoverinfo": "skip",
        "cliponaxis": False,
        "y": [name for name, _ in bars],
    }
    spread = {
        "type": "data",
        "symmetric": False,
        "array": [(run["high_ns"] - run["latency_ns"]) / 1e9 for run in runs],
        "arrayminus": [(run["latency_ns"] - run["low_ns"]) / 1e9 for run in runs],
        "color": QUIET,
        "thickness": 1.2,
        "width": 4,
    }
    # Stacked bars cannot have a common error bar, so an invisible mark at the end of each carries it.
    ends = {"mode": "markers", "x": [run["latency_ns"] / 1e9 for run in runs], "marker": {"opacity": 0}}
    return [
        {**fixed, **ends, "error_x": spread},
        {
            **fixed,
            "mode": "text",
            "meta": {"role": "text"},
            "x": [run["high_ns"] / 1e9 for run in runs],
            "text": [f"  {duration(run['latency_ns'])}" for run in runs],
            "textposition": "middle right",
            "textfont": {"size": 11, "color": QUIET},
        },
    ]
