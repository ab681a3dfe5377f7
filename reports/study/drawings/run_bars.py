"""Draw one horizontal bar a run: the parts of its latency, or its joules per token."""

from collections.abc import Sequence

from ridgeline.reports.figures.layout import QUIET, Spec, axis, error_bars, horizontal_bars, layout, scatter, tooltips
from ridgeline.reports.figures.palette import hue
from ridgeline.reports.formatting import digits, duration, percent
from ridgeline.reports.names import escape, hover_text
from ridgeline.reports.queries import Row, by_column
from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.lines import LEGEND
from ridgeline.reports.study.drawings.panels import Drawing, Panel, panels
from ridgeline.reports.study.drawings.settings import SETTINGS, color, distinguishing, in_all, label

# In the order in which parts are stacked.
PARTS = {
    "prefill": hue("blue"),
    "decode": hue("sky"),
    "denoise": hue("red"),
    "refresh": hue("orange"),
    "reuse": hue("teal"),
    "commit": hue("lavender"),
    "sampling": hue("rose"),
    "host": hue("silver"),
}

# Label and rows of each run; its rows are the parts of its latency.
Bars = Sequence[tuple[str, list[Row]]]


def run_bars(rows: Sequence[Row], column: str) -> list[tuple[str, list[Row]]]:
    """Return label and rows of each run, the runs with the highest value of ``column`` first.

    Plotly draws the first category at the bottom.
    """
    keys = distinguishing(rows, SETTINGS)
    ordered = sorted(by_column(rows, "run_id").values(), key=lambda own: (-own[0][column], own[0]["run_id"]))
    labels = [label(own[0], keys) for own in ordered]
    return [(distinct(labels, i), own) for i, own in enumerate(ordered)]


def distinct(labels: Sequence[str], i: int) -> str:
    """Return label ``i``, numbered if several labels equal it: Plotly draws a category once."""
    before = labels[:i].count(labels[i])
    return f"{labels[i]} ({before + 1})" if labels.count(labels[i]) > 1 else labels[i]


def end_labels(x: Sequence[float], y: Sequence[str], text: Sequence[str]) -> Spec:
    """Return text right of the ends of bars, at ``x``."""
    look = {"textposition": "middle right", "textfont": {"size": 11, "color": QUIET}, "meta": {"role": "text"}}
    return scatter("text", x, y, text=[f"  {label}" for label in text], **look, hoverinfo="skip", cliponaxis=False)


def frame(labels: Sequence[str], unit: str) -> Spec:
    """Return the layout of a bar for each label."""
    categories = {"type": "category", "categoryorder": "array", "categoryarray": list(labels)}
    return layout(
        80 + 26 * len(labels),
        margin={"l": 8, "r": 20, "t": 10, "b": 40},
        barmode="stack",
        bargap=0.32,
        xaxis=axis("", tickformat="~s", ticksuffix=unit, nticks=7, rangemode="tozero"),
        yaxis=axis("", **categories, showgrid=False, ticksuffix="  "),
    )


def split(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E2: draw the parts of a latency, one bar a run."""

    def draw(own: list[Row]) -> Drawing:
        labelled = run_bars(own, "latency_ns")
        bars = [(escape(name), parts) for name, parts in labelled]
        # Kinds of steps that this version does not know are stacked last.
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
        return spec, sentences.split(labelled), notes

    return panels(rows, ["device", "model", "batch", "prompt_tokens", "generated_tokens"], draw)


def _part(part: str, bars: Bars) -> Spec:
    own = [(name, row) for name, rows in bars for row in rows if row["part"] == part]
    return horizontal_bars(
        [row["value_ns"] / 1e9 for _, row in own],
        [name for name, _ in own],
        name=escape(part),
        marker={"color": PARTS.get(part, hue("slate"))},
        textposition="none",
        **tooltips(
            [f"{duration(row['value_ns'])}, {percent(row['value_ns'] / row['latency_ns'])}" for _, row in own],
            "%{y}<br>%{fullData.name}: %{text}",
        ),
    )


def _totals(bars: Bars) -> list[Spec]:
    """Return the spread of each bar over the repeats, and its total beyond it."""
    runs = [rows[0] for _, rows in bars]
    names = [name for name, _ in bars]
    above = [(run["high_ns"] - run["latency_ns"]) / 1e9 for run in runs]
    below = [(run["latency_ns"] - run["low_ns"]) / 1e9 for run in runs]
    spread = error_bars(above, below, color=QUIET, width=4)
    # Stacked bars cannot have a common error bar, so an invisible mark at the end of each carries it.
    hidden = {"showlegend": False, "hoverinfo": "skip", "cliponaxis": False, "marker": {"opacity": 0}}
    totals = [run["latency_ns"] for run in runs]
    labels = end_labels([run["high_ns"] / 1e9 for run in runs], names, [duration(total) for total in totals])
    return [
        scatter("markers", [total / 1e9 for total in totals], names, error_x=spread, **hidden),
        labels | {"showlegend": False},
    ]


def energy(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """Draw joules per committed token, one bar a run."""

    def draw(own: list[Row]) -> Drawing:
        labelled = [(name, runs[0]) for name, runs in run_bars(own, "joules_per_token")]
        bars = [(escape(name), run) for name, run in labelled]
        look = {"textposition": "outside", "cliponaxis": False, "textfont": {"size": 11, "color": QUIET}}
        joules = horizontal_bars(
            [row["joules_per_token"] for _, row in bars],
            [name for name, _ in bars],
            marker={"color": [color(row["mode"]) for _, row in bars]},
            text=[f"{digits(row['joules_per_token'])} J at {row['mean_power_w']:.0f} W" for _, row in bars],
            hovertext=[hover_text(row["name"], f"telemetry over {row['telemetry_s']:.2f} s") for _, row in bars],
            hovertemplate="%{hovertext}<br>%{text}<extra></extra>",
            meta={"role": "text"},
            **look,
        )
        spec: Spec = {"data": [joules], "layout": frame([name for name, _ in bars], "J")}
        # Text outside the longest bar needs room that Plotly does not reserve.
        longest = max(row["joules_per_token"] for _, row in bars)
        spec["layout"]["xaxis"] |= {"range": [0, longest * 1.3], "title": axis("joules per committed token")["title"]}
        return spec, sentences.energy(labelled), [in_all([row for _, row in bars], SETTINGS)]

    return panels(rows, ["device", "batch", "prompt_tokens", "generated_tokens"], draw)
