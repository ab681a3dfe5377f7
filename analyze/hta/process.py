"""The program of HTA's process: it receives the path of a trace, and sends the rows of each analysis as it completes.

Messages are ``("begin", analysis)``, then ``("rows", rows)`` or ``("error", message)``, so that the analyses completed
before a crash are not lost.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ridgeline.child_process import Parent
from ridgeline.errors import needed

Rows = list[dict[str, Any]]
_RANK = 0
"""The rank that HTA is given; the run's own rank replaces it in the tables."""


def main() -> None:
    """Analyze one trace."""
    warnings.simplefilter("ignore")  # pandas warns at every call
    parent = Parent()
    trace: Path = parent.receive().resolve()
    parent.send(("begin", "load"))
    try:
        _accept_axis_beside_columns()
        from hta.trace_analysis import TraceAnalysis

        logging.disable(logging.CRITICAL)
        # without the flag HTA leaves out what runs after the start of the last ProfilerStep
        analysis = TraceAnalysis({_RANK: str(trace)}, str(trace.parent), include_last_profiler_step=True)
    except Exception as e:
        parent.send(("error", _message(e)))
        return
    for name, analyze in _ANALYSES.items():
        parent.send(("begin", name))
        try:
            rows = analyze(analysis)
            # NaN would be a number in the warehouse, where NULL is meant
            if any(isinstance(value, float) and not math.isfinite(value) for row in rows for value in row.values()):
                raise ValueError("a result is not a finite number")
            parent.send(("rows", rows))
        except Exception as e:
            parent.send(("error", _message(e)))


def _message(error: Exception) -> str:
    if isinstance(error, ImportError):
        return needed(error)
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":").strip()[:500]


def _accept_axis_beside_columns() -> None:
    """Let ``DataFrame.drop`` accept ``axis`` beside ``columns``.

    HTA 0.5 calls ``drop(axis=1, columns=...)`` for its critical path, which pandas refuses from version 3 on.
    """
    import pandas as pd

    drop = pd.DataFrame.drop

    def lenient(self: Any, labels: Any = None, *, axis: Any = 0, columns: Any = None, **others: Any) -> Any:
        if columns is not None:
            return drop(self, labels, columns=columns, **others)
        return drop(self, labels, axis=axis, **others)

    pd.DataFrame.drop = lenient


def _temporal(analysis: Any) -> Rows:
    frame = analysis.get_temporal_breakdown(visualize=False)
    return [
        {"idle_ns": idle * 1000, "compute_ns": compute * 1000, "non_compute_ns": other * 1000, "kernel_ns": span * 1000}
        for idle, compute, other, span in _columns(
            frame, "idle_time(us)", "compute_time(us)", "non_compute_time(us)", "kernel_time(us)"
        )
    ]


def _idle(analysis: Any) -> Rows:
    frame, _ = analysis.get_idle_time_breakdown(ranks=[_RANK], visualize=False)
    return [
        {"stream": stream, "category": category, "idle_ns": _finite(idle, 1000), "share": _finite(share)}
        for stream, category, idle, share in _columns(frame, "stream", "idle_category", "idle_time", "idle_time_ratio")
    ]


def _launch(analysis: Any) -> Rows:
    frame = analysis.get_cuda_kernel_launch_stats(ranks=[_RANK], visualize=False)[_RANK]
    return [
        {"correlation": int(correlation), "call_ns": call * 1000, "kernel_ns": kernel * 1000, "delay_ns": delay * 1000}
        for correlation, call, kernel, delay in _columns(
            frame, "correlation", "cpu_duration", "gpu_duration", "launch_delay"
        )
    ]


def _critical_path(analysis: Any) -> Rows:
    """Return the edges of the whole trace's critical path, summed by kind."""
    graph: Any
    graph, succeeded = analysis.critical_path_analysis(rank=_RANK, annotation="", instance_id=0) or (None, False)
    frame = graph.get_critical_path_breakdown() if succeeded else None
    if frame is None:
        raise RuntimeError("found no critical path")
    frame = frame.rename(columns={"type": "edge_type", "s_name": "event"})
    frame["event"] = frame["event"].astype(object).where(frame["event"].notna(), None)
    # a path has an edge for every call and kernel: sum those of a kind
    keys = ["edge_type", "bound_by", "event"]
    sums = frame.groupby(keys, dropna=False)["duration"].agg(["count", "sum"]).reset_index()
    return [
        {
            "edge_type": edge_type, "bound_by": bound_by or None, "event": event if isinstance(event, str) else None,
            "edges": int(edges), "duration_ns": duration * 1000,
        }
        for edge_type, bound_by, event, edges, duration in _columns(sums, *keys, "count", "sum")
    ]  # fmt: skip


_ANALYSES: dict[str, Callable[[Any], Rows]] = {
    "temporal": _temporal,
    "idle": _idle,
    "launch": _launch,
    "critical_path": _critical_path,
}


def _columns(frame: Any, *names: str) -> Any:
    return zip(*(frame[name].tolist() for name in names), strict=True)


def _finite(value: float, factor: float = 1) -> float | None:
    """Return None for NaN, the ratio of a stream without idle time."""
    return None if value != value else value * factor
