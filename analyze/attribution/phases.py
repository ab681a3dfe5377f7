"""Phases of training: forward, backward, optimizer, and forwards that the backward pass recomputes.

The innermost evidence around a launch decides. Operators inside a node of autograd are ``backward``, except recomputed
ones (``recompute``). What ``Optimizer.step#…`` and ``Optimizer.zero_grad#…`` enclose is ``optimizer``. An operator that
made a node is ``forward``.

The rest follows from its neighbours in time, of all threads of the process. An operator in grad mode is ``forward`` if
the next evidence is forward: a batch that is copied before the pass begins belongs to it, a loss that is read after it
does not. An operator without grad mode is ``forward`` between two forward operators, and ``optimizer`` between the last
node and ``Optimizer.step#…``: gradients are unscaled and clipped there. Everything on autograd's own threads is
``backward`` (all-reduces of hooks), and what other threads launch during ``Optimizer.step#…`` is ``optimizer``.

A trace without a node of autograd and without an optimizer is not one of training, and has no phase.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.autograd import is_backward, is_recomputed
from ridgeline.analyze.attribution.operators import Tree, span_column
from ridgeline.analyze.attribution.ranks import Mask, Processes, processes
from ridgeline.analyze.attribution.spans import ROOT, Int8, Int32, Int64, nearest, take
from ridgeline.analyze.attribution.steps import open_windows
from ridgeline.analyze.reading.trace import Trace

PHASE = pl.Enum(["forward", "backward", "optimizer", "recompute"])
_NONE, _FORWARD, _BACKWARD, _OPTIMIZER, _RECOMPUTE, _IN_GRAD_MODE = range(-1, 5)
_OPTIMIZER_SPAN = re.compile(r"Optimizer\.(step|zero_grad)#")


def training_phases(trace: Trace, tree: Tree, activities: pl.DataFrame, partners: Int32) -> pl.Series:
    """The phase of each activity, null where there is no evidence; ``activities`` as ``attribute`` returns them.

    ``partners`` is the result of :func:`ridgeline.analyze.attribution.autograd.forward_partners`.
    """
    evidence = _evidence(trace, tree, partners)
    if not np.isin(evidence, (_BACKWARD, _OPTIMIZER)).any():
        return pl.repeat(None, len(activities), dtype=PHASE, eager=True).alias("phase")
    span = activities["span"].cast(pl.Int32).fill_null(ROOT).to_numpy()
    phase = take(evidence, take(nearest(tree.parent, evidence != _NONE), span))
    open_rows = np.flatnonzero(((phase == _NONE) | (phase == _IN_GRAD_MODE)) & (span != ROOT))
    phase[open_rows] = _by_neighbours(trace, tree, evidence, span[open_rows], phase[open_rows])
    phase[phase == _IN_GRAD_MODE] = _NONE
    return pl.Series("phase", PHASE.categories).cast(PHASE).gather(pl.Series(phase).replace(_NONE, None))


def _evidence(trace: Trace, tree: Tree, partners: Int32) -> Int8:
    """What each span of the tree says about the launches inside it."""
    operators = slice(len(trace.annotations), len(trace.annotations) + len(trace.operators))
    of_name = np.array([_OPTIMIZER_SPAN.match(name) is not None for name in trace.names], dtype=bool)
    evidence = np.full(len(tree.parent), _NONE, dtype=np.int8)
    backward = is_backward(trace)
    if not of_name.any() and not backward.any():
        return evidence
    names = np.concatenate([trace.annotations["name"].to_numpy(), trace.operators["name"].to_numpy()])
    evidence[: operators.stop][of_name[names]] = _OPTIMIZER
    evidence[operators][backward] = _BACKWARD
    # what is around each operator: autograd, an optimizer or neither
    around = take(evidence, nearest(tree.parent, evidence != _NONE)[operators])
    sequence = trace.operators["sequence"]
    differentiated = np.isin(np.arange(len(sequence)), partners[partners != ROOT])
    in_grad_mode = sequence.is_not_null().to_numpy() & (around == _NONE)
    evidence[operators][in_grad_mode] = _IN_GRAD_MODE
    evidence[operators][is_recomputed(trace, tree.operator_parent())] = _RECOMPUTE
    evidence[operators][(_makers(trace) | differentiated) & (around == _NONE)] = _FORWARD
    # an optimizer may call the model (L-BFGS); its own operators in grad mode make no node that is differentiated
    evidence[operators][differentiated & (around == _OPTIMIZER)] = _FORWARD
    return evidence


def _makers(trace: Trace) -> Mask:
    """True for each operator that made a node: the last one with its sequence number on its thread.

    Whether the last operator with a thread's last number made a node, only a backward node can tell.
    """
    numbered = trace.operators.select("thread", "sequence", "start_ns").with_row_index("row")
    numbered = numbered.filter(pl.col("sequence").is_not_null() & ~pl.Series(is_backward(trace)))
    last = numbered.sort("start_ns", maintain_order=True).unique(["thread", "sequence"], keep="last")
    rows = last.filter(pl.col("sequence") < pl.col("sequence").max().over("thread"))["row"].to_numpy()
    made = np.zeros(len(trace.operators), dtype=bool)
    made[rows] = True
    return made


def _by_neighbours(trace: Trace, tree: Tree, evidence: Int8, span: Int32, phase: Int8) -> Int8:
    """The phase of launches without evidence around them, or only that of grad mode."""
    hosts = processes(trace)
    thread, at_ns = (span_column(trace, tree, span, column) for column in ("thread", "start_ns"))
    process = hosts.of_thread[thread]
    before, after = _neighbours(trace, evidence, hosts, process, at_ns)
    owners = np.concatenate([frame["thread"].to_numpy() for frame in (trace.annotations, trace.operators)])
    has = {
        kind: np.isin(np.arange(len(trace.threads)), owners[evidence[: len(owners)] == kind])[thread]
        for kind in (_FORWARD, _BACKWARD, _OPTIMIZER, _IN_GRAD_MODE)
    }
    is_step = np.array([name.startswith("Optimizer.step#") for name in trace.names], dtype=bool)
    steps = is_step[trace.annotations["name"].to_numpy()]
    in_optimizer = open_windows(trace, steps, hosts, process, at_ns) != ROOT
    in_grad_mode = phase == _IN_GRAD_MODE
    conditions = [
        in_grad_mode & (after == _FORWARD),
        ~in_grad_mode & has[_BACKWARD] & ~has[_FORWARD] & ~has[_IN_GRAD_MODE],
        ~in_grad_mode & in_optimizer,
        ~in_grad_mode & has[_FORWARD] & (before == _FORWARD) & (after == _FORWARD),
        ~in_grad_mode & has[_OPTIMIZER] & (before == _BACKWARD) & (after == _OPTIMIZER),
    ]
    phases = [_FORWARD, _BACKWARD, _OPTIMIZER, _FORWARD, _OPTIMIZER]
    return np.select(conditions, phases, _NONE).astype(np.int8)


def _neighbours(trace: Trace, evidence: Int8, hosts: Processes, process: Int64, at_ns: Int64) -> tuple[Int8, Int8]:
    """The last evidence that began by each moment on any thread of its process, and the first that began after it."""
    frames = (trace.annotations, trace.operators)
    start_ns = np.concatenate([frame["start_ns"].to_numpy() for frame in frames])
    of = np.concatenate([hosts.of(frame) for frame in frames])
    kind = evidence[: len(start_ns)]
    before, after = (np.full(len(at_ns), _NONE, dtype=np.int8) for _ in range(2))
    for number in np.unique(process):
        rows = np.flatnonzero((of == number) & np.isin(kind, (_FORWARD, _BACKWARD, _OPTIMIZER)))
        rows = rows[np.argsort(start_ns[rows], kind="stable")]
        mine = np.flatnonzero(process == number)
        at = np.searchsorted(start_ns[rows], at_ns[mine], side="right")
        kinds = np.concatenate([[_NONE], kind[rows], [_NONE]]).astype(np.int8)
        before[mine], after[mine] = kinds[at], kinds[at + 1]
    return before, after
