"""What each figure of the study draws from the rows of its view: panels, or none where the rows make no figure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from reports import families, units
from reports.figures import roofs
from reports.figures.layout import QUIET, Spec, axis, layout, log_axis
from reports.figures.series import (
    KEYS,
    LEGEND,
    MODES,
    Measure,
    Panel,
    Series,
    color,
    curves,
    in_all,
    label,
    lines,
    panels,
    papers,
    series,
    telling,
)
from reports.machine import Machine
from reports.names import clip, escape
from reports.queries import Row

SETTINGS = tuple(key for key in KEYS if key not in ("kind", "component", "device"))
PARTS = {
    "prefill": "#4574b8",
    "decode": "#74ace7",
    "denoise": "#bb162c",
    "refresh": "#e0783c",
    "reuse": "#2a8e9a",
    "commit": "#8f80ea",
    "sampling": "#e0a8c0",
    "host": "#a2a2a2",
}
"""Parts of a latency, in the order they are stacked."""

MEMORY = {
    "weights_bytes": ("weights", "#4574b8"),
    "cache_bytes": ("cache", "#e4b93d"),
    "other_bytes": ("activations and the rest", "#a2a2a2"),
}
COMPONENTS = {"linear": "#4574b8", "attention": "#e0783c", "other": "#e4b93d", "all": "#1f9e89"}
STAGES = {"ideal": "#2a8e9a", "steps": "#4f64b9", "work": "#cbab84", "host": "#a2a2a2"}

LATENCY = Measure("latency", "latency_ns", ("low_ns", "high_ns"), 1e-9, "s")
THROUGHPUT = Measure("tokens/s", "tokens_per_s", ("low_tokens_per_s", "high_tokens_per_s"))
INTENSITY = Measure("FLOP per byte", "intensity", beside=("predicted_intensity", "closed form"))


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
    return spec, [in_all(shown, keys), *_left_out(rest, title)]


def _left_out(rest: Sequence[Row], title: str) -> list[str]:
    runs = len({row["run_id"] for row in rest})
    several = "s" if runs != 1 else ""
    return [f"{runs} run{several} left out: no other differs in {title} alone."] if runs else []


def _without(*axes: str) -> tuple[str, ...]:
    return tuple(key for key in SETTINGS if key not in axes)


def costs(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E1: intensity by the closed forms against that of the traced kernels; on the diagonal they agree."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]] | None:
        known = [row for row in own if row["predicted_intensity"] and row["intensity"]]
        if not known:
            return None
        ends = _decades([row[key] for row in known for key in ("predicted_intensity", "intensity")])
        data: list[Spec] = [_diagonal(ends)]
        for component, paint in COMPONENTS.items():
            data += _parity([row for row in known if row["component"] == component], component, paint)
        frame = layout(520, margin={"l": 74, "r": 16, "t": 12, "b": 52}, showlegend=True, legend=LEGEND)
        frame["xaxis"] = log_axis("closed form, FLOP per byte", ends)
        frame["yaxis"] = log_axis("kernels, FLOP per byte of DRAM traffic", ends)
        unknown = len(own) - len(known)
        left_out = f"{unknown} of {len(own)} points left out: no intensity by trace." if unknown else ""
        return {"data": data, "layout": frame}, [_shapes(known), left_out]

    found = panels(rows, ["device", "convention"], draw)
    return sorted(found, key=lambda panel: "corrected" not in panel.title)


KINDS = {"prefill": "square", "decode": "circle", "denoise": "star", "refresh": "triangle-up", "reuse": "diamond"}
"""The mark of each kind of step; a cross for another."""


def _shapes(rows: Sequence[Row]) -> str:
    """What the marks mean.

    >>> _shapes([{"kind": "decode"}, {"kind": "commit"}])
    'Marks: decode circle, commit cross.'
    """
    kinds = sorted(
        {row["kind"] for row in rows}, key=lambda kind: (list(KINDS).index(kind) if kind in KINDS else 9, kind)
    )
    marks = [f"{kind} {_mark(kind).removesuffix('-up')}" for kind in kinds]
    return f"Marks: {', '.join(marks)}."


def _mark(kind: str) -> str:
    return KINDS.get(kind, "cross")


def _decades(values: Sequence[float]) -> tuple[int, int]:
    return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


def _diagonal(ends: tuple[int, int]) -> Spec:
    line = [10.0**e for e in ends]
    stroke = {"color": QUIET, "width": 1.2}
    look = {"mode": "lines", "line": stroke, "hoverinfo": "skip", "showlegend": False, "meta": {"role": "roof"}}
    return {"type": "scatter", "x": line, "y": line, "name": "equal", **look}


def _parity(rows: Sequence[Row], component: str, paint: str) -> list[Spec]:
    if not rows:
        return []
    text = [
        _lines(row["name"], f"{row['kind']}, {row['query']:,} of {row['context']:,.0f}, {component}") for row in rows
    ]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": component,
            "x": [row["predicted_intensity"] for row in rows],
            "y": [row["intensity"] for row in rows],
            "marker": {
                "color": paint,
                "size": 8,
                "opacity": 0.8,
                "symbol": [_mark(r["kind"]) for r in rows],
            },
            "text": text,
            "hovertemplate": "%{text}<br>closed form %{x:.4g}, kernels %{y:.4g} FLOP/B<extra></extra>",
        }
    ]


def _lines(*text: str) -> str:
    return "<br>".join(escape(clip(line, 96)) for line in text)


def latency(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E2: latency against the generated length."""
    keys = _without("generated_tokens")
    return panels(
        rows, ["device"], lambda own: _curves(own, "generated_tokens", "generated tokens", [LATENCY], keys, marks)
    )


