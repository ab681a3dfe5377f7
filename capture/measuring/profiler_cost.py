"""The profiler's cost per node of a replayed CUDA graph, measured on graphs of dependent additions.

CUPTI takes a timestamp at both ends of every node, which lengthens the gaps of a replay. A graph of additions, each to
the result of the last one, is replayed without the profiler, timed as steps are, and with it. The difference of both
times divided by the number of nodes is the cost of one node. Its division into longer kernels and longer gaps is
unknown: without the profiler only their sum is measured.
"""

import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.clocks import clock, synchronize
from ridgeline.capture.measuring.profiling import profiler
from ridgeline.capture.measuring.timing import differences
from ridgeline.capture.records import GraphCost, ProfilerCost

NODES = 1000
"""Nodes of a graph: about as many kernels as a decoding step of an 8B model launches."""

KERNEL_BYTES = (16, 16 * 2**20)
"""Bytes that one node adds to: the shortest kernel, and one of several microseconds."""

WARM_UPS = 10
REPEATS = 30
"""Replays timed without the profiler."""

PROFILED_REPEATS = 5


class Replay(NamedTuple):
    """One replay in a trace: its number of kernels, the span from first start to last end, and the sum of durations."""

    nodes: int
    span_ns: int
    busy_ns: int


@cache
def calibrated(device: torch.device) -> ProfilerCost:
    """The result of `calibrate`, cached per process and device. A call that raised is tried again."""
    return calibrate(device)


def calibrate(device: torch.device, *, nodes: int = NODES, kernel_bytes: Sequence[int] = KERNEL_BYTES) -> ProfilerCost:
    """Measure the profiler's cost per node for graphs of `nodes` kernels, one graph for each of `kernel_bytes`.

    Raises CaptureError where the profiler lost kernels of every replay, and torch's exceptions where memory runs out.
    """
    graphs = {size: _graph(size, nodes, device) for size in kernel_bytes}
    # Time all graphs before the first is profiled: CUPTI leaves state behind that would slow the others.
    unprofiled = {size: _unprofiled_ns(graph, device) for size, graph in graphs.items()}
    profiled = {size: replays(_trace(graph, device)) for size, graph in graphs.items()}
    return total([graph_cost(size, nodes, unprofiled[size], profiled[size]) for size in kernel_bytes])


def replays(events: Iterable[Mapping[str, Any]]) -> list[Replay]:
    """The graph replays among the `traceEvents` of a trace, in the order of their launches."""
    kernels: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        if event.get("cat") == "kernel":
            # All kernels of a replay have the correlation id of its launch. Times are in microseconds.
            start_ns, duration_ns = round(1000 * event["ts"]), round(1000 * event["dur"])
            kernels.setdefault(event["args"]["correlation"], []).append((start_ns, duration_ns))
    result = []
    for _, times in sorted(kernels.items()):
        first, last = min(start for start, _ in times), max(start + duration for start, duration in times)
        result.append(Replay(len(times), last - first, sum(duration for _, duration in times)))
    return result


def graph_cost(kernel_bytes: int, nodes: int, unprofiled_ns: Sequence[int], profiled: Sequence[Replay]) -> GraphCost:
    """The cost per node: the difference of the median `profiled` span and median `unprofiled_ns`, over `nodes`.

    A profiled replay without exactly `nodes` kernels is left out, because the profiler lost some. Raises CaptureError
    where none is complete.
    """
    whole = [replay for replay in profiled if replay.nodes == nodes]
    if not whole:
        most = max((replay.nodes for replay in profiled), default=0)
        raise CaptureError(f"the profiler saw {most} kernels of a graph at most; expected {nodes}.")
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
    """The mean cost per node of graphs with different sizes of kernel."""
    return ProfilerCost(
        graph_node_ns=statistics.fmean(graph.node_ns for graph in graphs),
        method=f"(profiled span - unprofiled time) / nodes of a graph of additions, each on what the last one left, "
        f"medians of {PROFILED_REPEATS} and {REPEATS} replays, mean over {len(graphs)} sizes of kernel",
        graphs=list(graphs),
    )


def _graph(kernel_bytes: int, nodes: int, device: torch.device) -> torch.cuda.CUDAGraph:
    """A graph of `nodes` additions to the same tensor of `kernel_bytes` bytes."""
    torch.zeros(kernel_bytes // 4, device=device).add_(1.0)  # The first launch loads the kernel; a capture may not.
    synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        data = torch.empty(kernel_bytes // 4, device=device)  # any content; the memory belongs to the graph
        for _ in range(nodes):
            data.add_(1.0)
    return graph


def _unprofiled_ns(graph: torch.cuda.CUDAGraph, device: torch.device) -> list[int]:
    """Nanoseconds between the ends of successive replays, measured as steps are."""
    for _ in range(WARM_UPS):
        graph.replay()
    marks = clock(device, REPEATS + 1)
    marks.mark()
    for _ in range(REPEATS):
        graph.replay()
        marks.mark()
    return differences(marks.elapsed_ns())


def _trace(graph: torch.cuda.CUDAGraph, device: torch.device) -> list[dict[str, Any]]:
    """The `traceEvents` of PROFILED_REPEATS replays, recorded as a window of steps is."""
    synchronize(device)
    with profiler(device) as profiling:
        for _ in range(PROFILED_REPEATS):
            graph.replay()
        synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiling.export_chrome_trace(str(path))
        events: list[dict[str, Any]] = json.loads(path.read_bytes())["traceEvents"]
    return events
