"""Draw joules per committed token."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports.figures.layout import QUIET, Spec, axis
from ridgeline.reports.formatting import digits
from ridgeline.reports.names import escape, hover_text
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.panels import Panel, panels
from ridgeline.reports.study.drawings.run_bars import frame, run_bars
from ridgeline.reports.study.drawings.settings import SETTINGS, color, in_all


def energy(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """Draw joules per committed token, one bar a run."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        bars = [(escape(name), runs[0]) for name, runs in run_bars(own, "joules_per_token")]
        joules = {
            "type": "bar",
            "orientation": "h",
            "y": [name for name, _ in bars],
            "x": [row["joules_per_token"] for _, row in bars],
            "marker": {"color": [color(row["mode"]) for _, row in bars]},
            "text": [f"{digits(row['joules_per_token'])} J at {row['mean_power_w']:.0f} W" for _, row in bars],
            "textposition": "outside",
            "cliponaxis": False,
            "meta": {"role": "text"},
            "textfont": {"size": 11, "color": QUIET},
            "hovertext": [hover_text(row["name"], f"telemetry over {row['telemetry_s']:.2f} s") for _, row in bars],
            "hovertemplate": "%{hovertext}<br>%{text}<extra></extra>",
        }
        spec: Spec = {"data": [joules], "layout": frame([name for name, _ in bars], "J")}
        # Text outside the longest bar needs room that Plotly does not reserve.
        longest = max(row["joules_per_token"] for _, row in bars)
        spec["layout"]["xaxis"] |= {"range": [0, longest * 1.3], "title": axis("joules per committed token")["title"]}
        return spec, [in_all([row for _, row in bars], SETTINGS)]

    return panels(rows, ["device", "batch", "prompt_tokens", "generated_tokens"], draw)
