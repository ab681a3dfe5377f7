"""One function a plot, each returning a ``plotly.graph_objects.Figure`` for notebooks; the page shows the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ridgeline.reports import queries
from ridgeline.reports.figures import bars, marks, roofs
from ridgeline.reports.figures.layout import Spec
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.figures.placement import placed
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import duckdb
    import plotly.graph_objects as go

    Connection = duckdb.DuckDBPyConnection


def roofline(connection: Connection, run: str) -> go.Figure:
    """Every kernel and shape of a run under its device's roofs.

    >>> import reports, warehouse
    >>> reports.roofline(warehouse.connect("ridgeline.duckdb", read_only=True), "dlm_full").show()  # doctest: +SKIP
    """
    machine, points = _load(connection, run)
    used = {(point["unit"], point["precision"]) for point in points if point["place"] == "roofline"}
    spec = roofs.skeleton(machine, used)
    spec["data"] += marks.traces(points, "roofline")
    spec["layout"]["annotations"] += marks.badges(points)
    return _figure(spec)


def bandwidth(connection: Connection, run: str) -> go.Figure:
    """Kernels without FLOPs by the DRAM bandwidth they reach.

    >>> reports.bandwidth(connection, "dlm_full").show()  # doctest: +SKIP
    """
    machine, points = _load(connection, run)
    traces = marks.traces(points, "lane")
    spec = roofs.lane(machine, [trace["name"] for trace in traces])
    spec["data"] += traces
    spec["layout"]["annotations"] += marks.badges(points, "lane")
    return _figure(spec)


def time_by_family(connection: Connection, run: str) -> go.Figure:
    """Device time by operator family."""
    return _times(connection, run, "family")


def time_by_phase(connection: Connection, run: str) -> go.Figure:
    """Device time by phase, stacked by family."""
    return _times(connection, run, "phase")


def time_by_module(connection: Connection, run: str) -> go.Figure:
    """Device time by module, layers taken together, stacked by family."""
    (run_id,) = resolve(connection, [run])
    rows = queries.rows(connection, "modules", [run_id])
    return _figure(bars.stacked((row["module"] or "no module", row["family"], row["duration_ns"]) for row in rows))


def time_lost(connection: Connection, run: str) -> go.Figure:
    """Time beyond the roof, by operator."""
    _, points = _load(connection, run)
    lost = [point for point in points if point["lost_ns"]]
    return _figure(bars.stacked((p["operator"] or p["short"], p["family"], round(p["lost_ns"])) for p in lost))


def ledger(connection: Connection, run: str) -> go.Figure:
    """Both accounts of a run: how its device time was attributed, and how its bytes were priced."""
    (run_id,) = resolve(connection, [run])
    rows = queries.rows(connection, "ledger", [run_id])
    (name,) = connection.execute("SELECT name FROM runs WHERE run_id = ?", [run_id]).fetchone() or (run,)
    return _figure(bars.accounts(rows, {run_id: name}))


def _times(connection: Connection, run: str, column: str) -> go.Figure:
    (run_id,) = resolve(connection, [run])
    rows = queries.rows(connection, "points", [run_id])
    return _figure(bars.stacked((row[column] or f"no {column}", row["family"], row["duration_ns"]) for row in rows))


def _load(connection: Connection, run: str) -> tuple[Machine, list[queries.Row]]:
    (run_id,) = resolve(connection, [run])
    machine = Machine.of("", queries.rows(connection, "ceilings", [run_id]))
    return machine, placed(queries.rows(connection, "points", [run_id]), machine.frame)


def _figure(spec: Spec) -> go.Figure:
    import plotly.graph_objects as go

    spec["layout"] |= {"paper_bgcolor": "white", "plot_bgcolor": "white"}
    return go.Figure(spec)


__all__ = ["bandwidth", "ledger", "roofline", "time_by_family", "time_by_module", "time_by_phase", "time_lost"]
