"""Bars of runs: each with the label that tells it from the others."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports.figures.layout import Spec, axis, layout
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.series import label, telling
from ridgeline.reports.study.drawings.settings import SETTINGS


def by_run(rows: Sequence[Row], by: str) -> list[tuple[str, list[Row]]]:
    """A bar a run, with the label that tells it from the others; the longest last, which Plotly draws on top."""
    keys = telling(rows, SETTINGS)
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).append(row)
    ordered = sorted(runs.values(), key=lambda own: (-own[0][by], own[0]["run_id"]))
    names = [label(own[0], keys) for own in ordered]
    return [(distinct(names, i), own) for i, own in enumerate(ordered)]


def distinct(names: Sequence[str], i: int) -> str:
    """The name, and its rank where several runs have it: a category is drawn once."""
    before = names[:i].count(names[i])
    return f"{names[i]} ({before + 1})" if names.count(names[i]) > 1 else names[i]


def frame(names: Sequence[str], unit: str) -> Spec:
    """Axes for a bar of each name."""
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
