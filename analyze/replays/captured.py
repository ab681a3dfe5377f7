"""The graphs in the trace of their capture: while a stream is captured, one launch is one node.

A capture executes nothing, so its launches have no device activities. They stand between ``StreamBeginCapture`` and
``StreamEndCapture``, in several graphs where an engine captures a model in pieces. ROCm writes the kernel's name with
the launch, CUDA does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace

from ridgeline.analyze.attribution.attributed import attributed
from ridgeline.analyze.attribution.ranks import Mask
from ridgeline.analyze.attribution.spans import ROOT, Int64, take
from ridgeline.analyze.attribution.stacks import stack_rows
from ridgeline.analyze.companions.capture_folder import Batch, CaptureFile
from ridgeline.analyze.pricing.completed_signatures import assign
from ridgeline.analyze.reading.categories import DEVICE
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.trace import Trace, assemble
from ridgeline.analyze.replays.teaching import Annotated, Partners

COPY, FILL = DEVICE["gpu_memcpy"], DEVICE["gpu_memset"]
_NO_NODE = -1
# vLLM and SGLang write tokens (`capture_32_FULL`), ATOM requests (`capture_graph_bs_32`)
_BATCH = re.compile(r"capture_(?:graph_bs_(?P<requests>\d{1,9})|(?P<tokens>\d{1,9})_(?P<mode>\w+))")


class Graph(NamedTuple):
    """A captured graph: the positions of its launches among the activities of its capture, in order."""

    batch: Batch
    rows: Int64


class Capture(NamedTuple):
    """A capture trace, with its launches in the place of activities."""

    file: CaptureFile
    teacher: Annotated
    graphs: list[Graph]


def node_category(name: str) -> int:
    """Return the category of the activity that a launch of this name makes, -1 if it makes none.

    >>> node_category("cuLaunchKernelEx"), node_category("hipMemcpyWithStream"), node_category("cudaGraphLaunch")
    (0, 1, -1)
    """
    if "Memcpy" in name:
        return COPY
    if "Memset" in name:
        return FILL
    return 0 if "Launch" in name and ("Kernel" in name or "ByPtr" in name) else _NO_NODE


def captured_launches(trace: Trace) -> tuple[Mask, Int64]:
    """Return which launches became nodes of a graph, and the number of the graph that each launch belongs to.

    Nothing is captured where the device executed the launch. A trace without ``StreamBeginCapture`` is divided where a
    graph is instantiated or a launch was executed.
    """
    launches = trace.launches
    name, start_ns = launches["name"].to_numpy(), launches["start_ns"].to_numpy()
    executed = launches["correlation"].is_in(trace.device["correlation"].drop_nulls().unique().implode())
    is_node = take(np.array([node_category(name) for name in trace.names], dtype=np.int64), name) != _NO_NODE
    is_node &= ~executed.fill_null(value=False).to_numpy()
    begins, ends, made = (
        _starts(trace, launches, part) for part in ("StreamBeginCapture", "StreamEndCapture", "GraphInstantiate")
    )
    if len(begins):
        number = np.searchsorted(begins, start_ns, "right")
        return is_node & (number > np.searchsorted(ends, start_ns)), number
    cuts = np.sort(np.concatenate([made, start_ns[executed.fill_null(value=False).to_numpy()]]))
    return is_node, np.searchsorted(cuts, start_ns, "right")


def _starts(trace: Trace, launches: pl.DataFrame, part: str) -> Int64:
    """Return the starts of the calls with ``part`` in their names, in order."""
    codes = [code for code, name in enumerate(trace.names) if part in name]
    return launches.filter(pl.col("name").is_in(codes))["start_ns"].sort().to_numpy()


def launches_without_kernels(trace: Trace) -> int:
    """Return the number of captured launches of a trace that holds more of them than activities; else 0."""
    if not any("StreamBeginCapture" in name for name in trace.names):
        return 0
    count = int(captured_launches(trace)[0].sum())
    return count if count > len(trace.device) else 0


def read_capture(parts: Sequence[Columns], file: CaptureFile) -> Capture:
    """Return a decoded capture trace with its graphs; its activities have no signatures yet.

    Raises :class:`TraceError`.
    """
    trace = assemble(parts, file.path)
    is_node, number = captured_launches(trace)
    name = trace.launches["name"].to_numpy()
    # each launch is its own activity, whatever ids the writer gave
    ids = pl.Series(np.arange(len(name)), dtype=pl.Int64)
    trace.launches = trace.launches.with_columns(correlation=ids)
    if "kernel" not in trace.launches.columns:
        trace.launches = trace.launches.with_columns(kernel=pl.lit(ROOT, dtype=pl.Int32))
    categories = np.array([node_category(name) for name in trace.names], dtype=np.int64)
    nodes = trace.launches.with_columns(
        name=pl.when(pl.col("kernel") >= 0).then("kernel").otherwise("name"),
        category=pl.Series(take(categories, name)),
        device=pl.lit(0, dtype=pl.Int64),
    )
    # what only a device knows is unknown
    absent = {name: pl.lit(None, dtype=kind) for name, kind in trace.device.schema.items() if name not in nodes.columns}
    trace.device = nodes.with_columns(**absent).filter(pl.Series(is_node)).select(trace.device.columns)
    found = attributed(trace)
    stack_ids, stacks = stack_rows(trace, found.origins)
    activities = found.activities.with_columns(stack_ids)
    trace.frames = trace.frames.clear()
    teacher = Annotated(trace, activities, {}, found.parents, found.modules, stacks)
    # of nested calls that make a node, such as a driver's inside a runtime's, the outer one counts
    tree = found.tree
    nodes_of = np.zeros(len(tree.parent), dtype=bool)
    nodes_of[tree.launch_spans] = is_node
    around = tree.parent[tree.launch_spans]
    is_inner = nodes_of[around] & (around != ROOT)
    launch = activities["launch"].cast(pl.Int64).to_numpy()
    at = np.flatnonzero(~is_inner[launch])
    graphs = _graphs(trace, launch[at], at, number)
    return Capture(file, teacher, [Graph(_merged(graph.batch, file.batch), graph.rows) for graph in graphs])


def _graphs(trace: Trace, launch: Int64, at: Int64, number: Int64) -> list[Graph]:
    """Return the graphs of the launches at positions ``at``, in order, with the batch that an annotation names."""
    order = np.lexsort((launch, trace.launches["start_ns"].to_numpy()[launch]))
    launch, at = launch[order], at[order]
    cuts = np.flatnonzero(np.diff(number[launch])) + 1
    start_ns = trace.launches["start_ns"].to_numpy()[launch]
    starts = start_ns[np.concatenate([np.zeros(min(len(at), 1), dtype=np.int64), cuts])].tolist()
    groups = np.split(at, cuts) if len(at) else []
    named = [
        (
            start_ns,
            start_ns + duration_ns,
            Batch(_number(match["requests"]), _number(match["tokens"]), match["mode"]),
        )
        for name, start_ns, duration_ns in trace.annotations.select("name", "start_ns", "duration_ns").iter_rows()
        if (match := _BATCH.fullmatch(trace.names[name]))
    ]
    return [Graph(_batch_at(start, named), rows) for start, rows in zip(starts, groups, strict=True)]


def _merged(annotated: Batch, named: Batch) -> Batch:
    """Return what a graph's annotation and the name of its file say of its batch."""
    return Batch(
        annotated.requests if named.requests is None else named.requests,
        named.tokens if annotated.tokens is None else annotated.tokens,
        annotated.mode or named.mode,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _batch_at(at_ns: int, named: Iterable[tuple[int, int, Batch]]) -> Batch:
    """Return the batch of the last annotation around a moment."""
    around = [(start_ns, batch) for start_ns, end_ns, batch in named if start_ns <= at_ns <= end_ns]
    return max(around)[1] if around else Batch()


def named_by(capture: Capture, run: Annotated, pairs: Partners) -> Annotated:
    """Return the capture's launches with the names and categories of the run's activities, their partners.

    A launch of CUDA has no name of its own. Of several partners the last counts, since replays repeat their kernels.
    """
    teacher = capture.teacher
    columns = {column: teacher.activities[column].to_numpy().astype(np.int64) for column in ("name", "category")}
    columns["name"][pairs.partners] = run.activities["name"].to_numpy()[pairs.rows] + len(teacher.trace.names)
    columns["category"][pairs.partners] = run.activities["category"].to_numpy()[pairs.rows]
    trace = replace(teacher.trace, names=teacher.trace.names + run.trace.names)
    activities = teacher.activities.with_columns(pl.Series(column, values) for column, values in columns.items())
    return replace(teacher, trace=trace, activities=assign(trace, activities))
