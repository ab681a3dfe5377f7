"""Rows of the table ``gaps``: every idle interval of a device, cut where its cause changes.

A gap is a maximal interval without an activity on any stream of a device, between the device's first activity and its
last. Its *call* is the launch of the first activity after it. The gap begins at g and ends at s. It has a row for each
stretch of time with one cause; the rows of a gap name the same activities before and after, follow each other without
a break and sum to the gap to the nanosecond.

The causes, in order of time, by what the launching thread did:

``synchronisation``
    Before the call began, the thread was inside a call that waits for the device (:data:`WAITING`, or a copy to
    pageable memory). The host lost its lead over the device.
``host_late``
    Before the call began, the thread did anything else: Python, dispatch, another thread's turn.
``launch_latency``
    The call ran. Or it had returned in the gap, and the activity started within :data:`STALLED_NS`. Or it had returned
    before the gap, and the activity started at most :data:`LAUNCH_LATENCY_NS` after both the call and the end of the
    previous work on its own stream.
``dependency``
    The call had returned before the gap, and the activity's own stream was done before g: it waited for another
    stream's work.
``unknown``
    The call had returned, the trace shows no work that the activity waited for, and it still started late: an event of
    another process, a host callback, a stalled queue. Or no launch is recorded, and the whole gap has this cause.
``replay``
    The activities on both sides belong to one graph launch: the whole gap lies between nodes of the graph.

A gap with a row of ``host_late`` or ``synchronisation`` is HTA's host wait (``ts_runtime > prev_end_ts``). HTA calls a
shorter rest than 30 ns kernel wait and a longer one other. It compares neighbours by start on one stream; here the
latest end so far counts, so that overlapping activities leave no negative gap.

An activity launched before recording began has no call; its launch time is taken as the first event of the host. On a
machine without a device, where operators stand for kernels, every gap is ``host_late``.

The parts of a row sum to its duration: the thread waited for the device (``sync_ns``) or did something else
(``host_ns``) before the call; the call ran (``call_ns``); it had returned and the work was queued (``queue_ns``). All
parts are null where the launch is not recorded.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.ranks import Mask, ranks
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, distinct, enclosing, nearest, take
from ridgeline.analyze.reading.trace import Trace

LAUNCH_LATENCY_NS = 10_000
"""The longest wait that launching alone explains. Under the profiler on H100, H200 and B200, kernels start 5 to 10 us
(median) after their call begins, and follow each other on a stream within 1 to 3 us."""

STALLED_NS = 100_000
"""After a call that returned in the gap, a longer time in the queue of an idle device is no latency of launching: in
the traces of 2019 to 2026 at hand, of NVIDIA and AMD, it is under 20 us where it is most of a gap."""

WAITING = re.compile(
    r"Synchronize"
    r"|^(cuda|hip)Memcpy(2D|3D)?(_v\d+|_ptds)?$"
    r"|^cuMemcpy(DtoH|HtoD)(_v\d+)?$"
    r"|^hipMemcpy(WithStream|DtoH|HtoD)$"
    r"|^(cuda|hip)(Free|FreeHost|HostFree)(_v\d+)?$"
)
"""Names of runtime and driver calls that return only when the device is done with its work."""
_TO_PAGEABLE = re.compile(r"DtoH.*Pageable")
_CAUSES = ("host_late", "synchronisation", "launch_latency", "dependency", "replay", "unknown")
_PARTS = ("host_ns", "sync_ns", "call_ns", "queue_ns")
"""The parts of a gap, in order of time; waits (``sync_ns``) lie between stretches of ``host_ns``."""
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
    recorded = (call != ROOT) | (early & (call_ns <= gap_ns))

    # the end of all that started earlier on the stream of each activity
    streams = activities.select("device", "stream").with_columns(end_ns=pl.Series(end_ns))
    done = pl.col("end_ns").cum_max().shift(1).over("device", "stream").fill_null(_NEVER_NS)
    own_end_ns = streams.select(done)["end_ns"].to_numpy()[after]
    # The first cause that holds is the queue's.
    causes = {
        "unknown": ~recorded | ((returned_ns > gap_ns) & (next_ns - returned_ns > STALLED_NS)),
        "launch_latency": (returned_ns > gap_ns) | (next_ns - np.maximum(call_ns, own_end_ns) <= LAUNCH_LATENCY_NS),
        "dependency": own_end_ns < gap_ns,
    }
    queue_cause = np.select(list(causes.values()), [_CAUSES.index(name) for name in causes], _CAUSES.index("unknown"))
    replay = activities["replay"].to_numpy()[after] & (call == launch[before])

    # Without a recorded call, the whole gap is queue.
    host_until_ns = np.where(recorded, np.clip(call_ns, gap_ns, next_ns), gap_ns)
    call_until_ns = np.where(recorded, np.clip(returned_ns, gap_ns, next_ns), gap_ns)
    thread = take(trace.launches["thread"].to_numpy(), call)
    waits = _waits(trace, activities, thread, gap_ns, host_until_ns)
    stretches = _stretches(waits, gap_ns, host_until_ns, call_until_ns, next_ns)
    by_part = np.array([_CAUSES.index(each) for each in ("host_late", "synchronisation", "launch_latency", "unknown")])
    cause = np.where(stretches.part == _PARTS.index("queue_ns"), queue_cause[stretches.gap], by_part[stretches.part])
    cause[replay[stretches.gap]] = _CAUSES.index("replay")
    return _split(_gaps(activities, before, after, "step_label"), stretches, cause, recorded)


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
    for each in distinct(device):
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


class _Stretches(NamedTuple):
    """Stretches of gaps in order of time: the gap of each, its start and end, and the part that it is (of _PARTS)."""

    gap: Int32
    start_ns: Int64
    end_ns: Int64
    part: Int32


def _stretches(waits: tuple[Int64, Int64, Int64], gap_ns: Int64, *until_ns: Int64) -> _Stretches:
    """Cut each gap, which begins at ``gap_ns``, where its part changes.

    ``waits`` are gap, start and end of the disjoint waits, sorted. Host and waits alternate up to the first of
    ``until_ns``; then the call runs up to the second; then the work is queued up to the last, the end of the gap.
    """
    gap, wait_start_ns, wait_end_ns = waits
    last_host = 2 * np.bincount(gap, minlength=len(gap_ns)).astype(np.int32)
    width = last_host + np.int32(3)
    first = np.cumsum(width, dtype=np.int32) - width
    of = np.repeat(np.arange(len(gap_ns), dtype=np.int32), width)
    place = np.arange(len(of), dtype=np.int32) - first[of]
    after_host = place - last_host[of]
    part = np.where(after_host <= 0, place & 1, after_host + np.int32(1))
    end_ns = np.empty(len(of), dtype=np.int64)
    at = first[gap] + 2 * (np.arange(len(gap)) - np.searchsorted(gap, gap))
    end_ns[at], end_ns[at + 1] = wait_start_ns, wait_end_ns
    for moment, moment_ns in enumerate(until_ns):
        end_ns[first + last_host + moment] = moment_ns
    start_ns = np.roll(end_ns, 1)
    start_ns[first] = gap_ns
    lasts = np.flatnonzero(end_ns > start_ns)
    return _Stretches(of[lasts], start_ns[lasts], end_ns[lasts], part[lasts])


def _split(gaps: pl.DataFrame, stretches: _Stretches, cause: Int64, recorded: Mask) -> pl.DataFrame:
    """Rows of ``gaps``, of which each becomes one for every cause; ``cause`` is that of each stretch, of _CAUSES."""
    gap, start_ns, end_ns, part = stretches
    changes = np.ones(len(gap), dtype=bool)
    changes[1:] = (np.diff(gap) != 0) | (np.diff(cause) != 0)
    first = np.flatnonzero(changes)
    gap, cause = gap[first], cause[first]
    duration_ns = end_ns - start_ns
    parts = {name: np.where(part == place, duration_ns, 0) for place, name in enumerate(_PARTS)}
    summed = {name: pl.Series(_sums(values, first)) for name, values in parts.items()}
    return gaps[gap].with_columns(
        gap_id=np.arange(len(gap)),
        start_ns=start_ns[first],
        duration_ns=_sums(duration_ns, first),
        cause=pl.Series(_CAUSES).gather(cause),
        **{name: pl.when(pl.Series(recorded[gap])).then(values) for name, values in summed.items()},
    )


def _sums(values: Int64, first: Int64) -> Int64:
    return np.add.reduceat(values, first) if len(first) else values


def devices_of(activities: pl.DataFrame) -> Int64:
    """A number for the device of each activity, from 0; each rank has its own devices."""
    keys = activities.select("rank", "device_index").to_numpy()
    if (keys == keys[:1]).all():  # the common case without a sort
        return np.zeros(len(activities), dtype=np.int64)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


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
) -> tuple[Int64, Int64, Int64]:
    """The time that each thread spent in waiting calls within its interval, as disjoint spans sorted by interval.

    Returns the number of the interval, start and end of each span.
    """
    waiting = [code for code, name in enumerate(trace.names) if WAITING.search(name)]
    # A copy to pageable memory waits as well; its call's name does not tell, but the name of its activity does.
    to_pageable = [code for code, name in enumerate(trace.names) if _TO_PAGEABLE.search(name)]
    copies = activities.filter(pl.col("name").is_in(to_pageable))["launch"].drop_nulls()
    is_waiting = pl.col("name").is_in(waiting) | pl.col("row").is_in(copies.cast(pl.Int64).implode())
    rows = trace.launches.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    calls = rows.filter(is_waiting).sort("start_ns")
    nothing = np.empty(0, dtype=np.int64)
    intervals, spans = [nothing], [np.empty((2, 0), dtype=np.int64)]
    for each in calls["thread"].unique():
        mine = np.flatnonzero(thread == each)
        start_ns, end_ns = _disjoint(*_times(calls.filter(pl.col("thread") == each)))
        first = np.searchsorted(end_ns, since_ns[mine], side="right")
        count = np.maximum(np.searchsorted(start_ns, until_ns[mine], side="left") - first, 0)
        interval = np.repeat(mine, count)
        call = np.arange(len(interval)) + np.repeat(first - np.cumsum(count) + count, count)
        intervals.append(interval)
        spans.append(
            np.stack([np.maximum(start_ns[call], since_ns[interval]), np.minimum(end_ns[call], until_ns[interval])])
        )
    interval = np.concatenate(intervals)
    order = np.argsort(interval, kind="stable")
    start_ns, end_ns = np.concatenate(spans, axis=1)[:, order]
    return interval[order], start_ns, end_ns


def _disjoint(start_ns: Int64, end_ns: Int64) -> tuple[Int64, Int64]:
    """The union of spans, sorted by start: each without the time that earlier spans cover."""
    covered_ns = np.concatenate([[_NEVER_NS], np.maximum.accumulate(end_ns)[:-1]])
    start_ns = np.maximum(start_ns, covered_ns)
    fresh = end_ns > start_ns
    return start_ns[fresh], end_ns[fresh]
