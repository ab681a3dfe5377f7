"""Rows of a figure's view as series: what tells them apart, in which colour, and as lines over a shared axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ridgeline.reports import units
from ridgeline.reports.figures.layout import Spec, axis, layout
from ridgeline.reports.names import clip, escape
from ridgeline.reports.queries import Row

MODES = {
    "ar": "#4574b8",
    "dlm_full": "#bb162c",
    "dlm_semi_ar": "#e0783c",
    "dlm_block_prefix": "#e4b93d",
    "dlm_block_dual": "#2a8e9a",
    "dlm_block_causal": "#8f80ea",
}
"""Colours of decoding modes, apart in normal, deuteranopic and protanopic sight."""

OTHER_MODE = "#7f7f7f"
DASHES = {"eager": "dot", "cuda_graph": "dash", "compile": "solid"}
SYMBOLS = ("circle", "square", "triangle-up", "star", "cross", "hexagon", "triangle-down", "pentagon", "bowtie")
PAPER = "#7d8794"
"""The colour of what a paper says: its marks are diamonds, never joined to ours."""

KEYS = {
    "mode": "{}",
    "kind": "{}",
    "model": "{}",
    "execution": "{}",
    "block": "block {}",
    "options": "{}",
    "batch": "batch {:,}",
    "prompt_tokens": "prompt {:,}",
    "generated_tokens": "{:,} generated",
    "tokens_per_step": "{:.3g} tokens a step",
    "dtype": "{}",
    "component": "{}",
    "device": "{}",
}
"""The settings that may tell series apart, the telling ones first, and how a label says them."""


ALONE = ("mode", "execution")
"""Said of what nothing needs telling apart from."""

ALWAYS = (*ALONE, "tokens_per_step")
"""Said wherever they differ, even if something else tells the same rows apart."""

MOST_UNDRAWN = 6
"""Settings without a figure that are named."""


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure; ``notes`` say what it leaves out."""

    title: str
    spec: Spec
    rows: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """Rows that share every setting but the one on the axis."""

    label: str
    rows: list[Row]
    color: str
    dash: str
    symbol: str


@dataclass(frozen=True)
class Measure:
    """What an axis shows: the view's column, its spread, and a column drawn thin beside it (a closed form, a floor)."""

    title: str
    column: str
    spread: tuple[str, str] | None = None
    scale: float = 1.0
    unit: str = ""
    beside: tuple[str, str] | None = None
    """A column, and what it is."""


def said(key: str, value: Any) -> str:
    """A setting in words.

    >>> said("batch", 4), said("mode", "ar"), said("block", None), said("tokens_per_step", 1)
    ('batch 4', 'ar', '', '1 token a step')
    """
    if value is None or value == "":
        return ""
    text = KEYS.get(key, "{}").format(value)
    return clip("1 token a step" if text == "1 tokens a step" else text, 48)


def common(rows: Sequence[Row], keys: Iterable[str]) -> dict[str, Any]:
    """The settings that all rows share, and say."""
    return {
        key: rows[0][key]
        for key in keys
        if rows and rows[0].get(key) not in (None, "") and len({row.get(key) for row in rows}) == 1
    }


