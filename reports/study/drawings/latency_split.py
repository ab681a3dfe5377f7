"""The parts of a latency, stacked."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports import units
from ridgeline.reports.figures.layout import QUIET, Spec
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.run_bars import by_run, frame
from ridgeline.reports.study.drawings.series import LEGEND, Panel, in_all, panels
from ridgeline.reports.study.drawings.settings import SETTINGS

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
"""Parts of a latency, in the order they are stacked."""


def split(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E2: the parts of a latency, a bar a run."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        bars = by_run(own, "latency_ns")
        parts = [*PARTS, *sorted({row["part"] for row in own} - PARTS.keys())]
        data = [_part(part, bars) for part in parts if any(row["part"] == part for row in own)]
        totals = [(name, rows[0]["latency_ns"], rows[0]["low_ns"], rows[0]["high_ns"]) for name, rows in bars]
        spec: Spec = {"data": [*data, *_ends(totals)], "layout": frame([escape(name) for name, _ in bars], "s")}
        spec["layout"] |= {
            "showlegend": True,
            "legend": LEGEND | {"orientation": "h", "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        }
        spec["layout"]["margin"]["t"] = 44
        spec["layout"]["xaxis"]["range"] = [0, max(high for *_, high in totals) / 1e9 * 1.18]
        return spec, [in_all(own, SETTINGS), *_unsplit(own)]

    return panels(rows, ["device", "model", "batch", "prompt_tokens", "generated_tokens"], draw)


def _unsplit(rows: Sequence[Row]) -> list[str]:
    """What could not be told apart, and of how many runs."""
    runs = {row["run_id"] for row in rows}
    untraced = {row["run_id"] for row in rows if row["basis"] == "not traced"}
    fused = runs - {row["run_id"] for row in rows if row["part"] == "sampling"}
    kind = "a kind of step was never traced, and its part holds its host time too" if untraced else ""
    sampling = "no kernel says that it samples: a compiler fused it with the rest" if fused else ""
    told = ((kind, untraced), (sampling, fused))
    return [f"Of {len(own)} run{'s' if len(own) != 1 else ''} {text}." for text, own in told if own]


def _part(part: str, bars: Sequence[tuple[str, list[Row]]]) -> Spec:
    found = [(escape(name), row) for name, own in bars for row in own if row["part"] == part]
    return {
        "type": "bar",
        "orientation": "h",
        "name": escape(part),
        "marker": {"color": PARTS.get(part, "#4a586b")},
        "x": [row["value_ns"] / 1e9 for _, row in found],
        "y": [name for name, _ in found],
        "text": [
            f"{units.duration(r['value_ns'])}, {units.percent(r['value_ns'] / r['latency_ns'])}" for _, r in found
        ],
        "textposition": "none",
        "hovertemplate": "%{y}<br>%{fullData.name}: %{text}<extra></extra>",
    }


def _ends(totals: Sequence[tuple[str, float, float, float]]) -> list[Spec]:
    """Each bar's spread over the repeats, and beyond it its total."""
    names = [escape(name) for name, *_ in totals]
    fixed = {"type": "scatter", "showlegend": False, "hoverinfo": "skip", "cliponaxis": False, "y": names}
    spread = {
        "type": "data",
        "symmetric": False,
        "array": [(high - total) / 1e9 for _, total, _, high in totals],
        "arrayminus": [(total - low) / 1e9 for _, total, low, _ in totals],
        "color": QUIET,
        "thickness": 1.2,
        "width": 4,
    }
    return [
        {
            **fixed,
            "mode": "markers",
            "x": [t / 1e9 for _, t, _, _ in totals],
            "marker": {"opacity": 0},
            "error_x": spread,
        },
        {
            **fixed,
            "mode": "text",
            "meta": {"role": "text"},
            "x": [high / 1e9 for *_, high in totals],
            "text": [f"  {units.duration(total)}" for _, total, _, _ in totals],
            "textposition": "middle right",
            "textfont": {"size": 11, "color": QUIET},
        },
    ]
