"""Rows of the table `warnings` that follow from a trace: what it lacks, and what was read otherwise than it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ridgeline.analyze.reading.categories import RANGE
from ridgeline.analyze.reading.repair import BACKSLASH, BYTE_ORDER_MARK, CONTROL, NO_NUMBER, NOT_UTF8
from ridgeline.analyze.reading.trace import Trace

SHOWN = 5
"""Most categories that a message names."""
LONGEST_NAME = 40

_DOUBTS = {
    "other_process": (
        "{} kernels and copies have correlation ids that launches of several processes share, as in merged traces of "
        "ranks, and nothing tells the processes apart: they were attributed to the first launch and may belong to "
        "another rank: analyze each rank's own trace"
    ),
    "same_process": (
        "{} kernels and copies have correlation ids that several launches under one process id share, as in traces "
        "merged without making process ids distinct: ranks are not separated: analyze each rank's own trace"
    ),
}


_REPLACED = {
    BYTE_ORDER_MARK: "a byte order mark at the start of the file was skipped",
    BACKSLASH: "{} with backslashes that escape nothing: each backslash is read as /: PyTorch later than 2.0 writes "
    "paths on Windows right",
    CONTROL: "{} with control characters, which JSON does not allow: each is read as a space",
    NOT_UTF8: "{} with bytes that are not UTF-8: each byte is read as ?",
    NO_NUMBER: "{} outside of JSON, such as inf, nan or N/A: counted as not recorded",
}


def warning_rows(trace: Trace, activities: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each kind of thing that a trace lacks, that was read otherwise, or that is in doubt."""
    rows = []
    if trace.broken:
        message = f"partial: {trace.broken}; the events before that were loaded"
        if trace.device.is_empty() and not trace.on_cpu:
            message += ", and no kernel is among them"
        rows.append({"source": "salvage", "message": message})
    rows += [{"source": "reader", "message": message} for message in _reader_messages(trace)]
    if "doubt" in activities.columns:
        counts = activities["doubt"].drop_nulls().value_counts().sort("doubt")
        rows += [{"source": "attribution", "message": _DOUBTS[doubt].format(f"{n:,}")} for doubt, n in counts.rows()]
    joined, misfits = trace.reading.uncorrelated
    if misfits:
        message = (
            "no kernel has a correlation id, as on old ROCm, and the launch with the same External id began after the "
            f"kernel or launched another one: {misfits:,} of {joined + misfits:,} device activities have no operator: "
            "record with ROCm 6 or later"
        )
        rows.append({"source": "attribution", "message": message})
    if "recorded_ns" in activities.columns:
        rows.append({"source": "durations", "message": _durations_message(activities)})
    return rows


def nothing_read(trace: Trace, path: Path) -> str:
    """Return the message that refuses a file of which no event can be read."""
    categories = trace.reading.categories
    listed = f" of the categories {_listed(list(map(_quoted, sorted(categories))))}" if categories else ""
    return (
        f"{path}: no operator, launch, annotation or device activity among {_counted(trace.events, 'event')}{listed}: "
        "expected a trace as torch.profiler exports it: record with activities=[ProfilerActivity.CPU, "
        "ProfilerActivity.CUDA]"
    )


def _reader_messages(trace: Trace) -> list[str]:
    reading = trace.reading
    messages = [
        _REPLACED[kind].format(_counted(count, "value" if kind == NO_NUMBER else "text"))
        for kind, count in sorted(reading.replaced.items())
    ]
    if unread := reading.unread:
        most = sorted(unread.items(), key=lambda item: (-item[1], item[0]))
        listed = _listed([f"{count:,} of {_quoted(name)}" for name, count in most])
        messages.append(
            f"{_counted(sum(unread.values()), 'event')} of unknown categories not read: {listed}: if a device did this "
            "work, it is missing here"
        )
    if trace.has_device_work and not trace.broken:
        cause = (
            "events that were not read belong to a process without operators, maybe a device"
            if reading.foreign
            else f"{_counted(len(trace.launches), 'launch', 'launches')} but no activity of a device"
        )
        messages.append(
            f"{cause}: the operators' time on the host is not device time, so this run has none: record the device's "
            "activities (ProfilerActivity.CUDA or XPU), and end other profilers, which may take them"
        )
    if reading.unpaired:
        messages.append(
            f"{_counted(reading.unpaired, 'begin or end', 'begins and ends')} of spans (ph B, E) without the other "
            "half left out: record until every span has ended"
        )
    if any(reading.timeless):
        activities, duration_ns, others = reading.timeless
        messages.append(
            f"no time stamp, or one of 0: {_counted(activities, 'device activity', 'device activities')} of "
            f"{duration_ns / 1e6:,.3f} ms and {_counted(others, 'host event')} left out: record again"
        )
    return messages


def _counted(number: int, singular: str, plural: str = "") -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _listed(texts: list[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")


def _quoted(name: str) -> str:
    """Return a name from the trace for a message of one line."""
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}...")


def _durations_message(activities: pl.DataFrame) -> str:
    wrong = activities.filter(pl.col("recorded_ns") != pl.col("duration_ns"))
    cut = f"{int((wrong['recorded_ns'] - wrong['duration_ns']).sum()) / 1e6:,.3f} ms"
    if activities["category"][0] == RANGE:
        return (
            f"all {len(wrong):,} counter ranges last {wrong['recorded_ns'][0] / 1e6:,.3f} ms, the length of a pass of "
            f"the profiler: {cut} not counted as device time, and idle time is not known: record the kernels in a run "
            "without profiler_metrics"
        )
    return (
        f"{_counted(len(wrong), 'device activity runs', 'device activities run')} over the next one of the same "
        f"stream, which the order of a stream excludes: clipped to the start of the next, {cut} in all: measure again"
    )
