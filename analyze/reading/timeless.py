"""Events without a time stamp, or with one of 0 that is none: where they stand is not known, so they are left out."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ridgeline.analyze.reading.events import NO_TIME_NS


class Groups(NamedTuple):
    """The frames of a trace; ``counters`` has rows of ``row`` of ``device``, ``metric`` and ``value``."""

    device: pl.DataFrame
    launches: pl.DataFrame
    operators: pl.DataFrame
    annotations: pl.DataFrame
    frames: pl.DataFrame
    counters: pl.DataFrame


def without_timeless(groups: Groups) -> tuple[Groups, tuple[int, int, int]]:
    """Return the groups without timeless events; how many were of the device, their duration in ns; how many were not.

    A start of 0 is no time if the other events begin later than they last all together, as they do where times count
    from 1970 or from boot. A device activity that starts at 0 has no time either if its launch began after that.
    """
    spans = (groups.device, groups.launches, groups.operators, groups.annotations, groups.frames)
    if all(frame["start_ns"].to_numpy().min(initial=1) > 0 for frame in spans):
        return groups, (0, 0, 0)
    timed = pl.concat(
        [frame.filter(~pl.col("start_ns").is_in([NO_TIME_NS, 0])).select("start_ns", "duration_ns") for frame in spans]
    )
    first_ns, last_ns = timed["start_ns"].min(), (timed["start_ns"] + timed["duration_ns"]).max()
    timeless = [NO_TIME_NS]
    if isinstance(first_ns, int) and isinstance(last_ns, int) and first_ns > last_ns - first_ns:
        timeless.append(0)
    later = groups.launches.filter(pl.col("start_ns") > 0)["correlation"].drop_nulls()
    launched_later = (pl.col("start_ns") == 0) & pl.col("correlation").is_in(later.implode()).fill_null(value=False)
    left = groups.device.select(pl.col("start_ns").is_in(timeless) | launched_later).to_series()
    left_ns = int(groups.device.filter(left)["duration_ns"].sum())
    launches, operators, annotations, frames = (
        frame.filter(~pl.col("start_ns").is_in(timeless)) for frame in spans[1:]
    )
    others = sum(map(len, spans[1:])) - sum(map(len, (launches, operators, annotations, frames)))
    # counters refer to rows of the device
    kept = ~left.to_numpy()
    rows = groups.counters["row"].to_numpy()
    counters = groups.counters.with_columns(row=pl.Series(kept.cumsum()[rows] - 1)).filter(pl.Series(kept[rows]))
    return (
        Groups(groups.device.filter(~left), launches, operators, annotations, frames, counters),
        (int(left.sum()), left_ns, others),
    )
