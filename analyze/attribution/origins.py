"""The moments on the host that each device activity comes from.

The first is the activity's launch, or the start of its operator where no launch is known. Autograd launches backward
kernels on a thread of its own, without Python frames and outside of modules, so the call of the forward operator is the
second moment. Where that call is itself a backward operator, its forward operator is the third.
"""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.operators import Tree
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, nearest, take
from ridgeline.analyze.reading.trace import Trace

_MOST_MOMENTS = 4
_ALWAYS = np.iinfo(np.int64).min


class Origins(msgspec.Struct, frozen=True):
    """Moments of all activities: first the first moment of each, then the second ones, and so on."""

    activities: int
    activity: Int64
    """The position of the activity that each moment belongs to; not every activity has one."""
    thread: Int64
    at_ns: Int64
    label: Int32
    """Row in ``trace.annotations`` of the module label around each moment, or ``ROOT``."""
    node_ns: Int64
    """The start of the backward operator around the moment. Spans that began earlier do not belong to the operator."""

    def first(self, code: Int64, start_ns: Int64) -> Int64:
        """For each activity one of the codes that were found around its moments, or ``ROOT``; ``start_ns`` of each.

        A code found inside the backward operator itself, or around a moment without one, comes first: a recomputed
        forward calls its modules again. Next come codes around the forward operator, last those around the whole
        backward pass.
        """
        codes = np.full(self.activities, ROOT, dtype=np.int64)
        for usable in (code != ROOT, (code != ROOT) & (start_ns >= self.node_ns)):
            rows = np.flatnonzero(usable)[::-1]  # of several assignments to one activity the last one stays
            codes[self.activity[rows]] = code[rows]
        return codes


def find_origins(trace: Trace, tree: Tree, activities: pl.DataFrame, forward: Int32) -> Origins:
    """The moments of each activity; ``forward`` is the row of the forward operator of each operator, or ``ROOT``.

    ``activities`` as :func:`ridgeline.analyze.attribution.operators.attribute` returns them.
    """
    operator, launch = (activities[name].cast(pl.Int32).fill_null(ROOT).to_numpy() for name in ("operator", "launch"))
    thread, start_ns = (trace.operators[name].to_numpy() for name in ("thread", "start_ns"))
    # Operators inside a backward operator have its forward operator too; the outermost of them is that operator.
    parent = tree.operator_parent()
    outermost = nearest(parent, (forward != ROOT) & (take(forward, parent) != forward))
    node_ns = take(start_ns, np.where(forward == ROOT, ROOT, outermost), _ALWAYS)

    launched_on = take(trace.launches["thread"].to_numpy(), launch)
    rows = np.flatnonzero(launch != ROOT)
    call = launch[rows]
    launched_ns, label = trace.launches["start_ns"].to_numpy()[call], tree.module[tree.launch_spans][call]
    moments = [(rows, launched_on[rows], launched_ns, label, take(node_ns, operator[rows], _ALWAYS))]
    is_new = (operator != ROOT) & (take(thread, operator) != launched_on)
    while len(moments) <= _MOST_MOMENTS and (operator != ROOT).any():
        rows = np.flatnonzero(is_new)
        call = operator[rows]
        moments.append((rows, thread[call], start_ns[call], tree.module[tree.operator_spans][call], node_ns[call]))
        operator = take(forward, operator)
        is_new = operator != ROOT
    return Origins(len(activities), *(np.concatenate(column) for column in zip(*moments, strict=True)))
