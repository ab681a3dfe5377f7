"""What the profiler adds to the replay of a CUDA graph, measured on graphs of additions.

CUPTI takes a timestamp at either end of every node, which the gaps of a replay pay for: the span of a traced replay is
longer than the same replay unwatched, by so much a node. A graph of additions, each on what the last one left, is
replayed without the profiler, timed as steps are, and with it; the difference over the nodes is what one costs. How it
divides into longer kernels and longer gaps cannot be told: without the profiler only their sum is known.
"""

import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.clocks import clock, synchronize
from ridgeline.capture.measuring.profiling import profiler
from ridgeline.capture.measuring.timing import differences
from ridgeline.capture.records import GraphCost, ProfilerCost

NODES = 1000
"""About as many as a decoding step of an 8B model launches kernels."""

KERNEL_BYTES = (16, 16 * 2**20)
"""What a node adds to: the shortest kernel there is, and one that takes several microseconds."""

WARM_UPS = 10
REPEATS = 30
"""Replays timed without the profiler."""

PROFILED_REPEATS = 5


class Replay(NamedTuple):
    """One replay in a trace: its kernels, from the start of the first to the end of the last, and their durations."""

    nodes: int
    span_ns: int
    busy_ns: int


@cache
def calibrated(device: torch.device) -> ProfilerCost:
    """As `calibrate`, once for a process and device. What raises is tried again."""
    return calibrate(device)


def calibrate(device: torch.device, *, nodes: int = NODES, kernel_bytes: Sequence[int] = KERNEL_BYTES) -> ProfilerCost:
    """Measure what the profiler adds to each node of a replayed graph, for every size of kernel.

    Raises CaptureError where the profiler lost kernels of every replay, and what torch raises where memory runs out.
    """
    graphs = {size: _graph(size, nodes, device) for size in kernel_bytes}
    # All are timed before any is profiled: what CUPTI leaves behind must not be in the times without it.
    unprofiled = {size: _unprofiled_ns(graph, device) for size, graph in graphs.items()}
    profiled = {size: replays(_trace(graph, device)) for size, graph in graphs.items()}
    return total([graph_cost(size, nodes, unprofiled[size], profiled[size]) for size in kernel_bytes])


def replays(events: Iterable[Mapping[str, Any]]) -> list[Replay]:
    """The graph replays of a trace, in the order of their launches. `events` are its `traceEvents`."""
    kernels = sorted(
        (event["args"]["correlation"], round(1000 * event["ts"]), round(1000 * event["dur"]))
        for event in events
        if event.get("cat") == "kernel"
    )
    return [_replay([times for _, *times in group]) for _, group in groupby(kernels, key=itemgetter(0))]


def graph_cost(kernel_bytes: int, nodes: int, unprofiled_ns: Sequence[int], profiled: Sequence[Replay]) -> GraphCost:
    """The cost of a node, by the medians of `unprofiled_ns`, replays without the profiler, and of those with it.

    Replays with another number of kernels than `nodes` are left out: the profiler lost some. Raises CaptureError where
    none is whole.
    """
    whole = [replay for replay in profiled if replay.nodes == nodes]
    if not whole:
        seen = max((replay.nodes for replay in profiled), default=0)
        raise CaptureError(f"the profiler saw {seen} kernels of a graph at most; expected {nodes}.")
    alone_ns = round(statistics.median(unprofiled_ns))
    span_ns = round(statistics.median(replay.span_ns for replay in whole))
    return GraphCost(
        kernel_bytes=kernel_bytes,
        nodes=nodes,
        unprofiled_ns=alone_ns,
        profiled_span_ns=span_ns,
        profiled_busy_ns=round(statistics.median(replay.busy_ns for replay in whole)),
        node_ns=(span_ns - alone_ns) / nodes,
    )


def total(graphs: Sequence[GraphCost]) -> ProfilerCost:
    """The cost of a node over graphs of several sizes of kernel, as their mean."""
    return ProfilerCost(
        graph_node_ns=statistics.fmean(graph.node_ns for graph in graphs),
        method=f"(profiled span - unprofiled time) / nodes of a graph of additions, each on what the last one left, "
        f"medians of {PROFILED_REPEATS} and {REPEATS} replays, mean over {len(graphs)} sizes of kernel",
        graphs=list(graphs),
    )


def _replay(kernels: Sequence[Sequence[int]]) -> Replay:
    """A replay from the starts and durations of its kernels, in nanoseconds."""
    first = min(start for start, _ in kernels)
    last = max(start + duration for start, duration in kernels)
    return Replay(len(kernels), last - first, sum(duration for _, duration in kernels))


def _graph(kernel_bytes: int, nodes: int, device: torch.device) -> torch.cuda.CUDAGraph:
    """A graph of additions, all to the same tensor."""
    torch.zeros(kernel_bytes // 4, device=device).add_(1.0)  # The first launch loads the kernel, which no capture may.
    synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        data = torch.empty(kernel_bytes // 4, device=device)  # Whatever is in it; its memory lives as the graph does.
        for _ in range(nodes):
            data.add_(1.0)
    return graph


def _unprofiled_ns(graph: torch.cuda.CUDAGraph, device: torch.device) -> list[int]:
    """The times of replays that follow each other, between their ends as those of steps are."""
    for _ in range(WARM_UPS):
        graph.replay()
    marks = clock(device, REPEATS + 1)
    marks.mark()
    for _ in range(REPEATS):
        graph.replay()
        marks.mark()
    return differences(marks.elapsed_ns())


def _trace(graph: torch.cuda.CUDAGraph, device: torch.device) -> list[dict[str, Any]]:
    """The events of a trace of replays, recorded as a window of steps is."""
    synchronize(device)
    with profiler(device) as watching:
        for _ in range(PROFILED_REPEATS):
            graph.replay()
        synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        watching.export_chrome_trace(str(path))
        events: list[dict[str, Any]] = json.loads(path.read_bytes())["traceEvents"]
    return events
