"""The study's figures, E1 to E9 and what follows from them: a function a plot for notebooks, and what the page needs.

>>> import reports, warehouse
>>> connection = warehouse.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> reports.study.latency(connection).show()  # doctest: +SKIP
>>> reports.study.waterfall(connection, panel="dlm_block_dual · compile").show()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import paper, queries
from reports.errors import ReportError
from reports.figures import study as drawing
from reports.figures.series import Panel
from reports.machine import Machine
from reports.queries import Row
from reports.selection import resolve

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


FIGURES = (
    Figure(
        "e1_costs",
        "E1",
        "Closed forms against traces",
        "Intensity of each kind of step, by the paper's closed forms across and by the traced kernels' FLOPs and DRAM bytes up. "
        "Above the line, kernels move less than the closed form counts (what is fused, what the L2 keeps); below it, more. "
        "It says nothing of time.",
        "e3-intensity.toml",
        "runs with closed forms and priced kernels",
        "run_id, convention, kind, context, query, component",
    ),
    Figure(
        "e2_latency",
        "E2",
        "Latency against length",
        "Unprofiled time of a whole generation, the median over its repeats, with the least and the most. Lines join runs that "
        "differ in length alone. Time to first token is within it; weights are random, so quality is no part of it.",
        "e2-latency.toml",
        "one setting at two lengths",
        "model, mode, execution, generated_tokens, run_id",
    ),
    Figure(
        "e2_split",
        "E2",
        "Where the latency goes",
        "The repeat with the (lower) median latency, its parts summing to it. Kernels take, for each kind of step, what the "
        "traced steps of the kind were busy for, times the steps of that kind; sampling is what kernels labelled so take; host "
        "is the unprofiled time that remains. Whiskers span the repeats. Steps of other lengths than the traced ones are taken "
        "to be like them.",
        "e2-latency.toml",
        "unprofiled timings",
        "model, mode, execution, run_id, part",
    ),
    Figure(
        "e3_intensity",
        "E3",
        "Intensity against length",
        "FLOPs of a step over its DRAM bytes, by the best source each kernel has (hover: which). The thin line beside each is the "
        "corrected closed form over all steps of its kind. Intensity is a property of the work, not of how fast it is done.",
        "e3-intensity.toml",
        "one setting at two lengths",
        "model, mode, kind, block, length, run_id",
    ),
    Figure(
        "e4_roofline",
        "E4",
        "Every kind of step on the roofline",
        "FLOPs of a traced step over the unprofiled time of such a step, against its intensity; area is that time. The distance "
        "to the roof is all that is lost, the host's part included. Kernels one by one are in the report.",
        "e4-roofline.toml",
        "steps that were timed and priced",
        "model, mode, kind, execution, run_id",
    ),
    Figure(
        "e5_block_size",
        "E5",
        "Block size",
        "Latency of a generation, and the intensity of a step within a block, against the block size; the thin line is the "
        "closed form. With one token a step the number of steps is the same for every block size, and only refreshes become fewer.",
        "e5-block-size.toml",
        "one setting with two block sizes",
        "model, mode, execution, block, run_id",
    ),
    Figure(
        "e6_throughput",
        "E6",
        "Throughput against batch, and where memory ends",
        "Committed tokens a second over whole generations, prompt tokens not counted. A cross is the first batch that ran out of "
        "memory, at the height of the last that fit: its place across is the boundary, its height no measurement. Beneath, peak "
        "memory by part, outlined in the series' colour. The naive mode is captured with eight steps: at one token a step it "
        "makes an eighth of the tokens a second.",
        "e6-throughput.toml",
        "one setting at two batches",
        "model, mode, execution, batch, run_id",
    ),
    Figure(
        "e7_steps",
        "E7",
        "Step reduction",
        "Latency and throughput against the number of steps of a generation; level lines are AR, which has no such choice. What "
        "fewer steps cost in accuracy is not here: weights are random. The paper's loss is in the table.",
        "e7-steps.toml",
        "one setting with two numbers of steps",
        "model, mode, execution, batch, steps, run_id",
    ),
    Figure(
        "e8_batch",
        "E8",
        "Intensity against batch",
        "As in E3, against the batch: weights are read once for all sequences, each sequence's cache for itself.",
        "e8-batch.toml",
        "one setting at two batches",
        "model, mode, kind, block, batch, run_id",
    ),
    Figure(
        "e9_lengths",
        "E9",
        "What lengths cost",
        "Unprofiled time of a step, the median over repeats of their medians, against the positions it attends to: a prefill by "
        "its prompt, a decoding step by its mean position, a diffusion step by its sequence. The thin line is the least time at "
        "the device's roofs.",
        "e9-lengths.toml",
        "one setting at two lengths",
        "model, mode, kind, execution, length, run_id",
    ),
    Figure(
        "gap",
        "Gap",
        "From the ideal step to the measured one",
        "A generation over its number of steps, as a waterfall whose bars sum to the measured step. Ideal is the least time of the "
        "most frequent kind of step by closed form at the device's roofs; then what other kinds of steps add, what kernels do "
        "beyond the closed form, what they take beyond their roofs by family, and what no kernel accounts for. Kernel times are "
        "profiled, the measured step is not: what the profiler adds to kernels makes the last bar shorter.",
        "modes-8b.toml",
        "steps with closed forms, roofs and a trace on a device",
        "run_id, place",
    ),
    Figure(
        "speedup",
        "Gap",
        "What is left of the ideal speed-up",
        "The naive mode's latency over that of blocks with a cache, stage by stage of the waterfalls above. Each pair shares "
        "device, model, lengths, batch, steps and execution. It falls where blocks pay more than the naive mode does for the "
        "same thing.",
        "modes-8b.toml",
        "a naive run and one of blocks, alike in all else",
        "mode, execution, run_id, stage",
    ),
    Figure(
        "energy",
        "Energy",
        "Energy of a token",
        "The mean power during the unprofiled generations, over at least a second of telemetry, times the latency of one, over the "
        "tokens it commits. The whole card is meant, its idle draw included; the host is not.",
        "modes-8b.toml",
        "a second of telemetry at least",
        "model, mode, execution, run_id",
    ),
)


def rows(connection: Connection, figure: Figure, run_ids: Sequence[str]) -> list[Row]:
    """The rows of a figure's view for these runs, in the figure's order."""
    return queries.fetch(connection, figure.statement, run_ids)


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
            connection, "SELECT run_id, device FROM generations WHERE list_contains($runs, run_id)", run_ids
        )
    }
    for row in queries.rows(connection, "ceilings", run_ids):
        if row["run_id"] in devices:
            found.setdefault(devices[row["run_id"]], []).append(row)
    return {device: Machine.of(device, own) for device, own in found.items()}


def latency(connection: Connection, runs: Sequence[str] = (), panel: str = "") -> go.Figure:
    """E2: seconds of a generation against generated tokens.

    ``panel`` chooses among several (devices, lengths) by the beginning of its title. This and all functions here raise
    :class:`~reports.errors.ReportError` where the runs (all, if none is named) make no such figure.
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
    panels = drawings(connection, run_ids)[key](rows(connection, figure, run_ids), paper.values(key))
    if not panels:
        raise ReportError(f"{figure.title}: needs {figure.needs}: capture capture/configs/{figure.config}")
    chosen = next((one for one in panels if one.title.startswith(panel)), None)
    if chosen is None:
        raise ReportError(f"{panel}: no such panel, there are {', '.join(one.title for one in panels[:8])}")
    return go.Figure({**chosen.spec, "layout": chosen.spec["layout"] | {"paper_bgcolor": "white", "plot_bgcolor": "white"}})
