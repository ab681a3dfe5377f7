"""The figures of the study: the entries of ``study.toml``, how each is queried, and how it is drawn."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ridgeline.reports import queries
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.queries import Connection, Row
from ridgeline.reports.study.drawings import parity, run_bars, speedup, step_roofline, throughput, trends, waterfall
from ridgeline.reports.study.drawings.panels import Draw


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
    # A run that Ridgeline did not capture is in no figure, so its ceilings are not needed.
    device_of = {row["run_id"]: row["device"] for row in queries.rows(connection, "captured_runs", runs=run_ids)}
    ceilings = queries.rows(connection, "ceilings", runs=list(device_of))
    own = queries.by_column((row | {"device": device_of[row["run_id"]]} for row in ceilings), "device")
    machines = {device: Machine.of(device, rows) for device, rows in own.items()}
    return {
        "e1_costs": parity.costs,
        "e2_latency": trends.latency,
        "e2_split": run_bars.split,
        "e3_intensity": trends.intensity,
        "e4_roofline": partial(step_roofline.roofline, machines=machines),
        "e5_block_size": trends.block_sizes,
        "e6_throughput": throughput.throughput,
        "e7_steps": trends.steps,
        "e8_batch": trends.batches,
        "e9_lengths": trends.lengths,
        "gap": waterfall.gap,
        "speedup": speedup.speedup,
        "energy": run_bars.energy,
    }
