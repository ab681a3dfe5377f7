"""Whose work is it: every device activity's operator, module, phase and step, by two joins and one tree of spans.

The tree nests operators, annotations and launches of every thread. A device activity is joined to an operator by its
``External id``; where there is none, or where that operator was not running when the activity was launched (old writers
put the correlation id there), to the innermost operator around its launch. Labels come from the annotations around the
launch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analyze.columns import DEVICE_CATEGORIES
from analyze.frames import Trace
from analyze.labels import Label, parse_all
from analyze.spans import ROOT, Int64, enclosing, nearest, take

CATEGORIES = ("kernel", "memcpy", "memset", "profiler_range", "operator")
"""What a device activity is; the first four in the order of the trace's own categories."""
_RANGE = DEVICE_CATEGORIES.index("cuda_profiler_range")
_ANNOTATION, _OPERATOR, _LAUNCH = range(3)


@dataclass
class Tree:
    """All host spans of a trace: annotations, then operators, then launches, with each one's parent."""

    offset: dict[int, int]
    parent: Int64
    thread: Int64
    start_ns: Int64
    end_ns: Int64
    operator: Int64
    """Row in ``trace.operators`` of the nearest operator at or around each span."""
    step: Int64
    """Row in ``trace.annotations`` of the nearest step label; ``module`` likewise."""
    module: Int64

    def operator_parent(self) -> Int64:
        """For each operator the row of the operator around it, or ``ROOT``."""
        operators = slice(self.offset[_OPERATOR], self.offset[_LAUNCH])
        return take(self.operator, self.parent[operators])


def build_tree(trace: Trace, labels: list[Label]) -> Tree:
    """Nest all host spans and find for each the operator, step label and module label it stands in."""
    groups = (trace.annotations, trace.operators, trace.launches)
    sizes = [len(group) for group in groups]
    offset = {kind: sum(sizes[:kind]) for kind in range(3)}
    thread = _concatenate(groups, "thread")
    start_ns = _concatenate(groups, "start_ns")
    end_ns = start_ns + _concatenate(groups, "duration_ns")
    rank = np.repeat(np.arange(3), sizes)
    parent = enclosing(thread, start_ns, end_ns, rank)
    label_of = [labels[code] for code in trace.annotations["name"].to_list()]
    steps, modules = np.zeros(len(rank), dtype=bool), np.zeros(len(rank), dtype=bool)
    steps[: sizes[0]] = [label.marks_step for label in label_of]
    modules[: sizes[0]] = [label.module is not None for label in label_of]
    operator = nearest(parent, rank == _OPERATOR)
    operator = np.where(operator == ROOT, ROOT, operator - offset[_OPERATOR])
    return Tree(offset, parent, thread, start_ns, end_ns, operator, nearest(parent, steps), nearest(parent, modules))


def _concatenate(groups: tuple[pl.DataFrame, ...], column: str) -> Int64:
    return np.concatenate([group[column].to_numpy() for group in groups])


def parse_labels(trace: Trace) -> list[Label]:
    """A label for every name code that annotations use, empty for the rest."""
    used = set(trace.annotations["name"].to_list())
    return parse_all([name if code in used else "" for code, name in enumerate(trace.names)])


def step_labels(trace: Trace, tree: Tree, labels: list[Label]) -> dict[int, Label]:
    """The label of each annotation that marks a step, by its row, with what the labels around it add.

    An inner label says more than an outer one; ``ProfilerStep#3`` only fills gaps.
    """
    rows = trace.annotations.with_row_index("row").sort("start_ns", -pl.col("duration_ns"), "row")
    found: dict[int, Label] = {}
    for row, name in rows.select("row", "name").iter_rows():
        label = labels[name]
        if label.marks_step:
            around = found.get(int(take(tree.step, tree.parent[[row]])[0]), Label())
            inner, outer = (around, label) if trace.names[name].startswith("ProfilerStep#") else (label, around)
            found[row] = Label(*(o if i is None else i for i, o in zip(inner, outer, strict=True)))
    return found


