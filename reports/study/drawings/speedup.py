"""Draw the speed-up over the naive mode, stage by stage."""

from collections.abc import Sequence

from ridgeline.reports.figures.layout import Spec, axis, scatter, tooltips
from ridgeline.reports.formatting import digits
from ridgeline.reports.names import escape, hover_text
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.lines import chart, paper_marks
from ridgeline.reports.study.drawings.panels import Drawing, Panel, panels
from ridgeline.reports.study.drawings.series import series
from ridgeline.reports.study.drawings.settings import SETTINGS, in_all


def speedup(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """Draw the speed-up over the naive mode, from the ideal step to the measured latency."""

    def draw(own: list[Row]) -> Drawing:
        levels = [level for _, level in sorted({(row["stage"], row["level"]) for row in own})]
        frame = chart(420)
        frame["xaxis"] = axis("", type="category", categoryarray=levels, categoryorder="array", range=[-0.3, 4.3])
        frame["yaxis"] = axis("speed-up over the naive mode", rangemode="tozero", ticksuffix="×")
        data: list[Spec] = []
        for one in series(own, SETTINGS):
            stages = sorted(one.rows, key=lambda row: row["stage"])
            x, y = [row["level"] for row in stages], [row["speedup"] for row in stages]
            line = {"color": one.color, "dash": one.dash, "width": 1.8}
            marker = {"color": one.color, "symbol": one.symbol, "size": 8}
            text = [
                hover_text(row["name"], f"{row['level']}: {digits(row['speedup'])} times {row['naive_name']}")
                for row in stages
            ]
            look = {"name": escape(one.label), "line": line, "marker": marker}
            data.append(scatter("lines+markers", x, y, **look, **tooltips(text)))
        # Papers state the measured speed-up, which is the last level.
        claims = paper_marks([mark | {"x": levels[-1]} for mark in marks])
        return {"data": data + claims, "layout": frame}, sentences.speedup(own), [in_all(own, SETTINGS)]

    return panels(rows, ["device", "model", "batch", "prompt_tokens", "generated_tokens"], draw)
