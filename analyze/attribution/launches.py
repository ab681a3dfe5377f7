"""The host call that launched each device activity.

In the trace of one process the correlation id names the launch. In a file of merged ranks several launches share an
id; the activity then belongs to the launch of the process that owns its device
(:mod:`ridgeline.analyze.attribution.ranks`). Where the owner is unknown, activities are matched in time: each goes to
the last launch with its id that began before it, provided that every launch of the id then gets equally many
activities. All other activities go to the first launch with their id and are counted as doubtful.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.id_lookup import match_first, repeated
from ridgeline.analyze.attribution.ranks import Mask, Processes, devices
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, take
from ridgeline.analyze.reading.trace import Trace

DOUBTS = ("other_process", "same_process")
"""Why a launch may be wrong: another process uses the same id, or one process used the id twice."""
_DOUBT = pl.Enum(DOUBTS)


class Launched(NamedTuple):
    """For each device activity its launch (a row of ``trace.launches`` or ``ROOT``) and its process."""

    launch: Int32
    process: Int64
    doubt: pl.Series
    """One of ``DOUBTS``, or null."""


def launched(trace: Trace, device: pl.DataFrame, hosts: Processes) -> Launched:
    """The launch of each activity; ``device`` is sorted by start, with its ``row`` in ``trace.device``."""
    other_process, same_process = np.zeros(len(device), dtype=bool), np.zeros(len(device), dtype=bool)
    if len(hosts) < 2:
        launch, ambiguous = match_first(device, trace.launches, "correlation")
        process = np.zeros(len(device), dtype=np.int64)
        if ambiguous:
            same_process = repeated(device, trace.launches, "correlation").to_numpy()
            launch = np.where(same_process, in_time(device, trace.launches)[0], launch)
    else:
        owned = devices(trace, device, hosts)
        process = take(owned.owner, owned.of_row)
        launches = trace.launches.with_columns(process=pl.Series(hosts.of(trace.launches)))
        keyed = device.with_columns(process=pl.Series(process))
        match, ambiguous = match_first(keyed, launches, "process", "correlation")
        if ambiguous:
            same_process = repeated(keyed, launches, "process", "correlation").to_numpy()
        launch = match.copy()
        # A device without an owner was most likely used by a process that owns no device; then by any process.
        free = np.flatnonzero(process == ROOT)
        without = np.flatnonzero(~np.isin(launches["process"].to_numpy(), owned.owner)).astype(np.int32)
        in_without, certain = in_time(device[free], launches[without])
        free_launch = take(without, in_without)
        lost = np.flatnonzero(free_launch == ROOT)
        free_launch[lost], certain[lost] = in_time(device[free[lost]], launches)
        launch[free], other_process[free] = free_launch, ~certain
        process[free] = take(launches["process"].to_numpy(), free_launch, 0)
    codes = np.select([other_process, same_process], [0, 1], 2).astype(np.uint8)
    return Launched(launch, process, pl.Series("doubt", [*DOUBTS, None], dtype=_DOUBT).gather(codes))


def in_time(device: pl.DataFrame, launches: pl.DataFrame) -> tuple[Int32, Mask]:
    """The last launch with each activity's id that began before it, and True where that is certain; else the first."""
    calls = launches.select("correlation", "start_ns").with_row_index("call").drop_nulls().sort("start_ns", "call")
    rows = device.select("correlation", "start_ns")
    last = rows.join_asof(calls, on="start_ns", by="correlation", check_sortedness=False)["call"]
    first = match_first(device, launches, "correlation").row
    counts = calls.group_by("correlation").agg(calls=pl.len())
    counted = (
        rows.with_columns(last=last)
        .join(counts, on="correlation", how="left", maintain_order="left")
        .with_columns(each=pl.len().over("last"))
    )
    # If every launch of an id got equally many activities, none of the first launch's went to the second.
    even = (pl.len() == pl.col("calls").first() * pl.col("each").max()) & pl.col("last").is_not_null().all()
    clear = counted.select(even.over("correlation") | (pl.col("calls") == 1) | pl.col("calls").is_null()).to_series()
    certain = clear.fill_null(value=True).to_numpy().copy()
    return np.where(certain & last.is_not_null().to_numpy(), last.cast(pl.Int32).fill_null(ROOT), first), certain
