"""Draw a quantity against one setting that runs differ in: latency, intensity, the time of a step."""

from collections.abc import Sequence

from ridgeline.reports.figures.layout import scatter
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.lines import Measure, lines, paper_marks
from ridgeline.reports.study.drawings.panels import Draw, Drawing, Panel, panels
from ridgeline.reports.study.drawings.series import curves, series
from ridgeline.reports.study.drawings.settings import all_but, in_all

LATENCY = Measure("latency", "latency_ns", ("low_ns", "high_ns"), 1e-9, "s")
THROUGHPUT = Measure("tokens/s", "tokens_per_s", ("low_tokens_per_s", "high_tokens_per_s"))
INTENSITY = Measure("FLOP per byte", "intensity", reference=("predicted_intensity", "closed form"))
STEP = Measure("step", "step_ns", ("low_ns", "high_ns"), 1e-9, "s", ("floor_ns", "at the roofs"))


def trend(by: Sequence[str], x: str, title: str, measures: Sequence[Measure], keys: Sequence[str]) -> Draw:
    """Return the function that draws ``measures`` over the axis ``x``, called ``title``, in a panel for each of ``by``.

    Rows that agree in ``keys`` are one line.
    """

    def draw(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
        return panels(rows, by, lambda own: _curves(own, x, title, measures, keys, marks))

    return draw


# E2: latency against the generated length.
latency = trend(["device"], "generated_tokens", "generated tokens", [LATENCY], all_but("generated_tokens"))
# E3: intensity against the attended length.
INTENSITY_KEYS = ("mode", "kind", *all_but("mode", "prompt_tokens", "generated_tokens", "tokens_per_step"))
intensity = trend(["device", "batch"], "length", "attended length", [INTENSITY], INTENSITY_KEYS)
# E8: intensity against the batch.
BATCH_KEYS = ("mode", "kind", *all_but("mode", "batch", "tokens_per_step"))
batches = trend(["device", "prompt_tokens"], "batch", "batch", [INTENSITY], BATCH_KEYS)
# E5: latency, and the intensity of a step within a block, against the block size.
block_sizes = trend(["device"], "block", "block size", [LATENCY, INTENSITY], all_but("block"))
# E9: the time of a step against its attended length.
LENGTH_KEYS = all_but("prompt_tokens", "generated_tokens", "tokens_per_step")
lengths = trend(["device", "kind", "batch"], "length", "attended length", [STEP], LENGTH_KEYS)


def steps(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E7: draw latency and throughput against the number of steps; AR, which has no such setting, as level lines."""
    keys = all_but("tokens_per_step")

    def draw(own: list[Row]) -> Drawing | None:
        drawing = _curves(own, "steps", "steps", [LATENCY, THROUGHPUT], keys, marks)
        if drawing is None:
            return None
        with_steps = [row for row in own if row["steps"] is not None]
        low, high = min(row["steps"] for row in with_steps), max(row["steps"] for row in with_steps)
        # Only AR runs with the options of some curve: a model of a few layers is not comparable with a whole one.
        drawn, _ = curves(with_steps, keys, "steps")
        options = {row["options"] for one in drawn for row in one.rows}
        ar = [row for row in own if row["mode"] == "ar" and row["steps"] is None and row["options"] in options]
        levels = series(ar, keys)
        for one in levels:
            look = {
                "name": escape(f"{one.label}, any number of steps"),
                "legendgroup": escape(f"level {one.label}"),
                "line": {"color": one.color, "dash": one.dash, "width": 1.4},
                "hovertemplate": "%{fullData.name}: %{y:.4s}<extra></extra>",
            }
            row = one.rows[0]
            for y, value in (("y", row["latency_ns"] / 1e9), ("y2", row["tokens_per_s"])):
                level = scatter("lines", [low, high], [value, value], yaxis=y, showlegend=y == "y", **look)
                drawing[0]["data"].append(level)
        spec, says, notes = drawing
        return spec, f"{says} {sentences.against_ar(levels, drawn)}", notes

    return panels(rows, ["device", "batch", "prompt_tokens", "generated_tokens"], draw)


def _curves(
    rows: Sequence[Row], x: str, title: str, measures: Sequence[Measure], keys: Sequence[str], marks: Sequence[Row]
) -> Drawing | None:
    """Return lines over the axis ``x``, sentences and notes; None if no series has two places on it."""
    drawn, rest = curves([row for row in rows if row.get(x) is not None], keys, x)
    if not drawn:
        return None
    spec = lines(drawn, x, title, measures)
    shown = [row for one in drawn for row in one.rows]
    # A paper's value beyond our data would stretch the axis.
    low, high = min(row[x] for row in shown), max(row[x] for row in shown)
    within = [mark for mark in marks if low <= mark.get("x", low - 1) <= high]
    spec["data"] += paper_marks(within, "y" if len(measures) == 1 else f"y{len(measures)}")
    return spec, sentences.trend(drawn, x, measures[0]), [in_all(shown, keys), *left_out(rest, title)]


def left_out(rest: Sequence[Row], title: str) -> list[str]:
    """Return a note about the number of runs that are on no line over this axis."""
    runs = len({row["run_id"] for row in rest})
    if not runs:
        return []
    return [f"{runs} run{'s' if runs != 1 else ''} left out: no other run differs in {title} alone."]
