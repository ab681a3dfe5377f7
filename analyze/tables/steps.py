"""Rows of the table ``steps``."""

from __future__ import annotations

from typing import Any

import polars as pl

from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.ranks import ranks
from ridgeline.analyze.reading.trace import Trace


def busy_spans(activities: pl.DataFrame, step: str) -> pl.DataFrame:
    """``start_ns``, ``end_ns`` and ``busy_ns`` of each step in the column ``step``; overlaps count once as busy."""
    timed = (
        activities.filter(pl.col(step).is_not_null())
        .sort("start_ns")
        .with_columns(end_ns=pl.col("start_ns") + pl.col("duration_ns"))
    )
    # the part of each activity that no earlier activity of the step covers
    covered_ns = pl.col("end_ns").cum_max().shift(1).over(step).fill_null(pl.col("start_ns"))
    fresh_ns = (pl.col("end_ns") - pl.max_horizontal("start_ns", covered_ns)).clip(0)
    return (
        timed.with_columns(fresh_ns=fresh_ns)
        .group_by(step)
        .agg(pl.col("start_ns").min(), pl.col("end_ns").max(), busy_ns=pl.col("fresh_ns").sum())
    )


def step_rows(trace: Trace, activities: pl.DataFrame, labels: dict[int, Label]) -> list[dict[str, Any]]:
    """Rows of ``steps``: one for each annotation in ``labels``, with the device activities launched in it."""
    spans = busy_spans(activities, "step_label")
    device = {row["step_label"]: row for row in spans.iter_rows(named=True)}
    replayed: dict[int, int] = {}
    if "replay" in activities.columns:  # operators in the place of kernels have no such column
        counts = activities.filter(pl.col("replay")).drop_nulls("step_label").group_by("step_label").len()
        replayed = dict(counts.iter_rows())
    rank = ranks(trace).tolist()
    rows = []
    for step_id, label in sorted(labels.items()):
        annotation = trace.annotations.row(step_id, named=True)
        span = device.get(step_id, {})
        rows.append(
            {
                "rank": rank[annotation["thread"]],
                "step_id": step_id,
                **{key: value for key, value in label._asdict().items() if key != "module"},
                "host_start_ns": annotation["start_ns"],
                "host_duration_ns": annotation["duration_ns"],
                **{name: span.get(name) for name in ("start_ns", "end_ns", "busy_ns")},
                "replayed_kernels": replayed.get(step_id, 0),
            }
        )
    return rows
