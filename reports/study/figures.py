"""The study's figures, E1 to E9 and what follows from them: a function a plot for notebooks, and what the page needs.

>>> import reports, warehouse
>>> connection = warehouse.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> ridgeline.reports.study.figures.latency(connection).show()  # doctest: +SKIP
>>> ridgeline.reports.study.figures.waterfall(connection, panel="dlm_block_dual · compile").show()  # doctest: +SKIP
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ridgeline.reports import queries
from ridgeline.reports.errors import ReportError
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.queries import Row
from ridgeline.reports.study import drawings as drawing
from ridgeline.reports.study import paper
from ridgeline.reports.study.drawings.series import Panel
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import duckdb
    import plotly.graph_objects as go

    Connection = duckdb.DuckDBPyConnection

Draw = Callable[[Sequence[Row], Sequence[Row]], list[Panel]]


@dataclass(frozen=True)
class Figure:
    """A figure of the study: its view (``figure_<key>``), what it says and does not, and what captures its data."""

    key: str
    number: str
    title: str
    caption: str
    config: str
    needs: str
    order: str

    @property
    def statement(self) -> str:
        """The SQL behind it, with ``$runs`` for the list of run ids."""
        return f"SELECT * FROM figure_{self.key}\nWHERE list_contains($runs, run_id)\nORDER BY {self.order}"


def _figures() -> tuple[Figure, ...]:
    described = tomllib.loads(Path(__file__).with_name("study.toml").read_text(encoding="utf-8"))
    return tuple(Figure(**figure) for figure in described["figures"])


FIGURES = _figures()


def rows(connection: Connection, figure: Figure, run_ids: Sequence[str]) -> list[Row]:
    """The rows of a figure's view for these runs, in the figure's order."""
    return queries.fetch(connection, figure.statement, runs=run_ids)


def drawings(connection: Connection, run_ids: Sequence[str]) -> dict[str, Draw]:
    """How each figure is drawn; the roofline knows the devices' ceilings."""
    machines = _machines(connection, run_ids)
    return {
        "e1_costs": drawing.costs,
        "e2_latency": drawing.latency,
        "e2_split": drawing.split,
        "e3_intensity": drawing.intensity,
        "e4_roofline": lambda rows, marks: drawing.roofline(rows, marks, machines),
        "e5_block_size": drawing.block_sizes,
        "e6_throughput": drawing.throughput,
        "e7_steps": drawing.steps,
        "e8_batch": drawing.batches,
        "e9_lengths": drawing.lengths,
        "gap": drawing.gap,
        "speedup": drawing.speedup,
        "energy": drawing.energy,
    }


def _machines(connection: Connection, run_ids: Sequence[str]) -> dict[str, Machine]:
    """Each device with the ceilings of all its runs."""
    found: dict[str, list[Row]] = {}
    devices = {
        row["run_id"]: row["device"]
        for row in queries.fetch(
            connection, "SELECT run_id, device FROM generations WHERE list_contains($runs, run_id)", runs=run_ids
        )
    }
    for row in queries.rows(connection, "ceilings", run_ids):
        if row["run_id"] in devices:
            found.setdefault(devices[row["run_id"]], []).append(row)
    return {device: Machine.of(device, own) for device, own in found.items()}


def latency(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E2: seconds of a generation against generated tokens.

    ``panel`` chooses among several (devices, lengths) by the beginning of its title. This and all functions here raise
    :class:`~ridgeline.reports.errors.ReportError` where the runs (all, if none is named) make no such figure.
    """
    return _figure(connection, "e2_latency", runs, panel)


def latency_split(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E2: seconds of a generation by part, kernels of each kind of step, sampling and host."""
    return _figure(connection, "e2_split", runs, panel)


def costs(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E1: intensity by closed form and by trace, in FLOP per byte."""
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
    """E6: tokens/s against the batch with what did not fit, and bytes of peak memory by part."""
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
    """Seconds of a run's mean step, from the ideal to the measured one; name the run, or its panel."""
    return _figure(connection, "gap", runs, panel)


def speedup(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """How many times faster than the naive mode blocks are, from the ideal to the measured."""
    return _figure(connection, "speedup", runs, panel)


def energy(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """Joules a committed token."""
    return _figure(connection, "energy", runs, panel)


def _figure(connection: Connection, key: str, runs: Sequence[str], panel: str) -> go.Figure:
    import plotly.graph_objects as go

    (figure,) = (one for one in FIGURES if one.key == key)
    run_ids = resolve(connection, runs)
    found = rows(connection, figure, run_ids)
    panels = drawings(connection, run_ids)[key](found, paper.marks(key, found)) if found else []
    if not panels:
        raise ReportError(f"{figure.title}: needs {figure.needs}: capture capture/configs/{figure.config}")
    chosen = next((one for one in panels if one.title.startswith(panel)), None)
    if chosen is None:
        raise ReportError(f"{panel}: no such panel, there are {', '.join(one.title for one in panels[:8])}")
    return go.Figure(
        {**chosen.spec, "layout": chosen.spec["layout"] | {"paper_bgcolor": "white", "plot_bgcolor": "white"}}
    )
