"""Rows of the table `warnings` that follow from a trace: where it breaks off, and whose rank is in doubt."""

from __future__ import annotations

from typing import Any

import polars as pl

from ridgeline.analyze.reading.trace import Trace

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


def warning_rows(trace: Trace, activities: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a row if the trace breaks off, and a row for each kind of doubt about the rank of activities."""
    rows = []
    if trace.broken:
        message = f"partial: {trace.broken}; the events before that were loaded"
        if trace.device.is_empty() and not trace.on_cpu:
            message += ", and no kernel is among them"
        rows.append({"source": "salvage", "message": message})
    if "doubt" in activities.columns:
        counts = activities["doubt"].drop_nulls().value_counts().sort("doubt")
        rows += [{"source": "attribution", "message": _DOUBTS[doubt].format(f"{n:,}")} for doubt, n in counts.rows()]
    return rows
