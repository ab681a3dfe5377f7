"""Steps: windows of time over all threads of their process and all streams of its devices.

A label (``phase=decode step=3``, ``ProfilerStep#3``) stands on one thread and holds for the whole process. An activity
belongs to the innermost label around its launch on the launching thread. Without one it belongs to the innermost label
of its process that was open at the launch, whatever thread launched it (autograd's, a helper's). Activities launched
before recording began belong to no step. A trace without any label is one step of the kind ``trace``.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from msgspec.structs import replace

from ridgeline.analyze.attribution.labels import Label, parse
from ridgeline.analyze.attribution.ranks import Mask, Processes, ranks
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, enclosing, nearest, take
from ridgeline.analyze.reading.trace import Trace

WHOLE_TRACE = "kind=trace step=0"
"""The label of the one step of a trace without labels."""


def open_windows(trace: Trace, is_window: Mask, hosts: Processes, process: Int64, at_ns: Int64) -> Int32:
    """For each moment of a process the innermost window open then: a row of ``trace.annotations``, or ``ROOT``.

    ``is_window`` chooses the annotations. Of windows that overlap on several threads, the innermost began last.
    """
    rows = np.flatnonzero(is_window).astype(np.int32)
    windows = trace.annotations[rows]
    start_ns = np.concatenate([windows["start_ns"].to_numpy(), at_ns])
    end_ns = start_ns.copy()
    end_ns[: len(rows)] += windows["duration_ns"].to_numpy()
    is_moment = np.arange(len(start_ns)) >= len(rows)
    inner = enclosing(np.concatenate([hosts.of(windows), process]), start_ns, end_ns, is_moment.astype(np.int8))
    # a moment may lie inside an equal one
    return take(rows, nearest(inner, ~is_moment)[len(rows) :])


def repeats(names: Int64, around: Int32, labels: list[Label]) -> Mask:
    """True for each annotation that says of a step no more than the label around it, which holds no other label.

    An engine and a profiler on top of it name one step twice: ``step[DECODE bs=32]`` inside
    ``execute_context_0(0)_generation_32(32)``. ``names`` are codes; ``around`` is the row of the step label around each
    annotation that marks a step, else ``ROOT``.
    """
    rows = np.flatnonzero(around != ROOT)
    rows = rows[np.bincount(around[rows], minlength=1)[around[rows]] == 1]
    pairs, place = np.unique(np.stack([names[rows], names[around[rows]]], axis=1), axis=0, return_inverse=True)
    same = np.array([_says_no_more(labels[inner], labels[outer]) for inner, outer in pairs.tolist()], dtype=bool)
    repeated = np.zeros(len(names), dtype=bool)
    repeated[rows] = same[place.reshape(-1)]
    return repeated


def _says_no_more(inner: Label, outer: Label) -> bool:
    """True if the labels are of one phase, and the outer one has every key of the inner one."""
    return inner.phase is not None and all(i is None or i == o for i, o in zip(inner, outer, strict=True))


def complete_labels(trace: Trace, around: Int32, hosts: Processes, labels: list[Label]) -> dict[int, Label]:
    """The label of each annotation that marks a step, by its row, with keys added from the labels around it.

    ``around`` is the row of the step label around each annotation on its own thread. An inner label overrides an outer
    one; ``ProfilerStep#3`` only fills gaps. One on another thread holds as well: it is the iteration.
    """
    names = trace.annotations["name"].to_numpy()
    marks = np.array([label.marks_step for label in labels], dtype=bool)[names]
    iterates = np.array([_iterates(label) for label in labels], dtype=bool)[names]
    alone = np.flatnonzero(marks & ~iterates & (around == ROOT))
    around = around.copy()
    if iterates.any() and len(alone):
        start_ns = trace.annotations["start_ns"].to_numpy()[alone]
        around[alone] = open_windows(trace, iterates, hosts, hosts.of(trace.annotations)[alone], start_ns)
    # outer annotations first, so that the label around each one is complete
    rows = trace.annotations.with_columns(around=pl.Series(around)).with_row_index("row").filter(pl.Series(marks))
    complete: dict[int, Label] = {}
    for row, outside, name in (
        rows.sort("start_ns", -pl.col("duration_ns"), "row").select("row", "around", "name").rows()
    ):
        label, outer = labels[name], complete.get(outside, Label())
        inner, outer = (outer, label) if _iterates(label) else (label, outer)
        complete[row] = Label(*(o if i is None else i for i, o in zip(inner, outer, strict=True)))
    return complete


def _iterates(label: Label) -> bool:
    """True for the label of an iteration, which holds for the steps inside it: ``ProfilerStep#3``."""
    return label.iteration is not None and label.phase is None and label.kind is None


def as_one_step(trace: Trace, activities: pl.DataFrame) -> tuple[Trace, pl.DataFrame, dict[int, Label]]:
    """The trace, activities and steps of a trace without step labels: all of a rank is one step.

    The step is an annotation after the trace's own, from the first launch or operator of the rank to its last.
    """

    def extent(rows: pl.DataFrame) -> pl.DataFrame:
        end_ns = pl.col("start_ns") + pl.col("duration_ns")
        return rows.group_by("rank").agg(pl.col("start_ns").min(), end_ns=end_ns.max())

    of_thread = ranks(trace)
    host = pl.concat(
        extent(frame.select("start_ns", "duration_ns", rank=pl.Series(of_thread[frame["thread"].to_numpy()])))
        for frame in (trace.launches, trace.operators)
    )
    # a rank without host events begins with its first activity
    host = host.group_by("rank").agg(pl.col("start_ns").min(), pl.col("end_ns").max())
    spans = host.join(extent(activities), on="rank", how="right", suffix="_device").sort("rank")
    first = len(trace.annotations)
    added = spans.select(
        name=pl.lit(len(trace.names)),
        thread=pl.Series([int(np.flatnonzero(of_thread == rank)[0]) for rank in spans["rank"]], dtype=pl.Int64),
        start_ns=pl.coalesce("start_ns", "start_ns_device"),
        duration_ns=pl.coalesce("end_ns", "end_ns_device") - pl.coalesce("start_ns", "start_ns_device"),
    ).cast(trace.annotations.schema)
    numbers = pl.Series(range(first, first + len(added)), dtype=activities.schema["step_label"])
    return (
        replace(trace, annotations=pl.concat([trace.annotations, added]), names=[*trace.names, WHOLE_TRACE]),
        activities.with_columns(step_label=pl.col("rank").replace_strict(spans["rank"], numbers)),
        dict.fromkeys(range(first, first + len(added)), parse(WHOLE_TRACE)),
    )