def split(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E2: the parts of a latency, a bar a run."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        bars = _bars(own, "latency_ns")
        parts = [*PARTS, *sorted({row["part"] for row in own} - PARTS.keys())]
        data = [_part(part, bars) for part in parts if any(row["part"] == part for row in own)]
        totals = [(name, rows[0]["latency_ns"], rows[0]["low_ns"], rows[0]["high_ns"]) for name, rows in bars]
        spec: Spec = {"data": [*data, *_ends(totals)], "layout": _bar_frame([escape(name) for name, _ in bars], "s")}
        spec["layout"] |= {
            "showlegend": True,
            "legend": LEGEND | {"orientation": "h", "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        }
        spec["layout"]["margin"]["t"] = 44
        spec["layout"]["xaxis"]["range"] = [0, max(high for *_, high in totals) / 1e9 * 1.18]
        return spec, [in_all(own, SETTINGS), *_unsplit(own)]

    return panels(rows, ["device", "model", "batch", "prompt_tokens", "generated_tokens"], draw)


def _unsplit(rows: Sequence[Row]) -> list[str]:
    """What could not be told apart, and of how many runs."""
    runs = {row["run_id"] for row in rows}
    untraced = {row["run_id"] for row in rows if row["basis"] == "not traced"}
    fused = runs - {row["run_id"] for row in rows if row["part"] == "sampling"}
    kind = "a kind of step was never traced, and its part holds its host time too" if untraced else ""
    sampling = "no kernel says that it samples: a compiler fused it with the rest" if fused else ""
    told = ((kind, untraced), (sampling, fused))
    return [f"Of {len(own)} run{'s' if len(own) != 1 else ''} {text}." for text, own in told if own]


def _bars(rows: Sequence[Row], by: str) -> list[tuple[str, list[Row]]]:
    """A bar a run, with the label that tells it from the others; the longest last, which Plotly draws on top."""
    keys = telling(rows, SETTINGS)
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).append(row)
    ordered = sorted(runs.values(), key=lambda own: (-own[0][by], own[0]["run_id"]))
    names = [label(own[0], keys) for own in ordered]
    return [(_distinct(names, i), own) for i, own in enumerate(ordered)]


def _distinct(names: Sequence[str], i: int) -> str:
    """The name, and its rank where several runs have it: a category is drawn once."""
    before = names[:i].count(names[i])
    return f"{names[i]} ({before + 1})" if names.count(names[i]) > 1 else names[i]


def _bar_frame(names: Sequence[str], unit: str) -> Spec:
    return layout(
        80 + 26 * len(names),
        margin={"l": 8, "r": 20, "t": 10, "b": 40},
        barmode="stack",
        bargap=0.32,
        xaxis=axis("", tickformat="~s", ticksuffix=unit, nticks=7, rangemode="tozero"),
        yaxis=axis(
            "", type="category", categoryorder="array", categoryarray=list(names), showgrid=False, ticksuffix="  "
        ),
    )


def _part(part: str, bars: Sequence[tuple[str, list[Row]]]) -> Spec:
    found = [(escape(name), row) for name, own in bars for row in own if row["part"] == part]
    return {
        "type": "bar",
        "orientation": "h",
        "name": escape(part),
        "marker": {"color": PARTS.get(part, "#4a586b")},
        "x": [row["value_ns"] / 1e9 for _, row in found],
        "y": [name for name, _ in found],
        "text": [
            f"{units.duration(r['value_ns'])}, {units.percent(r['value_ns'] / r['latency_ns'])}" for _, r in found
        ],
        "textposition": "none",
        "hovertemplate": "%{y}<br>%{fullData.name}: %{text}<extra></extra>",
    }


def _ends(totals: Sequence[tuple[str, float, float, float]]) -> list[Spec]:
    """Each bar's spread over the repeats, and beyond it its total."""
    names = [escape(name) for name, *_ in totals]
    fixed = {"type": "scatter", "showlegend": False, "hoverinfo": "skip", "cliponaxis": False, "y": names}
    spread = {
        "type": "data",
        "symmetric": False,
        "array": [(high - total) / 1e9 for _, total, _, high in totals],
        "arrayminus": [(total - low) / 1e9 for _, total, low, _ in totals],
        "color": QUIET,
        "thickness": 1.2,
        "width": 4,
    }
    return [
        {
            **fixed,
            "mode": "markers",
            "x": [t / 1e9 for _, t, _, _ in totals],
            "marker": {"opacity": 0},
            "error_x": spread,
        },
        {
            **fixed,
            "mode": "text",
            "meta": {"role": "text"},
            "x": [high / 1e9 for *_, high in totals],
            "text": [f"  {units.duration(total)}" for _, total, _, _ in totals],
            "textposition": "middle right",
            "textfont": {"size": 11, "color": QUIET},
        },
    ]


def intensity(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E3: intensity against the attended length."""
    keys = ("mode", "kind", *_without("mode", "prompt_tokens", "generated_tokens", "tokens_per_step"))
    return panels(
        rows, ["device", "batch"], lambda own: _curves(own, "length", "attended length", [INTENSITY], keys, marks)
    )


def batches(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E8: intensity against the batch."""
    keys = ("mode", "kind", *_without("mode", "batch", "tokens_per_step"))
    return panels(
        rows, ["device", "prompt_tokens"], lambda own: _curves(own, "batch", "batch", [INTENSITY], keys, marks)
    )


def block_sizes(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E5: latency, and the intensity of a step within a block, against the block size."""
    keys = _without("block")
    measures = [LATENCY, INTENSITY]
    return panels(rows, ["device"], lambda own: _curves(own, "block", "block size", measures, keys, marks))


def steps(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E7: latency and throughput against the number of steps; AR, which has none to choose, as a level line.

    Of AR only what shares an option with a curve, lest a model of a few layers be set beside a whole one.
    """
    keys = _without("tokens_per_step")

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


def lengths(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E9: the time of a step against the length it attends to."""
    measure = Measure("step", "step_ns", ("low_ns", "high_ns"), 1e-9, "s", ("floor_ns", "at the roofs"))
    keys = _without("prompt_tokens", "generated_tokens", "tokens_per_step")
    return panels(
        rows, ["device", "kind", "batch"], lambda own: _curves(own, "length", "attended length", [measure], keys, marks)
    )


def roofline(rows: Sequence[Row], marks: Sequence[Row], machines: dict[str, Machine]) -> list[Panel]:
    """E4: every kind of step under the device's roofs; area is the unprofiled time of the step."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        machine = machines.get(own[0]["device"], Machine(own[0]["device"], ()))
        used = {(unit, row["dtype"]) for row in own for unit in ("tensor", "vector")}
        spec = roofs.skeleton(machine, used)
        spec["layout"] |= {
            "showlegend": True,
            "legend": LEGEND | {"orientation": "h", "y": -0.14, "yanchor": "top", "itemsizing": "constant"},
        }
        for trace in spec["data"]:
            trace["showlegend"] = False
        largest = 2 * max(row["step_ns"] for row in own) / 26**2
        modes = [*MODES, *sorted({row["mode"] for row in own} - MODES.keys())]
        spec["data"] += [
            _steps_on_roof(mode, rows, largest)
            for mode in modes
            if (rows := [row for row in own if row["mode"] == mode])
        ]
        return spec, [
            _shapes(own),
            "Open marks are eager, dotted ones replayed graphs, full ones compiled.",
            in_all(own, SETTINGS),
        ]

    return panels(rows, ["device", "batch", "prompt_tokens"], draw)


FILLS = {"eager": "-open", "cuda_graph": "-open-dot"}
"""How a mark says the execution; a full one is compiled."""


def _steps_on_roof(mode: str, rows: Sequence[Row], sizeref: float) -> Spec:
    rows = sorted(rows, key=lambda row: -row["step_ns"])
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(mode),
        "x": [row["intensity"] for row in rows],
        "y": [row["achieved_flops_per_s"] for row in rows],
        "marker": {
            "color": color(mode),
            "symbol": [_mark(row["kind"]) + FILLS.get(row["execution"], "") for row in rows],
            "size": [row["step_ns"] for row in rows],
            "sizemode": "area",
            "sizeref": sizeref,
            "sizemin": 5,
            "opacity": 0.85,
            "line": {"width": 1.6},
        },
        "text": [_step_hover(row) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _step_hover(row: Row) -> str:
    floor = f"at the roofs {units.duration(row['floor_ns'])} by closed form" if row["floor_ns"] else "no closed form"
    return _lines(
        row["name"],
        f"{row['kind']}: {units.duration(row['step_ns'])} unprofiled, {floor}",
        f"{units.si(row['flops'], 'FLOP')}, {units.si(row['dram_bytes'], 'B')} ({row['bytes_source']})",
        f"{units.digits(row['intensity'])} FLOP/B, {units.si(row['achieved_flops_per_s'], 'FLOP/s')}",
    )


def throughput(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """E6: throughput against the batch, where memory ends, and peak memory by part beneath."""
    keys = _without("batch")

    def draw(own: list[Row]) -> tuple[Spec, list[str]] | None:
        drawn, rest = curves(own, keys, "batch")
        if not drawn:
            return None
        places = sorted({row["batch"] for one in drawn for row in one.rows})
        spec = _throughput_frame(places)
        spec["data"] = [trace for one in drawn for trace in _boundary(one)]
        spec["data"] += [trace for i, one in enumerate(drawn) for trace in _memory(one, i, len(drawn))]
        capacity = max((row["capacity_bytes"] or 0 for row in own), default=0)
        if capacity:
            spec["layout"]["shapes"] = [_capacity(capacity)]
            spec["layout"]["annotations"] = [_capacity_label(capacity)]
        shown = [row for one in drawn for row in one.rows]
        return spec, [in_all(shown, keys), *_left_out(rest, "batch")]

    return panels(rows, ["device", "prompt_tokens"], draw)


def _throughput_frame(places: Sequence[int]) -> Spec:
    """Batches are places on a linear axis of their logarithm, so that bars of one batch can stand side by side."""
    spec: Spec = {"data": [], "layout": layout(720, margin={"l": 74, "r": 16, "t": 12, "b": 52}, barmode="stack")}
    spec["layout"] |= {"showlegend": True, "legend": LEGEND}
    at = [math.log2(place) for place in places]
    spec["layout"]["xaxis"] = axis(
        "batch",
        tickvals=at,
        ticktext=[f"{place:,}" for place in places],
        anchor="y2",
        range=[at[0] - 0.6, at[-1] + 0.6],
    )
    spec["layout"]["yaxis"] = axis("tokens/s", rangemode="tozero", exponentformat="SI", domain=[0.46, 1])
    spec["layout"]["yaxis2"] = axis(
        "peak memory", rangemode="tozero", exponentformat="SI", ticksuffix="B", domain=[0, 0.38]
    )
    return spec


def _boundary(one: Series) -> list[Spec]:
    """The curve of the runs that fit, then a dotted line to a cross at the first batch that did not."""
    fits = sorted((row for row in one.rows if row["outcome"] == "ok"), key=lambda row: row["batch"])
    failed = sorted((row for row in one.rows if row["outcome"] == "oom"), key=lambda row: row["batch"])
    traces: list[Spec] = []
    if fits:
        own = Series(
            one.label, [row | {"place": math.log2(row["batch"])} for row in fits], one.color, one.dash, one.symbol
        )
        traces += lines([own], "place", "", [THROUGHPUT], base=None)["data"]
    if failed:
        level = fits[-1]["tokens_per_s"] if fits else 0
        beyond = ", ".join(f"{row['batch']:,}" for row in failed)
        x = [math.log2(row["batch"]) for row in (*fits[-1:], failed[0])]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": escape(f"{one.label}, out of memory"),
                "legendgroup": escape(one.label),
                "showlegend": not fits,
                "x": x,
                "y": [level] * len(x),
                "line": {"color": one.color, "dash": "dot", "width": 1.4},
                "marker": {"color": one.color, "symbol": "x", "size": [0, 11][-len(x) :]},
                "text": [_lines(one.label, f"out of memory at {beyond}", failed[0]["message"] or "")] * len(x),
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return traces


def _memory(one: Series, rank: int, of: int) -> list[Spec]:
    """Peak memory at each batch, its parts stacked, of several runs the most; the outline has the series' colour."""
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
            "text": [
                _lines(one.label, f"batch {row['batch']:,}, {name}: {units.si(row[column] or 0, 'B')}") for row in rows
            ],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        }
        for column, (name, paint) in MEMORY.items()
        if any(row[column] for row in rows) or rank == 0
    ]


def _capacity(capacity: float) -> Spec:
    line = {"color": QUIET, "width": 1.4, "dash": "dash"}
    return {
        "type": "line",
        "xref": "paper",
        "yref": "y2",
        "x0": 0,
        "x1": 1,
        "y0": capacity,
        "y1": capacity,
        "line": line,
    }


def _capacity_label(capacity: float) -> Spec:
    text = f"the device's {units.si(capacity, 'B')}"
    where = {"xref": "paper", "yref": "y2", "x": 0, "y": capacity, "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 11, "color": QUIET}, **where}


def gap(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """The waterfall of each run, from the ideal step to the measured one."""
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).append(row)
    keys = telling(rows, (*SETTINGS, "device"))
    names = [label(own[0], keys) for own in runs.values()]
    found = [
        Panel(_distinct(names, i), _waterfall(sorted(own, key=lambda r: r["place"])), rank, _of(own[0]))
        for i, (own, rank) in enumerate(zip(runs.values(), _ranks([own[0] for own in runs.values()]), strict=True))
    ]
    return sorted(found, key=lambda panel: (-panel.rows, panel.title))


def _of(row: Row) -> tuple[str, ...]:
    return (f"{row['name']}: a generation of {row['steps']:,} steps.",)


def _ranks(runs: Sequence[Row]) -> list[int]:
    """Where runs stand among panels: blocks with a dual cache come first, without the host, at usual lengths."""
    usual = Counter(_lengths(run) for run in runs)
    return [
        len(runs) * (2 * (run["mode"] == "dlm_block_dual") + (run["execution"] == "cuda_graph")) + usual[_lengths(run)]
        for run in runs
    ]


def _lengths(run: Row) -> tuple[Any, ...]:
    return tuple(run[key] for key in ("batch", "prompt_tokens", "generated_tokens", "block"))


def _waterfall(rows: Sequence[Row]) -> Spec:
    names = [_stage(row) for row in rows]
    measured = rows[0]["measured_ns"]
    spec: Spec = {"data": [], "layout": _bar_frame([*names, "measured step"], "s")}
    spec["layout"]["yaxis"] |= {"autorange": "reversed"}
    spec["data"] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [*names, "measured step"],
            "base": [*(min(row["start_ns"], row["end_ns"]) / 1e9 for row in rows), 0],
            "x": [*(abs(row["value_ns"]) / 1e9 for row in rows), measured / 1e9],
            "marker": {"color": [*(_stage_color(row) for row in rows), "#4a586b"]},
            "text": [*(_bar_text(row) for row in rows), f"{units.duration(measured)} "],
            "textposition": "none",
            "hovertemplate": "%{y}: %{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "text",
            "hoverinfo": "skip",
            "cliponaxis": False,
            "meta": {"role": "text"},
            "x": [*(max(row["start_ns"], row["end_ns"]) / 1e9 for row in rows), measured / 1e9],
            "y": [*names, "measured step"],
            "text": [*(f"  {_bar_text(row)}" for row in rows), f"  {units.duration(measured)}"],
            "textposition": "middle right",
            "textfont": {"size": 11, "color": QUIET},
        },
    ]
    spec["layout"]["xaxis"]["range"] = [0, max(measured, *(row["end_ns"] for row in rows)) / 1e9 * 1.25]
    return spec


def _stage(row: Row) -> str:
    said = {
        "ideal": "ideal {} step",
        "steps": "{} steps",
        "work": "work beyond the closed form",
        "family": "{} beyond its roof",
        "no roof": "{} without a roof",
        "host": "gaps and host",
    }
    return escape(clip(said.get(row["component"], "{}").format(row["item"]), 48))


def _stage_color(row: Row) -> str:
    return STAGES.get(row["component"]) or families.color(row["item"])


def _bar_text(row: Row) -> str:
    sign = "" if row["place"] == 1 else "−" if row["value_ns"] < 0 else "+"
    return f"{sign}{units.duration(abs(row['value_ns']))}"


def speedup(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """How many times faster than the naive mode, stage by stage."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        levels = [level for _, level in sorted({(row["stage"], row["level"]) for row in own})]
        frame = layout(420, margin={"l": 74, "r": 16, "t": 12, "b": 52}, showlegend=True, legend=LEGEND)
        frame["xaxis"] = axis("", type="category", categoryarray=levels, categoryorder="array", range=[-0.3, 4.3])
        frame["yaxis"] = axis("naive latency over this one", rangemode="tozero", ticksuffix="×")
        data = [_ladder(one) for one in series(own, SETTINGS)]
        claims = papers([mark | {"x": levels[-1]} for mark in marks])
        return {"data": data + claims, "layout": frame}, [in_all(own, SETTINGS)]

    return panels(rows, ["device", "model", "batch", "prompt_tokens", "generated_tokens"], draw)


def _ladder(one: Series) -> Spec:
    rows = sorted(one.rows, key=lambda row: row["stage"])
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(one.label),
        "x": [row["level"] for row in rows],
        "y": [row["speedup"] for row in rows],
        "line": {"color": one.color, "dash": one.dash, "width": 1.8},
        "marker": {"color": one.color, "symbol": one.symbol, "size": 8},
        "text": [
            _lines(row["name"], f"{row['level']}: {units.digits(row['speedup'])} times {row['naive_name']}")
            for row in rows
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }


def energy(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """Joules a committed token, a bar a run."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        bars = [(name, runs[0]) for name, runs in _bars(own, "joules_per_token")]
        spec: Spec = {"data": [_joules(bars)], "layout": _bar_frame([escape(name) for name, _ in bars], "J")}
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
        "hovertext": [_lines(row["name"], f"telemetry over {row['telemetry_s']:.2f} s") for _, row in bars],
        "hovertemplate": "%{hovertext}<br>%{text}<extra></extra>",
    }
