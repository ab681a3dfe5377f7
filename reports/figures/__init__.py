"""One function a figure, each returning a ``plotly.graph_objects.Figure`` for notebooks.

Every function takes a connection to a warehouse and a run (name, id or unique prefix), and raises
:class:`~ridgeline.warehouse.errors.SelectionError` if the run is unknown or ambiguous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ridgeline.reports import queries
from ridgeline.reports.figures import bars, marks, roofs
from ridgeline.reports.figures.layout import notebook_figure
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.figures.placement import placed
from ridgeline.reports.queries import Connection
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import plotly.graph_objects as go


def roofline(connection: Connection, run: str) -> go.Figure:
    """Draw every kernel and shape of a run under the roofs of its device.

    >>> import ridgeline
    >>> connection = ridgeline.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
    >>> ridgeline.roofline(connection, "dlm_full").show()  # doctest: +SKIP
    """
    machine, points = _machine_and_points(connection, run)
    # Compute roofs of units and precisions that the run does not use would only clutter the figure.
    used = {(point["unit"], point["precision"]) for point in points if point["place"] == "roofline"}
    spec = roofs.skeleton(machine, used, marks.discs(points))
    spec["data"] += marks.traces(points, "roofline")
    spec["layout"]["annotations"] += marks.badges(points)
    return notebook_figure(spec)


def bandwidth(connection: Connection, run: str) -> go.Figure:
    """Draw kernels without FLOPs by the DRAM bandwidth that they reach."""
    machine, points = _machine_and_points(connection, run)
    traces = marks.traces(points, "lane")
    spec = roofs.lane(machine, [trace["name"] for trace in traces])
    spec["data"] += traces
    spec["layout"]["annotations"] += marks.badges(points, "lane")
    return notebook_figure(spec)


def time_by_family(connection: Connection, run: str) -> go.Figure:
    """Draw device time by operator family."""
    return _time_by(connection, run, "kernel_shapes", "family")


def time_by_phase(connection: Connection, run: str) -> go.Figure:
    """Draw device time by phase, stacked by family."""
    return _time_by(connection, run, "kernel_shapes", "phase")


def time_by_module(connection: Connection, run: str) -> go.Figure:
    """Draw device time by module, the layers of a model summed, stacked by family."""
    return _time_by(connection, run, "modules", "module")


def time_lost(connection: Connection, run: str) -> go.Figure:
    """Draw the time beyond the roof by operator; kernels without an operator by their own name.

    The time of guessed prices, of communication and without a known roof stands beneath, hatched: how much
    of it is lost is unknown.
    """
    _, points = _machine_and_points(connection, run)
    lost = [point for point in points if point["lost_ns"]]
    times = {name: sum(p["duration_ns"] for p in points if p["basis"] == basis) for basis, name in bars.BESIDE.items()}
    spec = bars.stacked(
        ((p["operator"] or p["short"], p["family"], round(p["lost_ns"])) for p in lost),
        beside={name: ns for name, ns in times.items() if ns},
    )
    return notebook_figure(spec)


def ledger(connection: Connection, run: str) -> go.Figure:
    """Draw both accounts of a run: how its device time was attributed, and how its bytes were priced."""
    (run_id,) = resolve(connection, [run])
    (name,) = connection.execute("SELECT name FROM runs WHERE run_id = ?", [run_id]).fetchone() or (run,)
    return notebook_figure(bars.accounts(queries.rows(connection, "ledger", runs=[run_id]), name))


def _time_by(connection: Connection, run: str, query: str, column: str) -> go.Figure:
    rows = _rows(connection, query, run)
    return notebook_figure(bars.stacked((r[column] or f"no {column}", r["family"], r["duration_ns"]) for r in rows))


def _rows(connection: Connection, query: str, run: str) -> list[queries.Row]:
    return queries.rows(connection, query, runs=resolve(connection, [run]))


def _machine_and_points(connection: Connection, run: str) -> tuple[Machine, list[queries.Row]]:
    machine = Machine.of("", _rows(connection, "ceilings", run))
    return machine, placed(_rows(connection, "kernel_shapes", run), machine.frame)


__all__ = ["bandwidth", "ledger", "roofline", "time_by_family", "time_by_module", "time_by_phase", "time_lost"]
