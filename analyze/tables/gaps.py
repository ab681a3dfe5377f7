"""Rows of the table ``gaps``: every idle interval of a device, its one cause, and the parts of its duration.

A gap is a maximal interval without an activity on any stream of a device, between the device's first activity and its
last. Its *call* is the launch of the first activity after it. The gap begins at g and ends at s.

The cause is the first of these that holds:

``replay``
    The activities on both sides belong to one graph launch: the gap lies between nodes of the graph.
``synchronisation``
    The call began after g, and at g its thread was inside a call that waits for the device (:data:`WAITING`, or a copy
    to pageable memory). The host lost its lead over the device.
``host_late``
    The call began after g for any other reason: Python, dispatch, another thread's turn.
``launch_latency``
    The call began at or before g and had not returned by then. Or the activity started at most
    :data:`LAUNCH_LATENCY_NS` after both its call and the end of the previous work on its own stream.
``dependency``
    The activity was launched in time and its own stream was done before g: it waited for another stream's work.
``unknown``
    No launch is recorded. Or the activity was launched in time, the trace shows no work that it waited for, and it
    still started late: an event of another process, a host callback, a stalled queue. Or it was launched late, but
    most of the gap, and more than :data:`STALLED_NS`, lies after its call had returned: the host was not what it
    waited for.

But for stalled queues, ``host_late`` and ``synchronisation`` together are HTA's host wait (``ts_runtime >
prev_end_ts``). HTA calls a shorter rest than 30 ns kernel wait and a longer one other. It compares neighbours by start
on one stream; here the latest end so far counts, so that overlapping activities leave no negative gap.

An activity launched before recording began has no call; its launch time is taken as the first event of the host. On a
machine without a device, where operators stand for kernels, every gap is ``host_late``.

The parts sum to the gap's duration. Before the call began, its thread waited for the device (``sync_ns``) or did
something else (``host_ns``). Then the call ran (``call_ns``). Then it had returned and the work was queued
(``queue_ns``). All parts are null where the launch is not recorded.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.ranks import Mask, ranks
from ridgeline.analyze.attribution.spans import ROOT, Int64, enclosing, nearest, take
from ridgeline.analyze.reading.trace import Trace

LAUNCH_LATENCY_NS = 10_000
"""The longest wait that launching alone explains. Under the profiler on H100, H200 and B200, kernels start 5 to 10 us
(median) after their call begins, and follow each other on a stream within 1 to 3 us."""

STALLED_NS = 100_000
"""A longer time in the queue of an idle device is no latency of launching: in the traces of 2019 to 2026 at hand, of
NVIDIA and AMD, it is under 20 us where it is most of a gap."""

WAITING = re.compile(
    r"Synchronize"
    r"|^(cuda|hip)Memcpy(2D|3D)?(_v\d+|_ptds)?$"
    r"|^cuMemcpy(DtoH|HtoD)(_v\d+)?$"
    r"|^hipMemcpy(WithStream|DtoH|HtoD)$"
    r"|^(cuda|hip)(Free|FreeHost|HostFree)(_v\d+)?$"
)
"""Names of runtime and driver calls that return only when the device is done with its work."""
_TO_PAGEABLE = re.compile(r"DtoH.*Pageable")
_NEVER_NS = -(1 << 62)
"""Earlier than any event of a trace; subtracting a time from it does not overflow."""


def gap_rows(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``gaps`` of a trace with a device; ``activities`` as
    :func:`ridgeline.analyze.attribution.operators.attribute` returns them."""
    start_ns, end_ns = _times(activities)
    before, after = idle(activities["device"].to_numpy(), start_ns, end_ns)
    gap_ns, next_ns = end_ns[before], start_ns[after]
    launch = activities["launch"].cast(pl.Int64).fill_null(ROOT).to_numpy()
    call = launch[after]
    # A call before recording began precedes the first event of its host by an unknown time.
    early = (activities["attribution"] == "before_recording").to_numpy()[after] & (call == ROOT)
    began_ns = _recording_began_ns(trace, activities)[after]
    calls_start, calls_ns = (trace.launches[column].to_numpy() for column in ("start_ns", "duration_ns"))
    call_ns = np.where(early, began_ns, take(calls_start, call))
    returned_ns = call_ns + np.where(early, 0, take(calls_ns, call, 0))
    late = call_ns > gap_ns
    recorded = (call != ROOT) | (early & ~late)

    # The moments at which the parts meet lie within the gap.
    host_until_ns = np.clip(call_ns, gap_ns, next_ns)
    call_until_ns = np.clip(returned_ns, gap_ns, next_ns)
    queue_ns = next_ns - call_until_ns
    stalled = (queue_ns > STALLED_NS) & (2 * queue_ns > next_ns - gap_ns) & (returned_ns > gap_ns)
    thread = take(trace.launches["thread"].to_numpy(), call)
    sync_ns, was_waiting = _waits(trace, activities, thread, gap_ns, host_until_ns)

    # the end of all that started earlier on the stream of each activity
    streams = activities.select("device", "stream").with_columns(end_ns=pl.Series(end_ns))
    done = pl.col("end_ns").cum_max().shift(1).over("device", "stream").fill_null(_NEVER_NS)
    own_end_ns = streams.select(done)["end_ns"].to_numpy()[after]
    # The first cause that holds is the gap's.
    causes = {
        "replay": activities["replay"].to_numpy()[after] & (call == launch[before]),
        "unknown": ~recorded | stalled,
        "synchronisation": late & was_waiting,
        "host_late": late,
        "launch_latency": (returned_ns > gap_ns) | (next_ns - np.maximum(call_ns, own_end_ns) <= LAUNCH_LATENCY_NS),
        "dependency": own_end_ns < gap_ns,
    }
    cause = np.select(list(causes.values()), np.arange(len(causes)), list(causes).index("unknown"))
    parts = {
        "sync_ns": sync_ns,
        "host_ns": host_until_ns - gap_ns - sync_ns,
        "call_ns": call_until_ns - host_until_ns,
        "queue_ns": queue_ns,
    }
    has_parts = pl.Series(recorded)
    return _gaps(activities, before, after, "step_label").with_columns(
        pl.Series("cause", list(causes)).gather(cause),
        *(pl.when(has_parts).then(pl.Series(values)).alias(name) for name, values in parts.items()),
    )


