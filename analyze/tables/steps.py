"""Rows of the table ``steps``."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.ranks import ranks
from ridgeline.analyze.reading.trace import Trace
from ridgeline.analyze.tables.gaps import devices_of, idle


def step_spans(activities: pl.DataFrame, step: str) -> pl.DataFrame:
    """``start_ns``, ``end_ns``, ``busy_ns`` and ``idle_ns`` of each step in the column ``step``, over all its devices.

    A step is busy where one of its activities runs, and idle where its devices run nothing at all, of any step.
    ``activities`` are sorted by start.
    """
    places = pl.Series("place", devices_of(activities))
    activities = activities.select("start_ns", "duration_ns", step).with_columns(places)
    timed = (
        activities.filter(pl.col(step).is_not_null())
        .sort("start_ns")
        .with_columns(end_ns=pl.col("start_ns") + pl.col("duration_ns"))
    )
    # the part of each activity that no earlier activity of the step covers
    covered_ns = pl.col("end_ns").cum_max().shift(1).over(step).fill_null(pl.col("start_ns"))
    fresh_ns = (pl.col("end_ns") - pl.max_horizontal("start_ns", covered_ns)).clip(0)
    spans = (
        timed.with_columns(fresh_ns=fresh_ns)
        .group_by(step)
        .agg(
            pl.col("start_ns").min(),
            pl.col("end_ns").max(),
            pl.col("place").unique().sort().cast(pl.String).str.join(" ").alias("places"),
            busy_ns=pl.col("fresh_ns").sum(),
        )
    )
    parts = [
        _idle(activities.filter(pl.col("place").is_in([int(place) for place in places.split()])), of_places)
        for (places,), of_places in spans.partition_by("places", as_dict=True).items()
    ]
    return pl.concat(parts) if parts else spans.with_columns(idle_ns=pl.lit(0, pl.Int64))


def _idle(activities: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """The spans with ``idle_ns``: the gaps between their start and end, in which none of the activities ran."""
    start_ns = activities["start_ns"].to_numpy()
    end_ns = start_ns + activities["duration_ns"].to_numpy()
    before, after = idle(np.zeros(len(activities), dtype=np.int64), start_ns, end_ns)
    # an activity begins at a span's start and one ends at its end, so that a gap is inside a span or outside
    before_ns = np.concatenate([[0], np.cumsum(start_ns[after] - end_ns[before])])
    until = [np.searchsorted(end_ns[before], spans[edge].to_numpy()) for edge in ("start_ns", "end_ns")]
    return spans.with_columns(idle_ns=pl.Series(before_ns[until[1]] - before_ns[until[0]]))


def step_rows(trace: Trace, activities: pl.DataFrame, labels: dict[int, Label]) -> list[dict[str, Any]]:
    """Rows of ``steps``: one for each annotation in ``labels``, with the device activities launched in it."""
    spans = step_spans(activities, "step_label")
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
                **{name: span.get(name) for name in ("start_ns", "end_ns", "busy_ns", "idle_ns")},
                "replayed_kernels": replayed.get(step_id, 0),
            }
        )
    return rows