def attribute(trace: Trace, tree: Tree) -> pl.DataFrame:
    """One row per device activity: the columns of ``trace.device`` (sorted by start), ``row`` there, and

    ``operator`` (row in ``trace.operators``), ``step_label`` and ``module_label`` (rows in ``trace.annotations``),
    ``launch`` (row in ``trace.launches``) and ``launch_ns``, all null where unknown; ``attribution``; ``replay``,
    whether it is a graph's; and ``carries_cost``, whether the operator's cost falls on it. Counter ranges are
    activities only where there are no kernels.
    """
    device = trace.device.with_row_index("row")
    if (device["category"] != _RANGE).any():
        device = device.filter(pl.col("category") != _RANGE)
    device = device.sort("start_ns", "device", "stream", "row")
    by_id = _lookup(device, "external_id", trace.operators)
    launch = _lookup(device, "correlation", trace.launches)
    launch_span = np.where(launch == ROOT, ROOT, launch + tree.offset[_LAUNCH])
    id_span = np.where(by_id == ROOT, ROOT, by_id + tree.offset[_OPERATOR])

    launch_ns = take(tree.start_ns, launch_span)
    replay = (launch != ROOT) & _graph_launches(trace, launch)
    around_launch = np.where(replay, ROOT, take(tree.operator, launch_span))
    # an id is believed where its operator ran when the launch came, on that thread or one without operators
    ran = (take(tree.start_ns, id_span) <= launch_ns) & (launch_ns <= take(tree.end_ns, id_span))
    same_thread = take(tree.thread, id_span) == take(tree.thread, launch_span)
    trusted = (by_id != ROOT) & ((launch == ROOT) | (ran & (same_thread | (around_launch == ROOT))))
    operator = np.where(trusted, by_id, around_launch)
    span = np.where(launch_span != ROOT, launch_span, np.where(trusted, id_span, ROOT))
    attribution = np.select(
        [
            device["category"].to_numpy() == _RANGE,
            trusted,
            around_launch != ROOT,
            _before_recording(device, launch, by_id),
        ],
        ["profiler_range", "external_id", "launch", "before_recording"],
        "unattributed",
    )
    return device.with_columns(
        _nullable("operator", operator),
        _nullable("step_label", take(tree.step, span)),
        _nullable("module_label", take(tree.module, span)),
        _nullable("launch", launch),
        _nullable("launch_ns", launch_ns).cast(pl.Int64),
        pl.Series("attribution", attribution.astype(str)),
        pl.Series("replay", replay),
        carries_cost=pl.col("bytes").is_null(),
    )


def _lookup(device: pl.DataFrame, key: str, target: pl.DataFrame) -> Int64:
    """Row of ``target`` with the same ``key``, the earliest one if several share it; ROOT where there is none."""
    first = (
        target.with_row_index("found")
        .drop_nulls(key)
        .sort("start_ns", "found")
        .unique(key, keep="first", maintain_order=True)
    )
    found = device.select(key).join(first.select(key, "found"), on=key, how="left", maintain_order="left")["found"]
    return found.cast(pl.Int64).fill_null(ROOT).to_numpy()


def _graph_launches(trace: Trace, launch: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which launches replay a graph: what surrounds those is not the operator of the kernels inside."""
    replays = np.array(["GraphLaunch" in name for name in trace.names], dtype=np.int64)
    return np.asarray(take(replays, take(trace.launches["name"].to_numpy(), launch)) == 1)


def _before_recording(device: pl.DataFrame, launch: Int64, by_id: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """No launch in the trace, and started before the first activity of its stream that has one."""
    known = (launch != ROOT) | (by_id != ROOT)
    first_known = pl.when("known").then("start_ns").min()
    stream_first = device.with_columns(known=pl.Series(known)).select(
        pl.coalesce(first_known.over("device", "stream"), first_known.over("device")).alias("first_ns")
    )["first_ns"]
    before = (device["start_ns"] < stream_first).fill_null(False).to_numpy()
    return np.asarray(before & ~known)


def _nullable(name: str, values: Int64) -> pl.Series:
    return pl.Series(name, values).replace(ROOT, None)


def operator_activities(trace: Trace, tree: Tree, composite: Int64) -> pl.DataFrame:
    """On a machine without a device, operators in the place of kernels; same columns as :func:`attribute`.

    The outermost operator that has a kernel of its own stands for all that runs inside it; the ones around it keep only
    their self time. ``composite`` is 2 for signatures of composite operators, 1 for those nothing is known of
    (wrappers, if they have operators inside) and 0 for the rest. Together they hold every operator's self time once.
    """
    n = len(trace.operators)
    parent = tree.operator_parent()
    duration_ns = trace.operators["duration_ns"].to_numpy()
    has_inside = np.isin(np.arange(n), parent)
    is_composite = composite[trace.operators["signature"].to_numpy()] + has_inside >= 2
    inside_kernel = take(nearest(parent, ~is_composite), parent) != ROOT
    children_ns = np.zeros(n, dtype=np.int64)
    np.add.at(children_ns, parent[parent != ROOT], duration_ns[parent != ROOT])
    own_ns = np.where(is_composite, np.maximum(duration_ns - children_ns, 0), duration_ns)
    spans = np.arange(n) + tree.offset[_OPERATOR]
    rows = trace.operators.select("name", "start_ns", "external_id").with_columns(
        row=pl.int_range(n, dtype=pl.UInt32),
        category=pl.lit(CATEGORIES.index("operator"), dtype=pl.Int64),
        duration_ns=pl.Series(own_ns),
        device=pl.lit(0, dtype=pl.Int64),
        stream=pl.Series(tree.thread[spans]),
        correlation=pl.lit(None, dtype=pl.Int64),
        bytes=pl.lit(None, dtype=pl.Int64),
        operator=pl.int_range(n, dtype=pl.Int64),
        step_label=_nullable("step_label", take(tree.step, spans)),
        module_label=_nullable("module_label", take(tree.module, spans)),
        launch=pl.lit(None, dtype=pl.Int64),
        launch_ns=pl.lit(None, dtype=pl.Int64),
        attribution=pl.lit("cpu"),
        carries_cost=pl.Series(~is_composite),
    )
    return rows.filter(pl.Series(~inside_kernel)).sort("start_ns", "row")
