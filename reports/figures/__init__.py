"""One function a figure, each returning a ``plotly.graph_objects.Figure`` for notebooks.

Every function takes a connection to a warehouse or a lake, and one run or several: a name, an id, a unique prefix, a
pattern of names (``'tiny*'``), ``experiment:NAME``, or a list of these. A figure has a title with its runs and device,
a legend in which a click hides a family, and a line with its source. Each function raises
:class:`~ridgeline.warehouse.errors.SelectionError` if a run is unknown or ambiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ridgeline.reports import queries
from ridgeline.reports.figures import bars, marks, notebook, roofs
from ridgeline.reports.figures.layout import Spec
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.figures.notebook import Run, selected
from ridgeline.reports.figures.placement import placed
from ridgeline.reports.names import clip, escape
from ridgeline.reports.queries import Connection, Row

if TYPE_CHECKING:
    import plotly.graph_objects as go

Runs = str | Sequence[str]

# With several runs the symbol is the run's, with one it is the family's. Each with the character that shows it in text.
SYMBOLS = {"circle": "●", "diamond": "◆", "square": "■", "cross": "✚", "star": "★", "hexagon": "⬢", "pentagon": "⬟"}


def roofline(connection: Connection, runs: Runs) -> go.Figure:
    """Draw every kernel and shape of a run, or of several, under the roofs of their device.

    Of several runs with ceilings of their own, each roof is the highest, as the figure says.

    >>> import ridgeline
    >>> connection = ridgeline.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
    >>> ridgeline.roofline(connection, "dlm_full").show()  # doctest: +SKIP
    >>> ridgeline.roofline(connection, ["ar", "dlm_*"]).write_html("roofline.html")  # doctest: +SKIP
    """
    chosen = selected(connection, runs)
    machine, points, source = _machine_and_points(connection, chosen)
    # Compute roofs of units and precisions that no run uses would only clutter the figure.
    used = {(point["unit"], point["precision"]) for point in points if point["place"] == "roofline"}
    spec = roofs.skeleton(machine, used, marks.discs(points))
    spec["data"] += _marks(points, chosen, "roofline")
    spec["layout"]["annotations"] += marks.badges(points)
    spec["layout"]["width"] = roofs.WIDTH  # labels along roofs have the angle of this width
    return notebook.figure(spec, notebook.title("Roofline", chosen), [source], "below")


def bandwidth(connection: Connection, runs: Runs) -> go.Figure:
    """Draw kernels without FLOPs by the DRAM bandwidth that they reach."""
    chosen = selected(connection, runs)
    machine, points, source = _machine_and_points(connection, chosen)
    traces = _marks(points, chosen, "lane")
    spec = roofs.lane(machine, list(dict.fromkeys(trace["name"] for trace in traces)))
    spec["data"] += traces
    spec["layout"]["annotations"] += marks.badges(points, "lane")
    title = notebook.title("Kernels without FLOPs by DRAM bandwidth", chosen)
    return notebook.figure(spec, title, [source], "below")


def time_by_family(connection: Connection, runs: Runs) -> go.Figure:
    """Draw device time by operator family: a bar each, or of several runs a bar a run."""
    return _time_by(connection, runs, "kernel_shapes", "family")


def time_by_phase(connection: Connection, runs: Runs) -> go.Figure:
    """Draw device time by phase, stacked by family."""
    return _time_by(connection, runs, "kernel_shapes", "phase")


def time_by_module(connection: Connection, runs: Runs) -> go.Figure:
    """Draw device time by module, the layers of a model summed, stacked by family."""
    return _time_by(connection, runs, "modules", "module")


def time_lost(connection: Connection, runs: Runs) -> go.Figure:
    """Draw the time beyond the roof by operator; kernels without an operator by their own name.

    The time of guessed prices, of communication and without a known roof stands beneath, hatched: how much
    of it is lost is unknown.
    """
    chosen = selected(connection, runs)
    _, points, source = _machine_and_points(connection, chosen)
    lost = [point for point in points if point["lost_ns"]]
    times = {name: sum(p["duration_ns"] for p in points if p["basis"] == basis) for basis, name in bars.BESIDE.items()}
    spec = bars.stacked(
        ((_named(p["operator"] or p["short"], p, chosen), p["family"], round(p["lost_ns"])) for p in lost),
        beside={name: ns for name, ns in times.items() if ns},
    )
    return _bars(spec, "Device time beyond the roof", chosen, source, "device time beyond the roof")


def ledger(connection: Connection, runs: Runs) -> go.Figure:
    """Draw both accounts of each run: how its device time was attributed, and how its bytes were priced."""
    chosen = selected(connection, runs)
    names = {run.run_id: run.name for run in chosen}
    rows = queries.rows(connection, "ledger", runs=list(names))
    return _bars(bars.accounts(rows, names), "Ledger", chosen, notebook.source(chosen))


def _time_by(connection: Connection, runs: Runs, query: str, column: str) -> go.Figure:
    chosen = selected(connection, runs)
    rows = queries.rows(connection, query, runs=[run.run_id for run in chosen])
    if column == "family" and len(chosen) > 1:
        names = {run.run_id: run.name for run in chosen}
        spec = bars.stacked((names[row["run_id"]], row["family"], row["duration_ns"]) for row in rows)
    else:
        labels = [_named(row[column] or f"no {column}", row, chosen) for row in rows]
        spec = bars.stacked((label, row["family"], row["duration_ns"]) for label, row in zip(labels, rows, strict=True))
    return _bars(spec, f"Device time by {column}", chosen, notebook.source(chosen))


def _named(label: str, row: Row, chosen: Sequence[Run]) -> str:
    """Return the label of a row, with its run if there are several."""
    return label if len(chosen) == 1 else f"{label} · {next(run.name for run in chosen if run.run_id == row['run_id'])}"


def _bars(spec: Spec, what: str, chosen: Sequence[Run], source: str, axis: str = "device time") -> go.Figure:
    spec["layout"]["xaxis"]["title"]["text"] = axis
    return notebook.figure(spec, notebook.title(what, chosen), [source], "right")


def _machine_and_points(connection: Connection, chosen: Sequence[Run]) -> tuple[Machine, list[Row], str]:
    """Return the roofs and the points of the runs, and the source of their numbers."""
    run_ids = [run.run_id for run in chosen]
    ceilings = queries.rows(connection, "ceilings", runs=run_ids)
    machine = Machine.of("", ceilings)
    points = placed(queries.rows(connection, "kernel_shapes", runs=run_ids), machine.frame)
    sources = ", ".join(dict.fromkeys(roof.source for roof in machine.roofs))
    roofs_from = f"roofs: {sources or 'none known, ridgeline ceilings measures them'}"
    roofs_from += f", the highest of {len(chosen)} runs" if len(chosen) > 1 and sources else ""
    return machine, points, notebook.source(chosen, notebook.byte_sources(points), roofs_from)


def _marks(points: Sequence[Row], chosen: Sequence[Run], place: str) -> list[Spec]:
    """Return the traces of the points at a place: one a family, in a group a run if there are several."""
    if len(chosen) == 1:
        return marks.traces(points, place)
    drawn: list[Spec] = []
    largest = max((point["duration_ns"] for point in points if point["place"] == place), default=1)
    for i, run in enumerate(chosen):
        for trace in marks.traces([point for point in points if point["run_id"] == run.run_id], place):
            marker, own = trace["marker"], list(SYMBOLS)[i % len(SYMBOLS)]
            marker["sizeref"] = 2 * largest / marks.LARGEST[place] ** 2  # one scale for all runs
            marker["symbol"] = [symbol if symbol.startswith("triangle") else own for symbol in marker["symbol"]]
            trace["text"] = [f"{escape(run.name)}<br>{text}" for text in trace["text"]]
            text = f"{SYMBOLS[own]} {escape(clip(run.name, 56))}"
            trace |= {"legendgroup": run.run_id, "legendgrouptitle": {"text": text, "font": {"size": 12}}}
            drawn.append(trace)
    return drawn


__all__ = ["bandwidth", "ledger", "roofline", "time_by_family", "time_by_module", "time_by_phase", "time_lost"]
