"""Attribution: the operator and step of every device activity, by two joins and one tree of spans.

The tree nests the operators, annotations and launches of every thread. The first join takes the operator that the
activity's ``External id`` names. The second takes the innermost operator around the activity's launch, where the id is
missing or its operator was not running at the launch (old writers put the correlation id there). Labels come from the
annotations around the launch; a step holds for all threads (:mod:`ridgeline.analyze.attribution.steps`).
"""

from __future__ import annotations

import re

import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.durations import with_true_durations
from ridgeline.analyze.attribution.id_lookup import match_first
from ridgeline.analyze.attribution.labels import NOTHING, Label, parse
from ridgeline.analyze.attribution.launches import launched
from ridgeline.analyze.attribution.ranks import Mask, Processes, processes, running
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, Integers, enclosing, nearest, take
from ridgeline.analyze.attribution.steps import complete_labels, open_windows, repeats
from ridgeline.analyze.reading.categories import DEVICE_CATEGORIES
from ridgeline.analyze.reading.trace import Trace

CATEGORIES = ("kernel", "memcpy", "memset", "profiler_range", "operator")
"""The categories of activities; the first four in the order of the trace's own categories."""
_LEARNED = ("graph_capture", "graph_node", "graph_twin")
_ATTRIBUTION = pl.Enum(
    ["before_recording", "cpu", "external_id", *_LEARNED, "launch", "profiler_range", "unattributed"]
)
_RANGE = DEVICE_CATEGORIES.index("cuda_profiler_range")
_ANNOTATION, _OPERATOR, _LAUNCH = range(3)


class Tree(msgspec.Struct):
    """All host spans of a trace: annotations, then operators, then launches. ``parent`` is the span around each."""

    offset: dict[int, int]
    parent: Int32
    operator: Int32
    """Row in ``trace.operators`` of the nearest operator at or around each span."""
    step: Int32
    """Row in ``trace.annotations`` of the nearest step label; ``module`` likewise."""
    module: Int32

    @property
    def operator_spans(self) -> slice:
        """The spans of the operators, in the order of their rows."""
        return slice(self.offset[_OPERATOR], self.offset[_LAUNCH])

    @property
    def launch_spans(self) -> slice:
        """The spans of the launches, in the order of their rows."""
        return slice(self.offset[_LAUNCH], len(self.parent))

    def operator_parent(self) -> Int32:
        """For each operator the row of the operator around it, or ``ROOT``."""
        return take(self.operator, self.parent[self.operator_spans])


def build_tree(trace: Trace, labels: list[Label]) -> Tree:
    """The tree of all host spans, with the operator, step label and module label around each span."""
    groups = (trace.annotations, trace.operators, trace.launches)
    sizes = [len(group) for group in groups]
    offset = {kind: sum(sizes[:kind]) for kind in range(3)}
    columns = ("thread", "start_ns", "duration_ns")
    thread, start_ns, end_ns = (np.concatenate([group[name].to_numpy() for group in groups]) for name in columns)
    end_ns += start_ns
    # Of equal spans an annotation encloses an operator, and an operator a launch.
    rank = np.repeat(np.arange(3, dtype=np.int8), sizes)
    parent = enclosing(thread, start_ns, end_ns, rank)
    del thread, start_ns, end_ns  # tens of bytes for each of millions of spans
    label_of = [labels[code] for code in trace.annotations["name"].to_list()]
    steps, modules = np.zeros(len(rank), dtype=bool), np.zeros(len(rank), dtype=bool)
    steps[: sizes[0]] = [label.marks_step for label in label_of]
    modules[: sizes[0]] = [label.module is not None for label in label_of]
    operator = nearest(parent, rank == _OPERATOR)
    operator[operator != ROOT] -= offset[_OPERATOR]
    step = nearest(parent, steps)
    around = np.where(steps[: sizes[0]], take(step, parent[: sizes[0]]), np.int32(ROOT))
    repeated = repeats(trace.annotations["name"].to_numpy(), around, labels)
    if repeated.any():
        steps[: sizes[0]] &= ~repeated
        step = nearest(parent, steps)
    return Tree(offset, parent, operator, step, nearest(parent, modules))


def parse_labels(trace: Trace, step: re.Pattern[str] | None = None) -> list[Label]:
    """A label for each name code: parsed where an annotation uses the name, empty otherwise.

    ``step`` is the pattern of ``--step``.
    """
    used = set(trace.annotations["name"].to_list())
    return [parse(name, step) if code in used else NOTHING for code, name in enumerate(trace.names)]


def step_labels(trace: Trace, tree: Tree, labels: list[Label]) -> dict[int, Label]:
    """The complete label of each annotation that marks a step, by its row in ``trace.annotations``."""
    around = take(tree.step, tree.parent[: len(trace.annotations)])
    complete = complete_labels(trace, around, processes(trace), labels)
    return {row: label for row, label in complete.items() if tree.step[row] == row}


