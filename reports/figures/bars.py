"""Horizontal bars of time: stacked by family, or by entry of the ledger."""

from collections.abc import Iterable, Mapping, Sequence

from ridgeline.reports.figures import families
from ridgeline.reports.figures.layout import QUIET, Spec, axis, horizontal_bars, layout
from ridgeline.reports.figures.palette import hue
from ridgeline.reports.names import clip, escape
from ridgeline.reports.queries import Row

# Height of a bar in pixels.
ROW = 26

# Colours of the ledger's entries: cool colours are accounted for, warm colours are not.
ENTRIES = {
    "external_id": hue("blue"),
    "launch": hue("sky"),
    "graph_node": hue("violet"),
    "graph_capture": hue("orchid"),
    "graph_twin": hue("lavender"),
    "cpu": hue("teal"),
    "profiler_range": hue("green"),
    "before_recording": hue("gold"),
    "unattributed": hue("orange"),
    "counter": hue("blue"),
    "cache_model": hue("lavender"),
    "compulsory": hue("sky"),
    "trace": hue("teal"),
    "none": hue("orange"),
}

# Time that no roof judges, by the basis of its kernels.
BESIDE = {"guess": "at guessed prices", "communication": "of communication", "no roof": "without a known roof"}
HATCHED: Spec = {"color": "white", "line": {"color": QUIET, "width": 1}, "pattern": {"shape": "/", "fgcolor": QUIET}}

# Label, family and nanoseconds.
Bar = tuple[str, str, int]


def frame(rows: int) -> Spec:
    """Return the layout of this many bars; times are in seconds, ticks choose their SI prefix."""
    return layout(
        58 + ROW * max(rows, 1),
        margin={"l": 8, "r": 16, "t": 4, "b": 40},
        barmode="stack",
        bargap=0.34,
        xaxis=axis("", tickformat="~s", ticksuffix="s", nticks=7, rangemode="tozero"),
        yaxis=axis("", type="category", autorange="reversed", showgrid=False, ticksuffix="  "),
    )


def stacked(bars: Iterable[Bar], most: int = 24, beside: Mapping[str, int] | None = None) -> Spec:
    """Return one bar a label, longest first, stacked by family; labels beyond ``most`` become one bar.

    ``beside`` maps labels to nanoseconds that the bars do not count: hatched bars beneath the others.
    """
    totals = _totals(bars)
    labels = sorted(totals, key=lambda label: (-sum(totals[label].values()), label))
    if len(labels) > most:
        # The last bar is the sum of all labels that have no bar of their own.
        rest = f"({len(labels) - most + 1} more)"
        totals |= _totals((rest, family, ns) for label in labels[most - 1 :] for family, ns in totals[label].items())
        labels = [*labels[: most - 1], rest]
    used = sorted({family for label in labels for family in totals[label]}, key=families.order)
    data = [_bar(name, families.color(name), labels, [totals[label].get(name, 0) for label in labels]) for name in used]
    if beside:
        data.append({**_bar("in no total", QUIET, list(beside), list(beside.values())), "marker": HATCHED})
    return {"data": data, "layout": frame(len(labels) + len(beside or {}))}


def _totals(bars: Iterable[Bar]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for label, family, duration_ns in bars:
        parts = totals.setdefault(label, {})
        parts[family] = parts.get(family, 0) + duration_ns
    return totals


def accounts(rows: Sequence[Row], names: Mapping[str, str]) -> Spec:
    """Return one bar an account of each run's ledger, from rows of ``sql/ledger.sql``; each is its device time long.

    ``names`` are the names of the runs by id, each once: a Plotly category is identified by its text.
    """
    labels = list(dict.fromkeys(f"{names[row['run_id']]} · {row['account']}" for row in rows))
    durations = {(row["entry"], f"{names[row['run_id']]} · {row['account']}"): row["duration_ns"] for row in rows}
    entries = [*ENTRIES, *sorted({row["entry"] for row in rows} - ENTRIES.keys())]
    data = []
    for entry in entries:
        if any((entry, label) in durations for label in labels):
            color = ENTRIES.get(entry, families.COLORS["other"])
            data.append(_bar(entry, color, labels, [durations.get((entry, label), 0) for label in labels]))
    return {"data": data, "layout": frame(len(labels))}


def _distinct(labels: Sequence[str]) -> list[str]:
    """Return labels clipped so that they stay distinct: Plotly adds up bars of one text."""
    for longest in (56, 112):
        clipped = [clip(label, longest) for label in labels]
        if len(set(clipped)) == len(set(labels)):
            return clipped
    return list(labels)


def _bar(name: str, color: str, labels: Sequence[str], values_ns: Sequence[float]) -> Spec:
    seconds, texts = [value / 1e9 for value in values_ns], [escape(text) for text in _distinct(labels)]
    template = "%{y}<br>%{fullData.name}: %{x:.4s}s<extra></extra>"
    return horizontal_bars(seconds, texts, name=escape(name), marker={"color": color}, hovertemplate=template)
