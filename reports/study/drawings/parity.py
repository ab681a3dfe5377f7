"""Draw the intensity of kernels against the intensity by closed form."""

import math
from collections.abc import Sequence

from ridgeline.reports.figures.layout import QUIET, Spec, log_axis, scatter, tooltips
from ridgeline.reports.figures.palette import hue
from ridgeline.reports.names import hover_text
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.lines import chart
from ridgeline.reports.study.drawings.panels import Drawing, Panel, panels
from ridgeline.reports.study.drawings.settings import legend, symbol

COMPONENTS = {"linear": hue("blue"), "attention": hue("orange"), "other": hue("gold"), "all": hue("teal")}


def costs(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E1: draw the intensity of the traced kernels against the closed forms; on the diagonal they agree."""

    def draw(own: list[Row]) -> Drawing | None:
        priced = [row for row in own if row["predicted_intensity"] and row["intensity"]]
        if not priced:
            return None
        values = [row[key] for row in priced for key in ("predicted_intensity", "intensity")]
        decades = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        ends = [10.0**e for e in decades]
        # The page repaints the diagonal as it repaints roofs.
        look = {"line": {"color": QUIET, "width": 1.2}, "hoverinfo": "skip", "meta": {"role": "roof"}}
        diagonal = scatter("lines", ends, ends, name="equal", showlegend=False, **look)
        parts = [(part, [row for row in priced if row["component"] == part]) for part in COMPONENTS]
        frame = chart(520)
        frame["xaxis"] = log_axis("closed form, FLOP per byte", decades)
        frame["yaxis"] = log_axis("kernels, FLOP per byte of DRAM traffic", decades)
        unknown = len(own) - len(priced)
        left_out = f"{unknown} of {len(own)} points left out: no intensity by trace." if unknown else ""
        data = [diagonal, *(_points(part, rows) for part, rows in parts if rows)]
        return {"data": data, "layout": frame}, sentences.costs(priced), [legend(priced), left_out]

    # The convention that corrects the paper's closed forms comes first.
    return sorted(panels(rows, ["device", "convention"], draw), key=lambda panel: "corrected" not in panel.title)


def _points(component: str, rows: Sequence[Row]) -> Spec:
    x = [row["predicted_intensity"] for row in rows]
    y = [row["intensity"] for row in rows]
    symbols = [symbol(row["kind"]) for row in rows]
    marker = {"color": COMPONENTS[component], "size": 8, "opacity": 0.9, "symbol": symbols}
    text = [
        hover_text(row["name"], f"{row['kind']}, {row['query']:,} of {row['context']:,.0f}, {component}")
        for row in rows
    ]
    template = "%{text}<br>closed form %{x:.4g}, kernels %{y:.4g} FLOP/B"
    return scatter("markers", x, y, name=component, marker=marker, **tooltips(text, template))
