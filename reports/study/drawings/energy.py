"""Joules a committed token."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports import units
from ridgeline.reports.figures.layout import QUIET, Spec, axis
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.run_bars import by_run, frame
from ridgeline.reports.study.drawings.series import Panel, color, in_all, panels
from ridgeline.reports.study.drawings.settings import SETTINGS, hover


def energy(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """Joules a committed token, a bar a run."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        bars = [(name, runs[0]) for name, runs in by_run(own, "joules_per_token")]
        spec: Spec = {"data": [_joules(bars)], "layout": frame([escape(name) for name, _ in bars], "J")}
        longest = max(row["joules_per_token"] for _, row in bars)
        spec["layout"]["xaxis"] |= {"range": [0, longest * 1.3], "title": axis("joules a committed token")["title"]}
        return spec, [in_all([row for _, row in bars], SETTINGS)]

    return panels(rows, ["device", "batch", "prompt_tokens", "generated_tokens"], draw)


def _joules(bars: Sequence[tuple[str, Row]]) -> Spec:
    return {
        "type": "bar",
        "orientation": "h",
        "y": [escape(name) for name, _ in bars],
        "x": [row["joules_per_token"] for _, row in bars],
        "marker": {"color": [color(row["mode"]) for _, row in bars]},
        "text": [f"{units.digits(row['joules_per_token'])} J at {row['mean_power_w']:.0f} W" for _, row in bars],
        "textposition": "outside",
        "cliponaxis": False,
        "meta": {"role": "text"},
        "textfont": {"size": 11, "color": QUIET},
        "hovertext": [hover(row["name"], f"telemetry over {row['telemetry_s']:.2f} s") for _, row in bars],
        "hovertemplate": "%{hovertext}<br>%{text}<extra></extra>",
    }