def operator_gap_rows(activities: pl.DataFrame, step: str = "step_label") -> pl.DataFrame:
    """Rows of ``gaps`` of a machine without a device, from operators sorted by start; ``step`` is their step's column.

    The processor counts as the one device of each rank.
    """
    gaps = _gaps(activities, *idle(activities["rank"].to_numpy(), *_times(activities)), step)
    nothing = pl.lit(0, dtype=pl.Int64)
    return gaps.with_columns(
        cause=pl.lit("host_late"), sync_ns=nothing, host_ns=pl.col("duration_ns"), call_ns=nothing, queue_ns=nothing
    )


def idle(device: Int64, start_ns: Int64, end_ns: Int64) -> tuple[Int64, Int64]:
    """The idle intervals of each device, in order: the indices of the activity before and of the activity after each.

    Activities are sorted by start. The one before an interval ended last (of equals the last); the one after it starts
    first (of equals the first).
    """
    before, after = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for each in np.unique(device):
        rows = np.flatnonzero(device == each)
        ends = end_ns[rows]
        # the latest end so far, and the activity that has it
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
    """The columns of ``gaps`` without cause and parts; a kernel's id is its position among the activities."""
    start_ns, end_ns = _times(activities)
    return pl.DataFrame(
        {
            "gap_id": np.arange(len(after)),
            "rank": activities["rank"].to_numpy()[after],
            "device_index": activities["device_index"].to_numpy()[after],
            "start_ns": end_ns[before],
            "duration_ns": start_ns[after] - end_ns[before],
            "step_id": pl.Series(_steps(activities, before, after, step)).replace(ROOT, None),
            "before_kernel_id": before,
            "after_kernel_id": after,
        }
    )


def devices_of(activities: pl.DataFrame) -> Int64:
    """A number for the device of each activity, from 0; each rank has its own devices."""
    keys = activities.select("rank", "device_index")
    if keys.n_unique() < 2:  # the common case without a sort
        return np.zeros(len(activities), dtype=np.int64)
    return np.unique(keys.to_numpy(), axis=0, return_inverse=True)[1].reshape(-1)


