"""Draw series as lines over a shared axis, with values of papers as marks beside them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ridgeline.reports.figures.layout import Spec, axis, error_bars, layout, scatter, tooltips
from ridgeline.reports.figures.palette import hue
from ridgeline.reports.formatting import digits, duration, percent, si
from ridgeline.reports.names import escape, hover_text
from ridgeline.reports.queries import Row, by_column
from ridgeline.reports.study.drawings.series import Series
from ridgeline.reports.study.paper import stated

# Values of papers are diamonds of this colour, never joined to our lines.
PAPER = hue("silver")
LEGEND: Spec = {"font": {"size": 11.5}, "tracegroupgap": 0, "itemsizing": "trace"}


@dataclass(frozen=True)
class Measure:
    """What an axis shows: a column of the view, its spread, and a reference drawn thin beside it.

    ``reference`` is a column and its name: a closed form, or the least time at the roofs. Values are multiplied by
    ``scale``.
    """

    title: str
    column: str
    spread: tuple[str, str] | None = None
    scale: float = 1.0
    unit: str = ""
    reference: tuple[str, str] | None = None


def chart(height: int, **more: Any) -> Spec:
    """Return the layout of a chart with a legend, ``height`` in pixels; ``more`` overrides."""
    return layout(height, margin={"l": 74, "r": 16, "t": 12, "b": 52}, showlegend=True, legend=LEGEND, **more)


def lines(drawn: Sequence[Series], x: str, x_title: str, measures: Sequence[Measure], *, base: int | None = 2) -> Spec:
    """Draw each measure on an axis of its own, one above the other, over one axis ``x``.

    The axis is logarithmic with ticks at the data, or linear if ``base`` is None.
    """
    count = len(measures)
    gap = 0.09 if count > 1 else 0
    spec: Spec = {"data": [], "layout": chart(90 + 330 * count)}
    places = sorted({row[x] for one in drawn for row in one.rows})
    spec["layout"]["xaxis"] = _x_axis(x_title, places, base, count)
    for i, measure in enumerate(measures):
        # Plotly's domains are shares of the height, from the bottom; the first measure is at the top.
        top = 1 - i * (1 + gap) / count
        domain = [max(top - (1 - gap * (count - 1)) / count, 0), top]
        suffix = "" if i == 0 else str(i + 1)
        spec["layout"][f"yaxis{suffix}"] = _y_axis(measure, drawn) | {"domain": domain}
        for one in drawn:
            spec["data"] += _traces(one, x, measure, f"y{suffix}")
    return spec


def _x_axis(title: str, places: Sequence[float], base: int | None, rows: int) -> Spec:
    anchor = f"y{rows}" if rows > 1 else "y"
    if base is None:
        return axis(title, anchor=anchor)
    # A tick at every place that has data, if its label has room: 5 % of the axis from the tick before.
    span = math.log(places[-1] / places[0]) or 1
    ticks: list[float] = []
    for place in places:
        if not ticks or math.log(place / ticks[-1]) >= 0.05 * span:
            ticks.append(place)
    low, high = math.log10(places[0]), math.log10(places[-1])
    room = max((high - low) * 0.04, 0.03)
    return axis(
        title,
        type="log",
        tickvals=ticks,
        ticktext=[f"{place:,.4g}" if place < 1e4 else si(place, "").strip() for place in ticks],
        anchor=anchor,
        range=[low - room, high + room],
        minor={"ticks": "", "showgrid": False},
    )


def _y_axis(measure: Measure, drawn: Sequence[Series]) -> Spec:
    """Return an axis from zero, or a logarithmic one if values span more than a decade."""
    values = [row[measure.column] * measure.scale for one in drawn for row in one.rows if row.get(measure.column)]
    if values and max(values) > 10 * min(values):
        # D2 is Plotly's name for ticks at 1, 2 and 5 of each decade.
        step = "D2" if max(values) < 1000 * min(values) else 1
        return axis(measure.title, type="log", dtick=step, exponentformat="SI", ticksuffix=measure.unit)
    return axis(measure.title, rangemode="tozero", exponentformat="SI", ticksuffix=measure.unit)


def _traces(one: Series, x: str, measure: Measure, y: str) -> list[Spec]:
    """Return the line of a series, and the thin line of the reference, each if it has any values."""

    def line(rows: Sequence[Row], column: str, name: str, **look: Any) -> Spec:
        places, values = [row[x] for row in rows], [row[column] * measure.scale for row in rows]
        group = escape(one.label)
        return scatter("lines+markers", places, values, name=escape(name), legendgroup=group, yaxis=y, **look)

    traces: list[Spec] = []
    ordered = sorted(one.rows, key=lambda row: row[x])
    if rows := [row for row in ordered if row.get(measure.column) is not None]:
        # A value that is projected from fewer steps has an open mark.
        projected = [f"{one.symbol}-open" if row.get("projected_from") else one.symbol for row in rows]
        symbol = projected if any(row.get("projected_from") for row in rows) else one.symbol
        look = {
            "line": {"color": one.color, "dash": one.dash, "width": 1.8},
            "marker": {"color": one.color, "symbol": symbol, "size": 7},
        }
        text = tooltips([_hover(row, one, measure) for row in rows])
        traces.append(line(rows, measure.column, one.label, showlegend=y == "y", **look, **text))
        low, high = measure.spread or (measure.column, measure.column)
        if any(row[low] != row[high] for row in rows):
            # From the least to the most of the repeats.
            above = [(row[high] - row[measure.column]) * measure.scale for row in rows]
            below = [(row[measure.column] - row[low]) * measure.scale for row in rows]
            traces[0]["error_y"] = error_bars(above, below, width=3)
    column, what = measure.reference or ("", "")
    if rows := [row for row in ordered if row.get(column)]:
        thin = {
            "line": {"color": one.color, "dash": "3px,3px", "width": 1},
            "marker": {"color": one.color, "symbol": "line-ew-open", "size": 7},
            "opacity": 0.9,
            "hovertemplate": f"%{{fullData.name}}: %{{y:.4s}}{measure.unit}<extra></extra>",
        }
        traces.append(line(rows, column, f"{one.label}, {what}", showlegend=False, **thin))
    return traces


def _hover(row: Row, one: Series, measure: Measure) -> str:
    show: Callable[[float], str] = duration if measure.unit == "s" else digits
    text = [one.label, row["name"], f"{measure.title}: {show(row[measure.column])}"]
    ends = [row[end] for end in measure.spread or ()]
    if len(set(ends)) == 2:
        text.append(f"over {row['repeats']} repeats: {show(ends[0])} to {show(ends[1])}")
    if row.get("projected_from"):
        text.append(f"projected: {row['projected_from']:,} steps were measured, each of the same cost")
    if row.get("throttled_share"):
        text.append(f"clocks throttled in {percent(row['throttled_share'])} of the samples")
    if row.get("bytes_source"):
        text.append(f"DRAM bytes: {row['bytes_source']}")
    return hover_text(*text)


def paper_marks(marks: Iterable[Row], y: str = "y") -> list[Spec]:
    """Return a trace of diamonds for each device of the entries of ``paper.toml`` that have a place on the axis.

    A range is a diamond at its middle with an error bar.
    """
    traces: list[Spec] = []
    for device, own in by_column((mark for mark in marks if mark.get("x") is not None), "device").items():
        ends = [(mark["value"],) * 2 if "value" in mark else (mark["low"], mark["high"]) for mark in own]
        halves = [(high - low) / 2 for low, high in ends]
        look = {
            "error_y": {"type": "data", "array": halves, "color": PAPER, "thickness": 1.4},
            "marker": {"color": PAPER, "symbol": "diamond-open", "size": 10, "line": {"width": 1.6}},
        }
        text = tooltips([escape(f"{mark['what']}: {stated(mark)}") for mark in own], "paper: %{text}")
        x, middles = [mark["x"] for mark in own], [(low + high) / 2 for low, high in ends]
        traces.append(scatter("markers", x, middles, name=escape(f"paper: {device}"), yaxis=y, **look, **text))
    return traces
