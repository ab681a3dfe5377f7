"""HolisticTraceAnalysis over one trace, in a process of its own: `python -m ridgeline.analyze.hta.process TRACE`.

Writes a line of JSON when it begins an analysis, ``{"begin": analysis}``, and one when it has it, ``{"rows": [...]}``
or ``{"error": message}``, so that what is done when it crashes or is stopped is not lost. What HTA itself prints goes
nowhere. When standard input ends, so does this process, with all it started. HTA reads ``HTA_DISABLE_NS_ROUNDING`` at
import: unless that is set it rounds times to whole microseconds.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
_RANK = 0
"""What HTA is told; the run's own rank is put in its place afterwards."""


def main() -> None:
    """Analyze the trace named on the command line."""
    threading.Thread(target=_end_with_parent, name="end", daemon=True).start()
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")

    def say(what: dict[str, Any]) -> None:
        print(json.dumps(what, allow_nan=False), file=results, flush=True)

    say({"begin": "load"})
    try:
        analysis = _load(Path(sys.argv[1]).resolve())
    except Exception as e:
        say({"error": _message(e)})
        return
    for name, analyze in _ANALYSES.items():
        say({"begin": name})
        try:
            say({"rows": analyze(analysis)})
        except Exception as e:
            say({"error": _message(e)})


def _end_with_parent() -> None:
    """Standard input is a pipe that the parent holds open as long as it lives."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def _message(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":").strip()[:500]


def _load(trace: Path) -> Any:
    _allow_axis_beside_columns()
    from hta.trace_analysis import TraceAnalysis

    logging.disable(logging.CRITICAL)
    return TraceAnalysis(trace_files={_RANK: str(trace)}, trace_dir=str(trace.parent))


def _allow_axis_beside_columns() -> None:
    """HTA 0.5 calls ``drop(axis=1, columns=...)``, which pandas refuses from 3 on: there goes its critical path."""
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
    """Of the whole trace, the edges of one kind summed."""
    found = analysis.critical_path_analysis(rank=_RANK, annotation="", instance_id=0)
    if found is None or not found[1]:
        raise RuntimeError("found no critical path")
    frame = found[0].get_critical_path_breakdown()
    if frame is None:
        raise RuntimeError("found no critical path")
    frame = frame.rename(columns={"type": "edge_type", "s_name": "event"})
    frame["event"] = frame["event"].astype(object).where(frame["event"].notna(), None)
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
    """Null for the ratio of a stream without idle time."""
    return None if value != value else value * factor


if __name__ == "__main__":
    main()
