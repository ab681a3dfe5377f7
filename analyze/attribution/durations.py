"""Recorded durations that cannot be true, put right: what is not known is not summed."""

from __future__ import annotations

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.spans import ROOT, Int64
from ridgeline.analyze.reading.categories import RANGE

OUTLASTS_NS = 10_000
"""A later activity of a stream ends after an earlier one. Clocks that round, and kernels that do not wait for the one
before them (programmatic dependent launch), end by less than this before it."""
OVERLAP_NS = 100_000
"""Programmatic dependent launch starts a kernel while the blocks of the one before it end. The longest such overlap in
traces of H100, H200 and B200 is 5.3 us."""


def with_true_durations(activities: pl.DataFrame) -> pl.DataFrame:
    """Return the activities, sorted by start, with possible durations, and the column ``recorded_ns`` if any differ.

    A stream is in order: an activity that runs over the next one of its stream ends where that starts, if it outlasts
    it by more than ``OUTLASTS_NS`` or overlaps it by more than ``OVERLAP_NS``. Activities of one graph launch may
    overlap, and so may those of several processes that the trace does not tell apart. Counter ranges that all last
    equally long last as long as the profiler's passes: their durations become 0, and they belong to no step, whose idle
    time would be false.
    """
    start_ns, recorded_ns = activities["start_ns"].to_numpy(), activities["duration_ns"].to_numpy()
    end_ns = start_ns + recorded_ns
    duration_ns = recorded_ns
    if len(activities) > 1 and activities["category"][0] == RANGE:
        if recorded_ns.min() == recorded_ns.max() > 0:
            duration_ns = np.zeros_like(recorded_ns)
            activities = activities.with_columns(step_label=pl.lit(None, dtype=pl.Int64))
    # the longest overlap of neighbours costs little to look for
    elif (end_ns[:-1] - start_ns[1:]).max(initial=0) > OUTLASTS_NS and not activities["doubt"].count():
        duration_ns = _clipped(activities, start_ns, end_ns)
    if (duration_ns == recorded_ns).all():
        return activities
    return activities.with_columns(duration_ns=pl.Series(duration_ns), recorded_ns=pl.Series(recorded_ns))


def _clipped(activities: pl.DataFrame, start_ns: Int64, end_ns: Int64) -> Int64:
    """The durations, clipped where an activity cannot have run over the next one of its stream."""
    streams = activities.select("device", "stream").with_row_index("row").drop_nulls("stream")
    order = streams.sort("device", "stream", maintain_order=True)["row"].to_numpy()
    if not len(order):
        return end_ns - start_ns
    device, stream, launch, replay = (
        activities[name].cast(pl.Int64).fill_null(ROOT).to_numpy()[order]
        for name in ("device", "stream", "launch", "replay")
    )
    start, end = start_ns[order], end_ns[order]
    # the next activity is the first that starts later: what starts at once is left as it is
    new_stream = np.append(True, (stream[1:] != stream[:-1]) | (device[1:] != device[:-1]))
    firsts = np.flatnonzero(new_stream | np.append(True, start[1:] != start[:-1]))
    of_first = np.cumsum(np.bincount(firsts, minlength=len(order))) - 1
    following = np.append(firsts, ROOT)[of_first + 1]
    has_next = (following != ROOT) & ~new_stream[following]
    same_graph = (replay == 1) & (launch == launch[following])
    over = end - start[following]
    wrong = has_next & ~same_graph & (over > OUTLASTS_NS)
    wrong &= (end - end[following] > OUTLASTS_NS) | (over > OVERLAP_NS)
    duration_ns = end_ns - start_ns
    duration_ns[order[wrong]] -= over[wrong]
    return duration_ns