def telling(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """The keys, in their order, that tell groups of rows apart which those before do not; and what is always said."""
    chosen: list[str] = []
    for key in keys:
        tells = len(_groups(rows, [*chosen, key])) > len(_groups(rows, chosen))
        if tells or (key in ALWAYS and len(_groups(rows, [key])) > 1):
            chosen.append(key)
    return chosen


def label(row: Row, keys: Iterable[str], alone: Iterable[str] = ALONE) -> str:
    """What tells a row apart, in words; what is said of one that nothing does."""
    told = [text for key in keys if (text := said(key, row.get(key)))]
    return " · ".join(told or [text for key in alone if (text := said(key, row.get(key)))])


def in_all(rows: Sequence[Row], keys: Iterable[str]) -> str:
    """A sentence about the settings that all rows share."""
    shared = ", ".join(said(key, value) for key, value in common(rows, keys).items())
    return f"In all: {shared}." if shared else ""


def grouped(rows: Sequence[Row], keys: Sequence[str]) -> list[tuple[str, list[Row]]]:
    """Rows by these settings, each group with the label that tells it apart."""
    chosen = telling(rows, keys)
    return [(label(own[0], chosen, keys), own) for own in _groups(rows, chosen).values()]


def _groups(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return dict(sorted(found.items(), key=lambda group: [_order(value) for value in group[0]]))


def _order(value: Any) -> tuple[bool, float, str]:
    """Nothing first, then numbers by size, modes in their order, and other words."""
    if value is None or isinstance(value, int | float):
        return (value is not None, float(value or 0), "")
    return (True, list(MODES).index(value) if value in MODES else len(MODES), str(value))


def series(rows: Sequence[Row], keys: Sequence[str]) -> list[Series]:
    """Series with their looks: colour for the mode, dashes for the execution, a mark for each of the rest."""
    chosen = telling(rows, keys)
    groups = [(label(own[0], chosen), own) for own in _groups(rows, chosen).values()]
    alike: dict[tuple[str, str], int] = {}
    found = []
    for name, own in groups:
        mode, execution = str(own[0].get("mode")), str(own[0].get("execution"))
        rank = alike.setdefault((mode, execution), 0)
        alike[mode, execution] += 1
        symbol = SYMBOLS[rank % len(SYMBOLS)]
        found.append(Series(name, own, color(mode), DASHES.get(execution, "solid"), symbol))
    return found


def color(mode: str) -> str:
    """A mode's colour."""
    return MODES.get(mode, OTHER_MODE)


def curves(rows: Sequence[Row], keys: Sequence[str], x: str) -> tuple[list[Series], list[Row]]:
    """The series that span some of the axis, and the rows of those in one place: no curve."""
    found = series(rows, keys)
    drawn = [one for one in found if spans(row[x] for row in one.rows)]
    kept = {id(row) for one in drawn for row in one.rows}
    rest = [row for row in rows if id(row) not in kept]
    return series([row for row in rows if id(row) in kept], keys), rest


def spans(places: Iterable[float]) -> bool:
    """Whether places are far enough apart for a curve: by a quarter at least.

    >>> spans([1024, 1056]), spans([1, 2])
    (False, True)
    """
    found = sorted(places)
    return found[-1] >= 1.25 * found[0]


def lines(drawn: Sequence[Series], x: str, x_title: str, measures: Sequence[Measure], *, base: int | None = 2) -> Spec:
    """Each measure in an axis of its own, one above the other, over the same x: powers of ``base``, or linear."""
    count = len(measures)
    gap = 0.09 if count > 1 else 0
    spec: Spec = {"data": [], "layout": layout(90 + 330 * count, margin={"l": 74, "r": 16, "t": 12, "b": 52})}
    places = sorted({row[x] for one in drawn for row in one.rows})
    spec["layout"] |= {"showlegend": True, "legend": LEGEND, "xaxis": x_axis(x_title, places, base, count)}
    for i, measure in enumerate(measures):
        top = 1 - i * (1 + gap) / count
        name = "yaxis" if i == 0 else f"yaxis{i + 1}"
        spec["layout"][name] = y_axis(measure, drawn) | {"domain": [max(top - (1 - gap * (count - 1)) / count, 0), top]}
        for one in drawn:
            spec["data"] += _traces(one, x, measure, "y" if i == 0 else f"y{i + 1}", legend=i == 0)
    return spec


LEGEND: Spec = {"font": {"size": 11.5}, "tracegroupgap": 0, "itemsizing": "trace"}


def x_axis(title: str, places: Sequence[float], base: int | None, rows: int) -> Spec:
    """An axis with a tick at every place there are data, as far as they fit."""
    if base is None:
        return axis(title, anchor=f"y{rows}" if rows > 1 else "y")
    ticks = _apart(places)
    text = [f"{place:,.4g}" if place < 1e4 else units.si(place, "").strip() for place in ticks]
    anchor = f"y{rows}" if rows > 1 else "y"
    low, high = math.log10(places[0]), math.log10(places[-1])
    room = max((high - low) * 0.04, 0.03)
    return axis(
        title, type="log", tickvals=list(ticks), ticktext=text, anchor=anchor, range=[low - room, high + room],
        minor={"ticks": "", "showgrid": False},
    )  # fmt: skip


def _apart(places: Sequence[float], least: float = 0.05) -> list[float]:
    """Those places that leave room for their labels on a logarithmic axis.

    >>> _apart([1, 2, 64, 65, 128])
    [1, 2, 64, 128]
    """
    span = math.log(places[-1] / places[0]) or 1
    kept: list[float] = []
    for place in places:
        if not kept or math.log(place / kept[-1]) >= least * span:
            kept.append(place)
    return kept


def y_axis(measure: Measure, drawn: Sequence[Series]) -> Spec:
    """From zero, or logarithmic where values span more than a decade."""
    values = [row[measure.column] * measure.scale for one in drawn for row in one.rows if row.get(measure.column)]
    if values and max(values) > 10 * min(values):
        step = "D2" if max(values) < 1000 * min(values) else 1
        return axis(measure.title, type="log", dtick=step, exponentformat="SI", ticksuffix=measure.unit)
    return axis(measure.title, rangemode="tozero", exponentformat="SI", ticksuffix=measure.unit)


def _traces(one: Series, x: str, measure: Measure, y: str, *, legend: bool) -> list[Spec]:
    rows = sorted((row for row in one.rows if row.get(measure.column) is not None), key=lambda row: row[x])
    traces = []
    if rows:
        traces.append(_measured(one, rows, x, measure, y) | {"showlegend": legend})
    if measure.beside:
        traces += _beside(one, x, measure, *measure.beside, y)
    return traces


def _measured(one: Series, rows: list[Row], x: str, measure: Measure, y: str) -> Spec:
    spread = _spread(rows, measure)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(one.label),
        "legendgroup": escape(one.label),
        "x": [row[x] for row in rows],
        "y": [row[measure.column] * measure.scale for row in rows],
        "yaxis": y,
        "line": {"color": one.color, "dash": one.dash, "width": 1.8},
        "marker": {"color": one.color, "symbol": _symbols(one, rows), "size": 7},
        "text": [_hover(row, one, measure) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        **({"error_y": spread} if spread else {}),
    }


def _symbols(one: Series, rows: Sequence[Row]) -> str | list[str]:
    """The series' mark, open where a value is projected from fewer steps."""
    if not any(row.get("projected_from") for row in rows):
        return one.symbol
    return [f"{one.symbol}-open" if row.get("projected_from") else one.symbol for row in rows]


def _beside(one: Series, x: str, measure: Measure, column: str, what: str, y: str) -> list[Spec]:
    rows = sorted((row for row in one.rows if row.get(column)), key=lambda row: row[x])
    thin: Spec = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(f"{one.label}, {what}"),
        "legendgroup": escape(one.label),
        "showlegend": False,
        "x": [row[x] for row in rows],
        "y": [row[column] * measure.scale for row in rows],
        "yaxis": y,
        "line": {"color": one.color, "dash": "3px,3px", "width": 1},
        "marker": {"color": one.color, "symbol": "line-ew-open", "size": 7},
        "opacity": 0.75,
        "hovertemplate": f"%{{fullData.name}}: %{{y:.4s}}{measure.unit}<extra></extra>",
    }
    return [thin] if rows else []


def _spread(rows: list[Row], measure: Measure) -> Spec | None:
    """Error bars from the least to the most of the repeats; none where nothing was repeated."""
    low, high = measure.spread or (measure.column, measure.column)
    if all(row[low] == row[high] for row in rows):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [(row[high] - row[measure.column]) * measure.scale for row in rows],
        "arrayminus": [(row[measure.column] - row[low]) * measure.scale for row in rows],
        "thickness": 1.2,
        "width": 3,
    }


