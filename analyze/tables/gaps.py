"""When a device did nothing, and why: every idle interval between its activities, with one cause and its parts.

A gap is a maximal interval in which no activity ran on any stream of a device, between the device's first activity and
its last. Its *call* is the launch of the first activity after it; the gap begins at g and ends at s.

The cause is the first of these that holds:

``replay``
    The activities on both sides are of one graph launch: the gap is the device's own, between nodes of the graph.
``synchronisation``
    The call began after g, and at g its thread was inside a call that waits for the device (:data:`WAITING`, or a copy
    to pageable memory): the host gave up its lead, and had to come back.
``host_late``
    The call began after g, for any other reason: Python, dispatch, another thread's turn.
``launch_latency``
    The call began at or before g and had not returned by then; or the activity started at most
    :data:`LAUNCH_LATENCY_NS` after both its call and the end of what ran before it on its own stream.
``dependency``
    It was launched in time and its own stream was done before g, so that it waited for another stream's work.
``unknown``
    No launch is recorded; or it was launched in time, had nothing left to wait for on the device that the trace shows,
    and still came late: an event of another process, a host callback, a stalled queue.

``host_late`` and ``synchronisation`` together are what HTA calls host wait (``ts_runtime > prev_end_ts``). HTA calls
the rest kernel wait where it is shorter than 30 ns, other where not, and compares neighbours by start on one stream;
here the end that counts is the latest so far, so that activities that overlap leave no negative gap.

An activity launched before recording began has no call; it was launched before the first event of the host, which is
all that is used of it. On a machine without a device, where operators stand for kernels, every gap is ``host_late``.

Along the gap, the parts, which sum to its duration: before the call began its thread waited for the device
(``sync_ns``) or did something else (``host_ns``); the call ran (``call_ns``); it had returned, and the work was queued
(``queue_ns``). They are null where the launch is not recorded.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ridgeline.analyze.attribution.ranks import ranks
from ridgeline.analyze.attribution.spans import ROOT, Int64, take
from ridgeline.analyze.reading.trace import Trace

Mask = NDArray[np.bool_]

LAUNCH_LATENCY_NS = 10_000
"""The longest wait that launching alone explains: under the profiler kernels start 5 to 10 us (median) after their call
begins on H100, H200 and B200, and follow each other on a stream within 1 to 3 us."""

WAITING = re.compile(
    r"Synchronize"
    r"|^(cuda|hip)Memcpy(2D|3D)?(_v\d+|_ptds)?$"
    r"|^cuMemcpy(DtoH|HtoD)(_v\d+)?$"
    r"|^hipMemcpy(WithStream|DtoH|HtoD)$"
    r"|^(cuda|hip)(Free|FreeHost|HostFree)(_v\d+)?$"
)
"""Names of runtime and driver calls that return only when the device is done."""
_TO_PAGEABLE = re.compile(r"DtoH.*Pageable")
_NEVER_NS = -(1 << 62)
"""Before every moment of a trace, and far enough from the least integer to subtract from."""


def gap_rows(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``gaps`` of a trace with a device; ``activities`` as
    :func:`ridgeline.analyze.attribution.operators.attribute` gives them."""
    start_ns, end_ns = _times(activities)
    before, after = idle(activities["device"].to_numpy(), start_ns, end_ns)
    gap_ns, next_ns = end_ns[before], start_ns[after]
    launch = activities["launch"].cast(pl.Int64).fill_null(ROOT).to_numpy()
    call = launch[after]
    early = (activities["attribution"] == "before_recording").to_numpy()[after] & (call == ROOT)
    began_ns = _recording_began_ns(trace, activities)[after]
    calls_start, calls_ns = (trace.launches[column].to_numpy() for column in ("start_ns", "duration_ns"))
    call_ns = np.where(early, began_ns, take(calls_start, call))
    returned_ns = call_ns + np.where(early, 0, take(calls_ns, call, 0))
    late = call_ns > gap_ns
    known = (call != ROOT) | (early & ~late)

    host_until_ns = np.clip(call_ns, gap_ns, next_ns)
    call_until_ns = np.clip(returned_ns, gap_ns, next_ns)
    thread = take(trace.launches["thread"].to_numpy(), call)
    sync_ns, was_waiting = _waits(_waiting_calls(trace, activities), thread, gap_ns, host_until_ns)

    same_replay = activities["replay"].to_numpy()[after] & (call == launch[before])
    own_end_ns = _own_end_ns(activities, end_ns)[after]
    ready_ns = np.maximum(call_ns, own_end_ns)
    causes = {
        "replay": same_replay,
        "unknown": ~known,
        "synchronisation": late & was_waiting,
        "host_late": late,
        "launch_latency": (returned_ns > gap_ns) | (next_ns - ready_ns <= LAUNCH_LATENCY_NS),
        "dependency": own_end_ns < gap_ns,
    }
    cause = np.select(list(causes.values()), np.arange(len(causes)), list(causes).index("unknown"))
    parts = {
        "sync_ns": sync_ns,
        "host_ns": host_until_ns - gap_ns - sync_ns,
        "call_ns": call_until_ns - host_until_ns,
        "queue_ns": next_ns - call_until_ns,
    }
    recorded = pl.Series(known)
    return _gaps(activities, before, after, "step_label").with_columns(
        pl.Series("cause", list(causes)).gather(cause),
        *(pl.when(recorded).then(pl.Series(values)).alias(name) for name, values in parts.items()),
    )


