"""Which call of the host launched each device activity.

In the trace of one process the correlation id says so. Where ranks were merged into one file several launches have the
same id: then it is the one of the process whose device it is (:mod:`ridgeline.analyze.attribution.ranks`). Of
activities for which that cannot be told, each goes to the last launch that began before it, if so every launch of the
id gets the same number; all others go to the first launch, and are counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.id_lookup import find, repeated
from ridgeline.analyze.attribution.ranks import Mask, Processes, devices
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, take
from ridgeline.analyze.reading.trace import Trace

DOUBTS = ("other_process", "same_process")
"""Whose launch an activity's may be as well: its id is another process's too, or was given twice under one pid."""
_DOUBT = pl.Enum(DOUBTS)


class Launched(NamedTuple):
    """For each device activity its launch, a row of ``trace.launches`` or ``ROOT``, and its process."""

    launch: Int32
    process: Int64
    doubt: pl.Series
    """Of ``DOUBTS``, null where there is none."""


def launched(trace: Trace, device: pl.DataFrame, hosts: Processes) -> Launched:
    """The launch of each activity; ``device`` is sorted by start, with its ``row`` in ``trace.device``."""
    if len(hosts) < 2:
        return _of_one_process(trace, device)
    owned = devices(trace, device, hosts)
    process = take(owned.owner, owned.of_row)
    launches = trace.launches.with_columns(process=pl.Series(hosts.of(trace.launches)))
    keyed = device.with_columns(process=pl.Series(process))
    found, several = find(keyed, launches, "process", "correlation")
    twice = repeated(keyed, launches, "process", "correlation").to_numpy() if several else np.zeros(len(device), bool)
    launch, unclear = found.copy(), np.zeros(len(device), dtype=bool)
    free = np.flatnonzero(process == ROOT)
    launch[free], unclear[free] = _of_nobody(device[free], launches, owned.owner)
    process[free] = take(launches["process"].to_numpy(), launch[free], 0)
    return Launched(launch, process, _doubt(unclear, twice))


def _of_one_process(trace: Trace, device: pl.DataFrame) -> Launched:
    launch, several = find(device, trace.launches, "correlation")
    nobody = np.zeros(len(device), dtype=bool)
    twice = nobody
    if several:
        twice = repeated(device, trace.launches, "correlation").to_numpy()
        launch = np.where(twice, in_time(device, trace.launches)[0], launch)
    return Launched(launch, np.zeros(len(device), dtype=np.int64), _doubt(nobody, twice))


def _of_nobody(device: pl.DataFrame, launches: pl.DataFrame, owner: Int64) -> tuple[Int32, Mask]:
    """Launches of activities whose device has no owner, and where that is unclear: sooner of a process without one."""
    without = np.flatnonzero(~np.isin(launches["process"].to_numpy(), owner)).astype(np.int32)
    told, certain = in_time(device, launches[without])
    launch = take(without, told)
    lost = np.flatnonzero(launch == ROOT)
    launch[lost], certain[lost] = in_time(device[lost], launches)
    return launch, ~certain


def _doubt(other: Mask, same: Mask) -> pl.Series:
    codes = np.select([other, same], [0, 1], 2).astype(np.uint8)
    return pl.Series("doubt", [*DOUBTS, None], dtype=_DOUBT).gather(codes)


def in_time(device: pl.DataFrame, launches: pl.DataFrame) -> tuple[Int32, Mask]:
    """The last launch of its id that began before each activity, and whether that is certain; else the first one."""
    known = launches.select("correlation", "start_ns").with_row_index("found").drop_nulls().sort("start_ns", "found")
    rows = device.select("correlation", "start_ns")
    last = rows.join_asof(known, on="start_ns", by="correlation", check_sortedness=False)["found"]
    first = find(device, launches, "correlation").row
    calls = known.group_by("correlation").agg(calls=pl.len())
    told = (
        rows.with_columns(last=last)
        .join(calls, on="correlation", how="left", maintain_order="left")
        .with_columns(each=pl.len().over("last"))
    )
    # where every launch of an id has as many, none that could be the first's is the second's
    even = (pl.len() == pl.col("calls").first() * pl.col("each").max()) & pl.col("last").is_not_null().all()
    clear = told.select(even.over("correlation") | (pl.col("calls") == 1) | pl.col("calls").is_null()).to_series()
    certain = clear.fill_null(value=True).to_numpy().copy()
    return np.where(certain & last.is_not_null().to_numpy(), last.cast(pl.Int32).fill_null(ROOT), first), certain