def _hover(row: Row, one: Series, measure: Measure) -> str:
    shown: Callable[[float], str] = units.duration if measure.unit == "s" else units.digits
    found = [one.label, row["name"], f"{measure.title}: {shown(row[measure.column])}"]
    ends = [row[end] for end in measure.spread or ()]
    if len(set(ends)) == 2:
        found.append(f"over {row['repeats']} repeats: {shown(ends[0])} to {shown(ends[1])}")
    if row.get("projected_from"):
        found.append(f"projected: {row['projected_from']:,} steps were measured, all of one cost")
    if row.get("throttled_share"):
        found.append(f"clocks held back in {units.percent(row['throttled_share'])} of the samples")
    if row.get("bytes_source"):
        found.append(f"DRAM bytes: {row['bytes_source']}")
    return "<br>".join(escape(clip(line, 96)) for line in found)


def papers(marks: Iterable[Row], y: str = "y") -> list[Spec]:
    """What papers say, where an axis can show it: diamonds of their own, a trace for each device; a bar for a range."""
    found: dict[str, list[Row]] = {}
    for mark in marks:
        if mark.get("x") is not None:
            found.setdefault(mark["device"], []).append(mark)
    return [_paper(device, own, y) for device, own in found.items()]


def _paper(device: str, marks: Sequence[Row], y: str) -> Spec:
    ends = [(mark["value"],) * 2 if "value" in mark else (mark["low"], mark["high"]) for mark in marks]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(f"paper: {device}"),
        "x": [mark["x"] for mark in marks],
        "y": [(low + high) / 2 for low, high in ends],
        "yaxis": y,
        "error_y": {
            "type": "data",
            "array": [(high - low) / 2 for low, high in ends],
            "color": PAPER,
            "thickness": 1.4,
        },
        "marker": {"color": PAPER, "symbol": "diamond-open", "size": 10, "line": {"width": 1.6}},
        "text": [escape(f"{mark['what']}: {stated(mark)}") for mark in marks],
        "hovertemplate": "paper: %{text}<extra></extra>",
    }