def steps_of(trace: Trace, tree: Tree, hosts: Processes, span: Int32, process: Int64) -> Int32:
    """The step label of each span: the innermost around it on its thread, else the innermost of its process then."""
    step = take(tree.step, span)
    rows = np.arange(len(trace.annotations), dtype=np.int32)
    is_window = tree.step[: len(rows)] == rows
    elsewhere = np.flatnonzero((step == ROOT) & (span != ROOT))
    if is_window.any() and len(elsewhere):
        at_ns = span_column(trace, tree, span[elsewhere], "start_ns")
        step[elsewhere] = open_windows(trace, is_window, hosts, process[elsewhere], at_ns)
    return step


def span_column(trace: Trace, tree: Tree, span: Int32, column: str) -> Int64:
    """A column of ``trace.launches`` and ``trace.operators`` for spans of both, ``ROOT`` where there is no span."""
    of_launch = take(trace.launches[column].to_numpy(), np.maximum(span - np.int32(tree.offset[_LAUNCH]), ROOT))
    in_operators = (span >= tree.offset[_OPERATOR]) & (span < tree.offset[_LAUNCH])
    at = np.where(in_operators, span - np.int32(tree.offset[_OPERATOR]), np.int32(ROOT))
    return np.where(in_operators, take(trace.operators[column].to_numpy(), at), of_launch)


def attribute(trace: Trace, tree: Tree) -> pl.DataFrame:
    """One row per device activity, sorted by start: the columns of ``trace.device``, its ``row`` there, and

    ``operator`` (row in ``trace.operators``), ``step_label`` (row in ``trace.annotations``), ``launch`` (row in
    ``trace.launches``), ``launch_ns`` and ``span`` (launch or operator in the tree), all null where unknown;
    ``attribution``; ``doubt``, why
    the launch may be wrong (one of ``DOUBTS``); ``replay``, true for a graph's activities; ``carries_cost``, true where
    the activity bears its operator's cost; ``rank`` and ``device_index``. ``device`` numbers the devices of all ranks.
    ``recorded_ns`` is there if durations cannot be true (:mod:`ridgeline.analyze.attribution.durations`). Counter
    ranges are activities only in a trace without kernels.
    """
    device = trace.device.drop("thread").with_row_index("row")
    if (device["category"] != _RANGE).any():
        device = device.filter(pl.col("category") != _RANGE)
    device = device.sort("start_ns", "device", "stream", "row")
    hosts = processes(trace)
    launch, process, doubt = launched(trace, device, hosts)
    device, by_id = _by_process(trace, device, hosts, process)

    launch_span = np.where(launch == ROOT, launch, launch + np.int32(tree.offset[_LAUNCH]))
    launch_ns = take(trace.launches["start_ns"].to_numpy(), launch)
    # The operator around a graph launch, such as a compiled region, is not the operator of the graph's kernels, also
    # where their ids name it.
    replay = _replays(trace, tree, device, launch, by_id)
    around_launch = take(tree.operator, launch_span)
    around_launch[replay] = ROOT

    # An id is right if its operator was running at the launch, on that thread or on a thread without operators.
    operator_thread = take(trace.operators["thread"].to_numpy(), by_id)
    same_thread = operator_thread == take(trace.launches["thread"].to_numpy(), launch)
    ran = running(trace.operators, by_id, launch_ns) & (same_thread | (around_launch == ROOT))
    trusted = (by_id != ROOT) & ((launch == ROOT) | ran) & ~replay
    operator = np.where(trusted, by_id, around_launch)
    id_span = np.where(by_id != ROOT, by_id + np.int32(tree.offset[_OPERATOR]), np.int32(ROOT))
    span = np.where(launch_span != ROOT, launch_span, id_span)

    # the first condition that holds
    conditions = {
        "profiler_range": device["category"].to_numpy() == _RANGE,
        "external_id": trusted,
        "launch": around_launch != ROOT,
        "before_recording": _before_recording(
            # ids of several processes are not in one order
            device,
            (launch != ROOT) | (by_id != ROOT),
            trace.launches["correlation"] if len(hosts) < 2 else None,
        ),
    }
    codes = np.select(list(conditions.values()), np.arange(len(conditions), dtype=np.uint8), len(conditions))
    attributed = device.with_columns(
        _nullable("operator", operator),
        _nullable("span", span),
        _nullable("step_label", steps_of(trace, tree, hosts, span, process)),
        _nullable("launch", launch),
        _nullable("launch_ns", launch_ns).cast(pl.Int64),
        pl.Series("attribution", [*conditions, "unattributed"], dtype=_ATTRIBUTION).gather(codes),
        doubt,
        pl.Series("replay", replay),
        carries_cost=pl.col("bytes").is_null(),
    )
    return with_true_durations(attributed)


def _replays(trace: Trace, tree: Tree, device: pl.DataFrame, launch: Int32, by_id: Int32) -> Mask:
    """True for each activity of a graph: launched with the graph, or (torch 2.14 and later) a node of one.

    An activity without a launch is one too, if its id names the operator around a graph launch.
    """
    launches_graph = np.array(["GraphLaunch" in name for name in trace.names], dtype=np.int64)
    graph_launches = launches_graph[trace.launches["name"].to_numpy()]
    around = tree.operator[tree.offset[_LAUNCH] :][graph_launches == 1]
    replay = (take(graph_launches, launch) == 1) | ((launch == ROOT) & (by_id != ROOT) & np.isin(by_id, around))
    # writers may give 0 to activities without a graph
    is_node = (device["graph_id"] > 0) | (device["graph_node_id"] > 0)
    return np.asarray(replay | is_node.fill_null(value=False).to_numpy())