def operator_gap_rows(activities: pl.DataFrame, step: str = "step_label") -> pl.DataFrame:
    """Rows of ``gaps`` of a machine without a device, from operators sorted by start; ``step`` names their step's.

    The processor is a device of its rank.
    """
    gaps = _gaps(activities, *idle(activities["rank"].to_numpy(), *_times(activities)), step)
    nothing = pl.lit(0, dtype=pl.Int64)
    return gaps.with_columns(
        cause=pl.lit("host_late"),
        sync_ns=nothing,
        host_ns=pl.col("duration_ns"),
        call_ns=nothing,
        queue_ns=nothing,
    )


def idle(device: Int64, start_ns: Int64, end_ns: Int64) -> tuple[Int64, Int64]:
    """For each idle interval of each device, in order, the index of the activity that ended last before it and that of

    the first to start after it. Activities are sorted by start; of several that end together the last counts, of
    several that start together the first.
    """
    before, after = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for each in np.unique(device):
        rows = np.flatnonzero(device == each)
        ends = end_ns[rows]
        covered_ns = np.maximum.accumulate(ends)
        last = np.maximum.accumulate(np.where(ends == covered_ns, np.arange(len(rows)), 0))
        opens = np.flatnonzero(start_ns[rows[1:]] > covered_ns[:-1])
        before.append(rows[last[opens]])
        after.append(rows[opens + 1])
    return np.concatenate(before), np.concatenate(after)


def _times(activities: pl.DataFrame) -> tuple[Int64, Int64]:
    start_ns = activities["start_ns"].to_numpy()
    return start_ns, start_ns + activities["duration_ns"].to_numpy()


def _gaps(activities: pl.DataFrame, before: Int64, after: Int64, step: str) -> pl.DataFrame:
    """What a gap is, without its cause; a kernel's id is its place among the activities."""
    start_ns, end_ns = _times(activities)
    steps = activities[step].cast(pl.Int64).fill_null(ROOT).to_numpy()
    inside = np.where(steps[before] == steps[after], steps[after], ROOT)
    return pl.DataFrame(
        {
            "gap_id": np.arange(len(after)),
            "rank": activities["rank"].to_numpy()[after],
            "device_index": activities["device_index"].to_numpy()[after],
            "start_ns": end_ns[before],
            "duration_ns": start_ns[after] - end_ns[before],
            "step_id": pl.Series(inside).replace(ROOT, None),
            "before_kernel_id": before,
            "after_kernel_id": after,
        }
    )


