"""The profiler's cost per node of a replayed graph, from handwritten events and timings, and on a device."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring import profiler_cost
from ridgeline.capture.measuring.profiler_cost import Replay, graph_cost, replays, total
from ridgeline.capture.records import GraphCost, ProfilerCost

CPU = torch.device("cpu")


def event(correlation: int, start_us: float, duration_us: float, category: str = "kernel") -> dict[str, Any]:
    return {"cat": category, "ts": start_us, "dur": duration_us, "args": {"correlation": correlation}}


EVENTS: list[dict[str, Any]] = [
    {"ph": "M", "name": "process_name", "args": {"name": "python"}},
    {
        "cat": "cuda_runtime",
        "name": "cudaGraphLaunch",
        "ts": 4742093940373.907,
        "dur": 16.0,
        "args": {"correlation": 7},
    },
    event(7, 4742093940490.962, 2.08),
    event(7, 4742093940493.300, 1.5),
    event(7, 4742093940489.9, 0.001),
    event(9, 4742093940600.0, 1.0),
    event(9, 4742093940601.5, 2.0),
    event(9, 4742093940700.0, 5.0, "gpu_memset"),
]


def test_a_replay_is_what_one_launch_brought_from_its_first_kernel_to_its_last() -> None:
    expected = [Replay(nodes=3, span_ns=4900, busy_ns=3581), Replay(nodes=2, span_ns=3500, busy_ns=3000)]
    assert replays(EVENTS) == expected
    shuffled = random.Random(0).sample(EVENTS, len(EVENTS))
    assert replays(shuffled) == expected
    assert replays([]) == []


def test_the_cost_of_a_node_is_the_difference_of_medians_over_the_nodes() -> None:
    profiled = [Replay(4, 9000, 700), Replay(4, 2000, 600), Replay(4, 1800, 500)]
    assert graph_cost(16, 4, [1000, 90_000, 1200, 900, 1010], profiled) == GraphCost(
        kernel_bytes=16, nodes=4, unprofiled_ns=1010, profiled_span_ns=2000, profiled_busy_ns=600, node_ns=247.5
    )


def test_a_replay_whose_kernels_the_profiler_lost_does_not_count() -> None:
    whole, part = Replay(4, 2000, 600), Replay(3, 5, 5)
    assert graph_cost(16, 4, [1000], [part, whole, part]) == graph_cost(16, 4, [1000], [whole])
    with pytest.raises(CaptureError, match=r"^the profiler saw 3 kernels of a graph at most; expected 4\.$"):
        graph_cost(16, 4, [1000], [part])
    with pytest.raises(CaptureError, match=r"^the profiler saw 0 kernels of a graph at most; expected 4\.$"):
        graph_cost(16, 4, [1000], [])


def test_the_cost_over_sizes_is_their_mean_and_keeps_them() -> None:
    graphs = [graph_cost(size, 4, [1000], [Replay(4, span, 600)]) for size, span in ((16, 2000), (64, 2400))]
    cost = total(graphs)
    assert (cost.graph_node_ns, cost.graphs, cost.message) == (300.0, graphs, None)
    assert cost.method is not None
    assert "(profiled span - unprofiled time) / nodes" in cost.method


class Graph:
    """Something to replay on any machine, that tells what was done to it."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name, self.data = log, name, torch.zeros(4)

    def replay(self) -> None:
        self.log.append(f"{self.name} {'watched' if torch.autograd.profiler._is_profiler_enabled else 'alone'}")
        self.data.relu_()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(profiler_cost, "_graph", lambda size, nodes, device: Graph(done, f"{size}x{nodes}"))
    return done


def test_all_graphs_are_timed_before_any_is_profiled(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = profiler_cost._trace

    def trace(graph: Any, device: torch.device) -> list[dict[str, Any]]:
        calls = [each for each in real(graph, device) if each["name"] == "aten::relu_"]
        assert len(calls) == profiler_cost.PROFILED_REPEATS
        # One launch brings both nodes, 40 us after each other.
        return [event(i, at, 10.0) for i in range(len(calls)) for at in (100.0 * i, 100.0 * i + 40)]

    monkeypatch.setattr(profiler_cost, "_trace", trace)
    monkeypatch.setattr(profiler_cost, "differences", lambda ends_ns: [20_000 for _ in ends_ns])
    cost = profiler_cost.calibrate(CPU, nodes=2, kernel_bytes=(16, 64))
    assert [graph.node_ns for graph in cost.graphs] == [(50_000 - 20_000) / 2] * 2
    assert [name for name, _ in itertools.groupby(log)] == ["16x2 alone", "64x2 alone", "16x2 watched", "64x2 watched"]
    assert log.count("16x2 alone") == profiler_cost.WARM_UPS + profiler_cost.REPEATS


def test_replays_without_the_profiler_are_timed_one_by_one(log: list[str]) -> None:
    times_ns = profiler_cost._unprofiled_ns(Graph(log, "g"), CPU)  # type: ignore[arg-type]
    assert len(times_ns) == profiler_cost.REPEATS
    assert min(times_ns) > 0


def test_a_process_calibrates_once_and_tries_again_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[CaptureError | ProfilerCost] = iter(
        [CaptureError("none"), ProfilerCost(graph_node_ns=1.0), ProfilerCost(graph_node_ns=2.0)]
    )

    def calibrate(_: torch.device) -> ProfilerCost:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(profiler_cost, "calibrate", calibrate)
    profiler_cost.calibrated.cache_clear()
    try:
        with pytest.raises(CaptureError):
            profiler_cost.calibrated(CPU)
        assert [profiler_cost.calibrated(CPU).graph_node_ns for _ in range(2)] == [1.0, 1.0]
    finally:
        profiler_cost.calibrated.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_s_nodes_cost_less_than_a_kernel() -> None:
    cost = profiler_cost.calibrate(torch.device("cuda"))
    assert [graph.nodes for graph in cost.graphs] == [profiler_cost.NODES] * 2
    for graph in cost.graphs:
        assert 0 < graph.profiled_busy_ns < graph.profiled_span_ns
        assert -200 < graph.node_ns < 1500