def _by_process(trace: Trace, device: pl.DataFrame, hosts: Processes, process: Int64) -> tuple[pl.DataFrame, Int32]:
    """The activities with ``rank`` and ``device_index``, and the operator that each one's ``External id`` names.

    In a merged trace the operator is one of the activity's own process, if that has any, and ``device`` becomes a
    number for each device of each rank.
    """
    if len(hosts) < 2:
        by_id = match_first(device, trace.operators, "external_id").row
        return device.with_columns(pl.lit(trace.rank, dtype=pl.Int64).alias("rank"), device_index="device"), by_id
    of_operator = hosts.of(trace.operators)
    operators = trace.operators.with_columns(process=pl.Series(of_operator))
    by_id = match_first(device.with_columns(process=pl.Series(process)), operators, "process", "external_id").row
    without_operators = ~np.isin(process, of_operator)
    if without_operators.any():
        by_id = np.where(without_operators, match_first(device, operators, "external_id").row, by_id)
    keys = np.stack([process, device["device"].to_numpy()], axis=1)
    number = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    ranked = device.with_columns(
        pl.Series("rank", trace.rank + process), pl.Series("device", number), device_index="device"
    )
    return ranked, by_id


def _before_recording(device: pl.DataFrame, recorded: Mask, launches: pl.Series | None) -> Mask:
    """True for each activity without a recorded origin that started before the first recorded one of its stream.

    Correlation ids count the calls of a process. An activity with a larger id than the first of ``launches`` was
    launched after the recording began: its launch was lost.
    """
    first_recorded = pl.when("recorded").then("start_ns").min()
    # a stream without any takes the first of its device
    stream_first = device.with_columns(recorded=pl.Series(recorded)).select(
        pl.coalesce(first_recorded.over("device", "stream"), first_recorded.over("device")).alias("first_ns")
    )["first_ns"]
    before = (device["start_ns"] < stream_first).fill_null(False).to_numpy()
    first_id = launches.min() if launches is not None else None
    lost = (device["correlation"] > first_id).fill_null(False).to_numpy() if first_id is not None else False
    return np.asarray(before & ~recorded & ~np.asarray(lost))


def _nullable(name: str, values: Integers) -> pl.Series:
    return pl.Series(name, values).set(pl.Series(values == ROOT), None)


def operator_activities(trace: Trace, tree: Tree, composite: Int64) -> pl.DataFrame:
    """Operators as activities, for a machine without a device; same columns as :func:`attribute`.

    The outermost operator that has a kernel of its own stands for all operators inside it; the operators around it keep
    only their self time, so that the durations hold every operator's self time once. ``composite`` is 2 for signatures
    of composite operators, 1 for unknown ones (composite if they have operators inside) and 0 for the rest.
    """
    n = len(trace.operators)
    parent = tree.operator_parent()
    duration_ns = trace.operators["duration_ns"].to_numpy()
    has_inside = np.isin(np.arange(n), parent)
    # unknown operators (1) count as composite if they have operators inside
    is_composite = composite[trace.operators["signature"].to_numpy()] + has_inside >= 2
    inside_kernel = take(nearest(parent, ~is_composite), parent) != ROOT
    # a composite operator keeps its duration without that of its direct children
    children_ns = np.zeros(n, dtype=np.int64)
    np.add.at(children_ns, parent[parent != ROOT], duration_ns[parent != ROOT])
    own_ns = np.where(is_composite, np.maximum(duration_ns - children_ns, 0), duration_ns)
    spans = np.arange(n, dtype=np.int32) + np.int32(tree.offset[_OPERATOR])
    hosts = processes(trace)
    process = hosts.of(trace.operators)
    rank = trace.rank + process
    rows = trace.operators.select("name", "start_ns", "external_id").with_columns(
        row=pl.int_range(n, dtype=pl.UInt32),
        category=pl.lit(CATEGORIES.index("operator"), dtype=pl.Int64),
        duration_ns=pl.Series(own_ns),
        device=pl.Series(rank),
        rank=pl.Series(rank),
        device_index=pl.lit(0, dtype=pl.Int64),
        stream=trace.operators["thread"].cast(pl.Int64),
        operator=pl.int_range(n, dtype=pl.Int64),
        span=pl.Series(spans),
        step_label=_nullable("step_label", steps_of(trace, tree, hosts, spans, process)),
        attribution=pl.lit("cpu", dtype=_ATTRIBUTION),
        carries_cost=pl.Series(~is_composite),
        # only a device has these
        **dict.fromkeys(("correlation", "bytes", "launch", "launch_ns"), pl.lit(None, dtype=pl.Int64)),
    )
    return rows.filter(pl.Series(~inside_kernel)).sort("start_ns", "row")