def stated(mark: Row) -> str:
    """What a paper states, in its unit.

    >>> stated({"value": 31.1, "unit": "FLOP/B"}), stated({"low": 2, "high": 3, "unit": "times"})
    ('31.1 FLOP/B', '2 to 3 times')
    """
    number = f"{mark['value']:g}" if "value" in mark else f"{mark['low']:g} to {mark['high']:g}"
    return f"{number} {mark['unit']}"


def panels(
    rows: Sequence[Row], keys: Sequence[str], draw: Callable[[list[Row]], tuple[Spec, Sequence[str]] | None]
) -> list[Panel]:
    """A drawing for each combination of these settings, the broadest first; each says which make none."""
    drawn, undrawn = [], []
    for title, own in grouped(rows, keys):
        found = draw(own)
        if found:
            notes = (*found[1], _held_back(own))
            drawn.append(Panel(title, found[0], len(own), tuple(note for note in notes if note)))
        else:
            undrawn.append(f"{title} ({len({row['run_id'] for row in own})} runs)")
    more = [f"{len(undrawn) - MOST_UNDRAWN} others"] if len(undrawn) > MOST_UNDRAWN else []
    note = (f"No figure of: {'; '.join(undrawn[:MOST_UNDRAWN] + more)}.",) if undrawn else ()
    by_breadth = sorted(drawn, key=lambda panel: (-_places(panel.spec), -panel.rows))
    return [replace(panel, notes=panel.notes + note) for panel in by_breadth]


def _places(spec: Spec) -> int:
    """How many values of its axis a drawing has marks at."""
    return len({place for trace in spec["data"] for place in trace.get("x", ()) if place is not None})


def _held_back(rows: Sequence[Row]) -> str:
    """Of how many runs the clocks were held back while they were timed."""
    runs = {row["run_id"] for row in rows}
    held = {row["run_id"] for row in rows if row.get("throttled_share")}
    return f"Clocks were held back at times (power cap, heat) in {len(held)} of {len(runs)} runs." if held else ""