def _recording_began_ns(trace: Trace, activities: pl.DataFrame) -> Int64:
    """For each activity the first event of its rank's host."""
    known, place = np.unique(activities["rank"].to_numpy(), return_inverse=True)
    of_thread = ranks(trace) if len(known) > 1 else None
    latest = np.iinfo(np.int64).max
    began_ns = np.full(len(known), latest)
    for frame in (trace.launches, trace.operators, trace.annotations):
        start_ns = frame["start_ns"].to_numpy()
        if of_thread is None:
            began_ns = np.minimum(began_ns, start_ns.min(initial=latest))
        else:
            rank = of_thread[frame["thread"].to_numpy()]
            at = np.minimum(np.searchsorted(known, rank), len(known) - 1)
            np.minimum.at(began_ns, at, np.where(known[at] == rank, start_ns, latest))
    return np.asarray(np.where(began_ns == latest, _NEVER_NS, began_ns)[place])


def _own_end_ns(activities: pl.DataFrame, end_ns: Int64) -> Int64:
    """When the stream of each activity was done with all that started on it before."""
    done = pl.col("end_ns").cum_max().shift(1).over("device", "stream")
    streams = activities.select("device", "stream").with_columns(end_ns=pl.Series(end_ns))
    return streams.select(done.fill_null(_NEVER_NS))["end_ns"].to_numpy()


def _waiting_calls(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """The launches that return only when the device is done."""
    waiting = [code for code, name in enumerate(trace.names) if WAITING.search(name)]
    to_pageable = [code for code, name in enumerate(trace.names) if _TO_PAGEABLE.search(name)]
    copies = activities.filter(pl.col("name").is_in(to_pageable))["launch"].drop_nulls()
    is_waiting = pl.col("name").is_in(waiting) | pl.col("row").is_in(copies.cast(pl.Int64).implode())
    rows = trace.launches.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    return rows.filter(is_waiting).sort("start_ns")


def _waits(calls: pl.DataFrame, thread: Int64, since_ns: Int64, until_ns: Int64) -> tuple[Int64, Mask]:
    """For each thread and interval: how long of it the thread was inside the calls, and whether so at its beginning."""
    waited_ns, at_once = np.zeros(len(thread), dtype=np.int64), np.zeros(len(thread), dtype=bool)
    for each in calls["thread"].unique():
        mine = calls.filter(pl.col("thread") == each)
        rows = np.flatnonzero(thread == each)
        inside = _Inside(*_times(mine))
        waited_ns[rows] = inside.until_ns(until_ns[rows]) - inside.until_ns(since_ns[rows])
        at_once[rows] = inside.at(since_ns[rows])
    return waited_ns, at_once


class _Inside:
    """The union of spans sorted by start, to ask of any moment."""

    def __init__(self, start_ns: Int64, end_ns: Int64) -> None:
        covered_ns = np.concatenate([[_NEVER_NS], np.maximum.accumulate(end_ns)[:-1]])
        start_ns = np.maximum(start_ns, covered_ns)
        fresh = end_ns > start_ns
        self.start_ns, self.end_ns = start_ns[fresh], end_ns[fresh]
        self.total_ns = np.concatenate([[0], np.cumsum(self.end_ns - self.start_ns)])

    def _remaining_ns(self, moment_ns: Int64) -> tuple[Int64, Int64]:
        """How many spans have begun by each moment, and how much of the last of them is to come."""
        begun = np.searchsorted(self.start_ns, moment_ns, side="right")
        return begun, np.maximum(take(self.end_ns, begun - 1, _NEVER_NS) - moment_ns, 0)

    def at(self, moment_ns: Int64) -> Mask:
        return np.asarray(self._remaining_ns(moment_ns)[1] > 0)

    def until_ns(self, moment_ns: Int64) -> Int64:
        begun, remaining_ns = self._remaining_ns(moment_ns)
        return np.asarray(self.total_ns[begun] - remaining_ns)
