"""What autograd recorded: backward nodes, the forward operator of each one, and recomputed forwards.

In grad mode an operator records the ``Sequence number`` that the next node of the graph will get, so of all operators
of a thread with one number the last is the one that made the node. The node's own operators
(``autograd::engine::evaluate_function: MmBackward0``, ``MmBackward0``) carry that number and in ``Fwd thread id`` the
thread of the forward. PyTorch numbers threads by itself, from 1; in forward operators the field is 0.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.ranks import Mask
from ridgeline.analyze.attribution.spans import ROOT, Int32, Integers, nearest, take
from ridgeline.analyze.reading.trace import Trace

_NODE = re.compile(r"autograd::engine::evaluate_function: .*|\w+Backward\d*")
_LONGEST_CHAIN = 16
"""The longest chain of derivatives that is followed: the second derivative has 2."""


def is_backward(trace: Trace) -> Mask:
    """True for each operator that is a node of the backward pass, by ``Fwd thread id`` or, in old traces, by name."""
    nodes = np.array([_NODE.fullmatch(name) is not None for name in trace.names], dtype=bool)
    by_name = nodes[trace.operators["name"].to_numpy()] if nodes.any() else np.zeros(len(trace.operators), dtype=bool)
    return np.asarray(by_name | (trace.operators["forward_thread"] > 0).fill_null(value=False).to_numpy())


def is_recomputed(trace: Trace, parent: Int32) -> Mask:
    """True for each outermost forward operator that a backward node ran again (activation checkpointing).

    ``parent`` is the row of the operator around each one. A recomputed forward runs in grad mode, and the node's own
    operators run after it without. Where the last operator of the node is in grad mode as well, the node itself is
    differentiated (``create_graph=True``).
    """
    backward = is_backward(trace)
    numbered = trace.operators["sequence"].is_not_null().to_numpy() & ~backward
    if not numbered.any() or not backward.any():
        return np.zeros(len(backward), dtype=bool)
    inside = np.flatnonzero(_holds(backward, parent))
    start_ns = trace.operators["start_ns"].to_numpy()
    last = np.full(len(backward), ROOT, dtype=np.int64)
    # assignment keeps the last of equal indices: the latest operator inside each node
    latest = inside[np.argsort(start_ns[inside], kind="stable")]
    last[parent[latest]] = latest
    ends_numbered = _holds(numbered, take(last, parent))
    recomputed = np.zeros(len(backward), dtype=bool)
    recomputed[inside] = numbered[inside] & ~ends_numbered[inside]
    return recomputed


def forward_operators(trace: Trace, parent: Int32, partner: Int32) -> Int32:
    """The row of the forward operator for each operator of a backward pass, ``ROOT`` for all others and where unknown.

    ``parent`` is the row of the operator around each one, ``partner`` the result of :func:`forward_partners`.
    Operators inside a backward node have the node's. A node of a second derivative has the forward operator of the node
    that it differentiates. Recomputed operators have none of their own, since the node that needs them first may be any
    of their segment; those inside ``CheckpointFunction``'s node have its.
    """
    if not (partner != ROOT).any():
        return partner
    recomputed = is_recomputed(trace, parent)
    checkpoint = np.array(["Checkpoint" in name for name in trace.names], dtype=bool)
    in_checkpoint = _holds(checkpoint[trace.operators["name"].to_numpy()], parent)
    forward = take(partner, nearest(parent, (partner != ROOT) | (recomputed & ~in_checkpoint)))
    # a partner inside a backward node is an operator of the first derivative
    within_recomputed = nearest(parent, recomputed) != ROOT
    for _ in range(_LONGEST_CHAIN):
        first = take(forward, forward)
        follow = (first != ROOT) & ~_holds(within_recomputed, forward)
        if not follow.any():
            break
        forward[follow] = first[follow]
    return forward


def _holds(mask: Mask, row: Integers) -> Mask:
    """``mask[row]``, False where the row is ``ROOT``."""
    return np.asarray(mask[np.maximum(row, 0)] & (row != ROOT))


def forward_partners(trace: Trace) -> Int32:
    """The row of the forward operator for each backward node that has a sequence number, ``ROOT`` for all others."""
    partner = np.full(len(trace.operators), ROOT, dtype=np.int32)
    if not trace.operators["sequence"].count():
        return partner
    pids = {pid: code for code, pid in enumerate(dict.fromkeys(pid for pid, _ in trace.threads))}
    of_thread = np.array([pids[pid] for pid, _ in trace.threads], dtype=np.int64)
    numbered = (
        trace.operators.select("thread", "start_ns", "sequence", pl.col("forward_thread").fill_null(0))
        .with_columns(
            row=pl.int_range(pl.len(), dtype=pl.Int32),
            process=pl.Series(of_thread[trace.operators["thread"].to_numpy()]),
            backward=pl.Series(is_backward(trace)),
        )
        .filter(pl.col("sequence").is_not_null())
        .sort("start_ns", maintain_order=True)
    )
    forwards, nodes = numbered.filter(~pl.col("backward")), numbered.filter("backward")
    if forwards.is_empty() or nodes.is_empty():
        return partner
    threads = _threads(forwards, nodes)
    matched = (
        nodes.join(threads, on=["process", "forward_thread"], maintain_order="left")
        .join_asof(
            forwards.select("sequence", "start_ns", thread_of_forward="thread", forward="row"),
            on="start_ns",
            by=["thread_of_forward", "sequence"],
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .drop_nulls("forward")
    )
    partner[matched["row"].to_numpy()] = matched["forward"].to_numpy()
    return partner


def _threads(forwards: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """``thread_of_forward`` for each ``process`` and ``forward_thread``: the thread with most of its sequence numbers.

    Each thread has one number. Of equally good threads the first to begin has the lower number, as PyTorch counts.
    """
    made = forwards.group_by("process", "sequence", "thread").agg(began_ns=pl.col("start_ns").min())
    pairs = (
        nodes.select("process", "forward_thread", "sequence", node_ns="start_ns")
        .join(made, on=["process", "sequence"])
        .filter(pl.col("began_ns") < pl.col("node_ns"))
        .group_by("process", "forward_thread", "thread")
        .agg(pl.len(), pl.col("began_ns").min())
        .sort("len", "forward_thread", "began_ns", descending=[True, False, False])
    )
    chosen: dict[tuple[int, int], int] = {}
    for process, number, thread, *_ in pairs.iter_rows():
        if (process, number) not in chosen and thread not in chosen.values():
            chosen[process, number] = thread
    rows = [(*key, thread) for key, thread in chosen.items()]
    schema = {name: nodes.schema[name] for name in ("process", "forward_thread")}
    return pl.DataFrame(rows, schema | {"thread_of_forward": nodes.schema["thread"]}, orient="row")
