"""Horizontal bars, one a run, each with a label that distinguishes it from the others."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports.figures.layout import Spec, axis, layout
from ridgeline.reports.queries import Row, by_column
from ridgeline.reports.study.drawings.settings import SETTINGS, distinguishing, label


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
