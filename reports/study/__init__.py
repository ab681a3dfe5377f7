"""Figures of the study, E1 to E9 and their consequences, one function a figure for notebooks.

>>> from ridgeline import connect
>>> from ridgeline.reports import study
>>> connection = connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> study.latency(connection).show()  # doctest: +SKIP
>>> study.waterfall(connection, panel="dlm_block_dual · llada-8b · cuda_graph").show()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ridgeline.reports.errors import ReportError
from ridgeline.reports.figures import notebook
from ridgeline.reports.queries import Connection
from ridgeline.reports.study import figures, paper
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import plotly.graph_objects as go


def latency(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E2: seconds of a generation against generated tokens.

    ``runs`` are names, ids, prefixes, patterns or ``experiment:NAME``, all if empty. A figure of several devices or
    lengths has a panel for each; ``panel`` is the beginning of a title. This function and all below raise
    :class:`~ridgeline.reports.errors.ReportError` if the runs do not make the figure.
    """
    return _figure(connection, "e2_latency", runs, panel)


def latency_split(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E2: seconds of a generation by part: kernels of each kind of step, sampling and host."""
    return _figure(connection, "e2_split", runs, panel)


def costs(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E1: intensity of traced kernels against intensity by closed form, in FLOP per byte."""
    return _figure(connection, "e1_costs", runs, panel)


def intensity(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E3: FLOP per byte against the attended length."""
    return _figure(connection, "e3_intensity", runs, panel)


def roofline(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E4: FLOP/s of every kind of step against FLOP per byte, under the device's roofs."""
    return _figure(connection, "e4_roofline", runs, panel)


def block_size(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E5: seconds of a generation and FLOP per byte against the block size."""
    return _figure(connection, "e5_block_size", runs, panel)


def throughput(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E6: tokens/s and bytes of peak memory against the batch, with the first batch that ran out of memory."""
    return _figure(connection, "e6_throughput", runs, panel)


def steps(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E7: seconds of a generation and tokens/s against the number of steps."""
    return _figure(connection, "e7_steps", runs, panel)


def batch_intensity(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E8: FLOP per byte against the batch."""
    return _figure(connection, "e8_batch", runs, panel)


def lengths(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E9: seconds of a step against the attended length."""
    return _figure(connection, "e9_lengths", runs, panel)


def waterfall(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """Seconds of a run's mean step, from the ideal step to the measured one; choose the run or its panel."""
    return _figure(connection, "gap", runs, panel)


def speedup(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """Speed-up of block modes over the naive mode, from the ideal to the measured one."""
    return _figure(connection, "speedup", runs, panel)


def energy(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """Joules per committed token."""
    return _figure(connection, "energy", runs, panel)


def _figure(connection: Connection, key: str, runs: Sequence[str], panel: str) -> go.Figure:
    (figure,) = (figure for figure in figures.FIGURES if figure.key == key)
    run_ids = resolve(connection, runs)
    rows = figures.rows(connection, figure, run_ids)
    panels = figures.draw_functions(connection, run_ids)[key](rows, paper.marks(key, rows)) if rows else []
    if not panels:
        raise ReportError(f"{figure.title}: needs {figure.needs}: capture capture/configs/{figure.config}")
    chosen = next((one for one in panels if one.title.startswith(panel)), None)
    if chosen is None:
        titles = ", ".join(one.title for one in panels[:8])
        raise ReportError(f"{panel}: no such panel, there are {titles}")
    title = figure.title + (f": {chosen.title}" if chosen.title else "")
    drawn = notebook.selected(connection, list(dict.fromkeys(row["run_id"] for row in rows)))
    lines = [chosen.says, *chosen.notes, notebook.source(drawn, f"view figure_{key}")]
    return notebook.figure(chosen.spec, title, lines)
