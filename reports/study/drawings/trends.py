"""A quantity against one option that runs differ in: latency, intensity, the time of a step."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports.figures.layout import Spec
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.series import (
    Measure,
    Panel,
    Series,
    curves,
    in_all,
    lines,
    panels,
    papers,
    series,
)
from ridgeline.reports.study.drawings.settings import all_but

LATENCY = Measure("latency", "latency_ns", ("low_ns", "high_ns"), 1e-9, "s")
THROUGHPUT = Measure("tokens/s", "tokens_per_s", ("low_tokens_per_s", "high_tokens_per_s"))
INTENSITY = Measure("FLOP per byte", "intensity", beside=("predicted_intensity", "closed form"))


def latency(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E2: latency against the generated length."""
    keys = all_but("generated_tokens")
    return panels(
        rows, ["device"], lambda own: _curves(own, "generated_tokens", "generated tokens", [LATENCY], keys, marks)
    )


def intensity(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E3: intensity against the attended length."""
    keys = ("mode", "kind", *all_but("mode", "prompt_tokens", "generated_tokens", "tokens_per_step"))
    return panels(
        rows, ["device", "batch"], lambda own: _curves(own, "length", "attended length", [INTENSITY], keys, marks)
    )


def batches(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E8: intensity against the batch."""
    keys = ("mode", "kind", *all_but("mode", "batch", "tokens_per_step"))
    return panels(
        rows, ["device", "prompt_tokens"], lambda own: _curves(own, "batch", "batch", [INTENSITY], keys, marks)
    )


def block_sizes(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E5: latency, and the intensity of a step within a block, against the block size."""
    keys = all_but("block")
    measures = [LATENCY, INTENSITY]
    return panels(rows, ["device"], lambda own: _curves(own, "block", "block size", measures, keys, marks))


def steps(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E7: latency and throughput against the number of steps; AR, which has none to choose, as a level line.

    Of AR only what shares an option with a curve, lest a model of a few layers be set beside a whole one.
    """
    keys = all_but("tokens_per_step")

    def draw(own: list[Row]) -> tuple[Spec, list[str]] | None:
        found = _curves(own, "steps", "steps", [LATENCY, THROUGHPUT], keys, marks)
        if found:
            places = [row["steps"] for row in own if row["steps"] is not None]
            drawn, _ = curves([row for row in own if row["steps"] is not None], keys, "steps")
            options = {row["options"] for one in drawn for row in one.rows}
            levels = [row for row in own if row["mode"] == "ar" and row["steps"] is None and row["options"] in options]
            for level in series(levels, keys):
                found[0]["data"] += _levels(level, min(places), max(places))
        return found

    return panels(rows, ["device", "batch", "prompt_tokens", "generated_tokens"], draw)


def lengths(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E9: the time of a step against the length it attends to."""
    measure = Measure("step", "step_ns", ("low_ns", "high_ns"), 1e-9, "s", ("floor_ns", "at the roofs"))
    keys = all_but("prompt_tokens", "generated_tokens", "tokens_per_step")
    return panels(
        rows, ["device", "kind", "batch"], lambda own: _curves(own, "length", "attended length", [measure], keys, marks)
    )


def _levels(one: Series, low: float, high: float) -> list[Spec]:
    row = one.rows[0]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": escape(f"{one.label}, any number of steps"),
            "legendgroup": escape(f"level {one.label}"),
            "showlegend": y == "y",
            "x": [low, high],
            "y": [value, value],
            "yaxis": y,
            "line": {"color": one.color, "dash": one.dash, "width": 1.4},
            "hovertemplate": "%{fullData.name}: %{y:.4s}<extra></extra>",
        }
        for y, value in (("y", row["latency_ns"] / 1e9), ("y2", row["tokens_per_s"]))
    ]


def _curves(
    rows: Sequence[Row], x: str, title: str, measures: Sequence[Measure], keys: Sequence[str], marks: Sequence[Row] = ()
) -> tuple[Spec, list[str]] | None:
    """Lines over an axis, of the series that have at least two places on it; None where none has."""
    rows = [row for row in rows if row.get(x) is not None]
    drawn, rest = curves(rows, keys, x)
    if not drawn:
        return None
    spec = lines(drawn, x, title, measures)
    shown = [row for one in drawn for row in one.rows]
    low, high = min(row[x] for row in shown), max(row[x] for row in shown)
    within = [mark for mark in marks if low <= mark.get("x", low - 1) <= high]
    spec["data"] += papers(within, "y" if len(measures) == 1 else f"y{len(measures)}")
    return spec, [in_all(shown, keys), *left_out(rest, title)]


def left_out(rest: Sequence[Row], title: str) -> list[str]:
    """How many runs are on no line over this axis."""
    runs = len({row["run_id"] for row in rest})
    several = "s" if runs != 1 else ""
    return [f"{runs} run{several} left out: no other differs in {title} alone."] if runs else []
