"""The figures of the study: how each is queried and drawn, and one function a figure for notebooks."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ridgeline.reports import queries
from ridgeline.reports.errors import ReportError
from ridgeline.reports.figures.layout import notebook_figure
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.queries import Row
from ridgeline.reports.study import drawings, paper
from ridgeline.reports.study.drawings.panels import Panel
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import duckdb
    import plotly.graph_objects as go

    Connection = duckdb.DuckDBPyConnection

# From rows of a figure's view and entries of paper.toml to panels.
Draw = Callable[[Sequence[Row], Sequence[Row]], list[Panel]]


@dataclass(frozen=True)
class Figure:
    """An entry of ``study.toml``: a figure of the view ``figure_<key>``."""

    key: str
    number: str
    title: str
    caption: str
    config: str
    needs: str
    order: str

    @property
    def statement(self) -> str:
        """The figure's SQL, with ``$runs`` for the list of run ids."""
        template = queries.text("study_figure").strip()
        return template.replace("$view", f"figure_{self.key}").replace("$order", self.order)


FIGURES = tuple(
    Figure(**entry)
    for entry in tomllib.loads(Path(__file__).with_name("study.toml").read_text(encoding="utf-8"))["figures"]
)


def rows(connection: Connection, figure: Figure, run_ids: Sequence[str]) -> list[Row]:
    """Return the rows of a figure's view for these runs, in the figure's order."""
    return queries.fetch(connection, figure.statement, runs=run_ids)


def draw_functions(connection: Connection, run_ids: Sequence[str]) -> dict[str, Draw]:
    """Return the function that draws each figure, by key; the roofline's holds the ceilings of the runs' devices."""
    device_of = {row["run_id"]: row["device"] for row in queries.rows(connection, "captured_runs", runs=run_ids)}
    ceilings: dict[str, list[Row]] = {}
    for row in queries.rows(connection, "ceilings", runs=run_ids):
        if row["run_id"] in device_of:
            ceilings.setdefault(device_of[row["run_id"]], []).append(row)
    machines = {device: Machine.of(device, own) for device, own in ceilings.items()}
    return {
        "e1_costs": drawings.costs,
        "e2_latency": drawings.latency,
        "e2_split": drawings.split,
        "e3_intensity": drawings.intensity,
        "e4_roofline": partial(drawings.roofline, machines=machines),
        "e5_block_size": drawings.block_sizes,
        "e6_throughput": drawings.throughput,
        "e7_steps": drawings.steps,
        "e8_batch": drawings.batches,
        "e9_lengths": drawings.lengths,
        "gap": drawings.gap,
        "speedup": drawings.speedup,
        "energy": drawings.energy,
    }


def latency(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E2: seconds of a generation against generated tokens.

    ``runs`` are names, ids or prefixes, all if empty. A figure of several devices or lengths has a panel for each;
    ``panel`` is the beginning of a title. This function and all below raise
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
    (figure,) = (figure for figure in FIGURES if figure.key == key)
    run_ids = resolve(connection, runs)
    stored = rows(connection, figure, run_ids)
    panels = draw_functions(connection, run_ids)[key](stored, paper.marks(key, stored)) if stored else []
    if not panels:
        raise ReportError(f"{figure.title}: needs {figure.needs}: capture capture/configs/{figure.config}")
    chosen = next((one for one in panels if one.title.startswith(panel)), None)
    if chosen is None:
        titles = ", ".join(one.title for one in panels[:8])
        raise ReportError(f"{panel}: no such panel, there are {titles}")
    return notebook_figure(chosen.spec)