def _steps(activities: pl.DataFrame, before: Int64, after: Int64, step: str) -> Int64:
    """The step of each gap: that of both its neighbours, else the step within which it lies on its device.

    A step lasts from its first activity on the device to its last. Of several around the gap, the last to begin.
    """
    start_ns, end_ns = _times(activities)
    of_activity = activities[step].cast(pl.Int64).fill_null(ROOT).to_numpy()
    step_of = np.where(of_activity[before] == of_activity[after], of_activity[after], ROOT)
    between = np.flatnonzero(step_of == ROOT)
    places = devices_of(activities)
    ends = pl.DataFrame({"place": places, "step": of_activity, "start_ns": start_ns, "end_ns": end_ns})
    spans = ends.filter(pl.col("step") != ROOT).group_by("place", "step").agg(pl.min("start_ns"), pl.max("end_ns"))
    if len(between) and len(spans):
        gaps = (places[after], end_ns[before], start_ns[after])
        place, begin_ns, until_ns = (
            np.concatenate([spans[name].to_numpy(), gap[between]])
            for name, gap in zip(("place", "start_ns", "end_ns"), gaps, strict=True)
        )
        is_gap = np.arange(len(place)) >= len(spans)
        around = nearest(enclosing(place, begin_ns, until_ns, is_gap.astype(np.int8)), ~is_gap)[len(spans) :]
        step_of[between] = take(spans["step"].to_numpy(), around)
    return step_of


def _recording_began_ns(trace: Trace, activities: pl.DataFrame) -> Int64:
    """For each activity the start of the first host event of its rank."""
    present, place = np.unique(activities["rank"].to_numpy(), return_inverse=True)
    # The common case of one rank needs no rank for each event.
    of_thread = ranks(trace) if len(present) > 1 else None
    latest = np.iinfo(np.int64).max
    began_ns = np.full(len(present), latest)
    for frame in (trace.launches, trace.operators, trace.annotations):
        start_ns = frame["start_ns"].to_numpy()
        if of_thread is None:
            began_ns = np.minimum(began_ns, start_ns.min(initial=latest))
        else:
            rank = of_thread[frame["thread"].to_numpy()]
            # events of ranks without activities go nowhere
            at = np.minimum(np.searchsorted(present, rank), len(present) - 1)
            np.minimum.at(began_ns, at, np.where(present[at] == rank, start_ns, latest))
    return np.asarray(np.where(began_ns == latest, _NEVER_NS, began_ns)[place])


def _waits(
    trace: Trace, activities: pl.DataFrame, thread: Int64, since_ns: Int64, until_ns: Int64
) -> tuple[Int64, Mask]:
    """For each thread and interval: the time that the thread spent in waiting calls, and True if it began in one."""
    waiting = [code for code, name in enumerate(trace.names) if WAITING.search(name)]
    # A copy to pageable memory waits as well; its call's name does not tell, but the name of its activity does.
    to_pageable = [code for code, name in enumerate(trace.names) if _TO_PAGEABLE.search(name)]
    copies = activities.filter(pl.col("name").is_in(to_pageable))["launch"].drop_nulls()
    is_waiting = pl.col("name").is_in(waiting) | pl.col("row").is_in(copies.cast(pl.Int64).implode())
    rows = trace.launches.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    calls = rows.filter(is_waiting).sort("start_ns")
    waited_ns, at_once = np.zeros(len(thread), dtype=np.int64), np.zeros(len(thread), dtype=bool)
    for each in calls["thread"].unique():
        mine = np.flatnonzero(thread == each)
        moments_ns = np.concatenate([since_ns[mine], until_ns[mine]])
        before_ns, inside = _union(*_times(calls.filter(pl.col("thread") == each)), moments_ns)
        waited_ns[mine] = before_ns[len(mine) :] - before_ns[: len(mine)]
        at_once[mine] = inside[: len(mine)]
    return waited_ns, at_once


def _union(start_ns: Int64, end_ns: Int64, moment_ns: Int64) -> tuple[Int64, Mask]:
    """The length of the union of spans, sorted by start, before each moment; True for each moment inside it."""
    # Cut from each span what earlier ones cover, so that the rest are disjoint.
    covered_ns = np.concatenate([[_NEVER_NS], np.maximum.accumulate(end_ns)[:-1]])
    start_ns = np.maximum(start_ns, covered_ns)
    fresh = end_ns > start_ns
    start_ns, end_ns = start_ns[fresh], end_ns[fresh]
    total_ns = np.concatenate([[0], np.cumsum(end_ns - start_ns)])
    # the spans that begin by each moment, and how much of the last of them lies after it
    begun = np.searchsorted(start_ns, moment_ns, side="right")
    after_ns = np.maximum(take(end_ns, begun - 1, _NEVER_NS) - moment_ns, 0)
    return total_ns[begun] - after_ns, np.asarray(after_ns > 0)
