"""Draw throughput against the batch, and the memory that limits it."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ridgeline.reports.figures.layout import QUIET, Spec, axis, scatter, tooltips
from ridgeline.reports.figures.palette import hue
from ridgeline.reports.formatting import si
from ridgeline.reports.names import escape, hover_text
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.lines import chart, lines
from ridgeline.reports.study.drawings.panels import Drawing, Panel, panels
from ridgeline.reports.study.drawings.series import Series, curves
from ridgeline.reports.study.drawings.settings import all_but, in_all
from ridgeline.reports.study.drawings.trends import THROUGHPUT, left_out

# The parts of peak memory, from the bottom of the stack: column, name and colour.
MEMORY = {
    "weights_bytes": ("weights", hue("blue")),
    "cache_bytes": ("cache", hue("gold")),
    "other_bytes": ("activations and the rest", hue("silver")),
}


def throughput(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E6: draw throughput against the batch, the first batch out of memory, and beneath it peak memory by part."""
    keys = all_but("batch")

    def draw(own: list[Row]) -> Drawing | None:
        drawn, rest = curves(own, keys, "batch")
        if not drawn:
            return None
        frame = chart(720, barmode="stack")
        # A linear axis of the batch's logarithm, so that bars of one batch can lie side by side.
        batches = sorted({row["batch"] for one in drawn for row in one.rows})
        at = [math.log2(batch) for batch in batches]
        ticks = {"tickvals": at, "ticktext": [f"{batch:,}" for batch in batches]}
        metric = {"rangemode": "tozero", "exponentformat": "SI"}
        frame["xaxis"] = axis("batch", **ticks, anchor="y2", range=[at[0] - 0.6, at[-1] + 0.6])
        frame["yaxis"] = axis("tokens/s", **metric, domain=[0.46, 1])
        frame["yaxis2"] = axis("peak memory", **metric, ticksuffix="B", domain=[0, 0.38])
        data = [trace for one in drawn for trace in _boundary(one)]
        data += [trace for i, one in enumerate(drawn) for trace in _memory(one, i, len(drawn))]
        capacity = max((row["capacity_bytes"] or 0 for row in own), default=0)
        if capacity:
            line = {"color": QUIET, "width": 1.4, "dash": "dash"}
            ends = {"x0": 0, "x1": 1, "y0": capacity, "y1": capacity}
            frame["shapes"] = [{"type": "line", "xref": "paper", "yref": "y2", **ends, "line": line}]
            where = {"xref": "paper", "yref": "y2", "x": 0, "y": capacity, "xanchor": "left", "yanchor": "bottom"}
            text = {"text": f"the device's {si(capacity, 'B')}", "showarrow": False}
            frame["annotations"] = [{**text, "font": {"size": 11, "color": QUIET}, **where}]
        shown = [row for one in drawn for row in one.rows]
        notes = [in_all(shown, keys), *left_out(rest, "batch")]
        return {"data": data, "layout": frame}, sentences.throughput(drawn), notes

    return panels(rows, ["device", "prompt_tokens"], draw)


def _boundary(one: Series) -> list[Spec]:
    """Return the curve of the batches that fit, and a dotted line to a cross at the first batch that did not."""
    ordered = sorted(one.rows, key=lambda row: row["batch"])
    fits = [row | {"place": math.log2(row["batch"])} for row in ordered if row["outcome"] == "ok"]
    failed = [row for row in ordered if row["outcome"] == "oom"]
    traces: list[Spec] = []
    if fits:
        traces += lines([replace(one, rows=fits)], "place", "", [THROUGHPUT], base=None)["data"]
    if failed:
        # The cross has no throughput of its own: it lies at the height of the last batch that fits.
        level = fits[-1]["tokens_per_s"] if fits else 0
        beyond = ", ".join(f"{row['batch']:,}" for row in failed)
        x = [math.log2(row["batch"]) for row in (*fits[-1:], failed[0])]
        text = hover_text(one.label, f"out of memory at {beyond}", failed[0]["message"] or "")
        look = {
            "line": {"color": one.color, "dash": "dot", "width": 1.4},
            "marker": {"color": one.color, "symbol": "x", "size": [0, 11][-len(x) :]},
        }
        entry = {"name": escape(f"{one.label}, out of memory"), "legendgroup": escape(one.label)}
        tooltip = tooltips([text] * len(x))
        traces.append(scatter("lines+markers", x, [level] * len(x), showlegend=not fits, **entry, **look, **tooltip))
    return traces


def _memory(one: Series, rank: int, of: int) -> list[Spec]:
    """Return stacked bars of peak memory, outlined in the series' colour, at place ``rank`` of ``of`` side by side."""
    # Of several runs of one batch, the run with the highest peak: it is the last that the dictionary keeps.
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
            "textposition": "none",
            **tooltips(
                [hover_text(one.label, f"batch {row['batch']:,}, {name}: {si(row[column] or 0, 'B')}") for row in rows]
            ),
        }
        for column, (name, paint) in MEMORY.items()
        if any(row[column] for row in rows) or rank == 0
    ]
