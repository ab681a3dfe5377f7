"""Gaps and their causes: exact rows of traces written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.tables.gaps import LAUNCH_LATENCY_NS, WAITING
from tests.analyze import kineto
from tests.analyze.together import Loading, together


def call(name: str, start_us: float, end_us: float, correlation: int = 0, tid: int = 400) -> kineto.Event:
    event = kineto.span("cuda_runtime", name, start_us, end_us - start_us, correlation=correlation)
    return event | {"tid": tid}


def launched(start_us: float, end_us: float, correlation: int = 2, tid: int = 400) -> kineto.Event:
    return call("cudaLaunchKernel", start_us, end_us, correlation, tid)


FIRST = [launched(90, 91, 1), kineto.kernel("a", 100, 10, 1)]
"""A kernel that ends at 110 us."""


def second(start_us: float, correlation: int | None = 2, **args: Any) -> kineto.Event:
    return kineto.kernel("b", start_us, 5, correlation, **args)


WAIT = "cudaStreamSynchronize"
COPY = "Memcpy DtoH (Device -> {})"


def copied_to(memory: str) -> list[kineto.Event]:
    """A copy that ends at 110 us, its call at 112, and a kernel launched after."""
    copy = kineto.kernel(COPY.format(memory), 100, 10, 1, category="gpu_memcpy", bytes=4)
    return [call("cudaMemcpyAsync", 95, 112, 1), copy, launched(115, 117), second(120)]


CASES: dict[str, tuple[list[kineto.Event], list[tuple[Any, ...]]]] = {
    # rows of the gap that begins at 110 us: the cause, and the parts in us (sync, host, call, queue)
    "the launch begins after the end": (
        [*FIRST, launched(115, 117), second(120)],
        [("host_late", 0, 5, 0, 0), ("launch_latency", 0, 0, 2, 3)],
    ),
    "the host waited as the kernel ended": (
        [*FIRST, call(WAIT, 95, 112), launched(115, 117), second(120)],
        [("synchronisation", 2, 0, 0, 0), ("host_late", 0, 3, 0, 0), ("launch_latency", 0, 0, 2, 3)],
    ),
    "another thread waited": (
        [*FIRST, call(WAIT, 95, 112, tid=401), launched(115, 117), second(120)],
        [("host_late", 0, 5, 0, 0), ("launch_latency", 0, 0, 2, 3)],
    ),
    "the host waited for what was done": (
        [*FIRST, call(WAIT, 112, 113), launched(115, 117), second(120)],
        [("host_late", 0, 2, 0, 0), ("synchronisation", 1, 0, 0, 0), ("host_late", 0, 2, 0, 0),
         ("launch_latency", 0, 0, 2, 3)],
    ),
    "waits that follow each other are one": (
        [*FIRST, call(WAIT, 111, 112), call("cudaFree", 112, 114), call(WAIT, 116, 117), launched(117, 118),
         second(119)],
        [("host_late", 0, 1, 0, 0), ("synchronisation", 3, 0, 0, 0), ("host_late", 0, 2, 0, 0),
         ("synchronisation", 1, 0, 0, 0), ("launch_latency", 0, 0, 1, 1)],
    ),
    "waits inside waits count once": (
        [*FIRST, call("cudaMemcpy", 95, 113), call("cuStreamSynchronize", 96, 112), launched(115, 117), second(120)],
        [("synchronisation", 3, 0, 0, 0), ("host_late", 0, 2, 0, 0), ("launch_latency", 0, 0, 2, 3)],
    ),
    "a wait ends as the kernel does": (
        [*FIRST, call(WAIT, 95, 110), launched(115, 117), second(120)],
        [("host_late", 0, 5, 0, 0), ("launch_latency", 0, 0, 2, 3)],
    ),
    "a copy to pageable memory waits": (
        copied_to("Pageable"),
        [("synchronisation", 2, 0, 0, 0), ("host_late", 0, 3, 0, 0), ("launch_latency", 0, 0, 2, 3)],
    ),
    "a copy to pinned memory does not": (
        copied_to("Pinned"),
        [("host_late", 0, 5, 0, 0), ("launch_latency", 0, 0, 2, 3)],
    ),
    "the launch begins at the end": (
        [*FIRST, launched(110, 112), second(113)],
        [("launch_latency", 0, 0, 2, 1)],
    ),
    "the launch was under way": (
        [*FIRST, launched(105, 140), second(141)],
        [("launch_latency", 0, 0, 30, 1)],
    ),
    "back to back": ([*FIRST, launched(92, 93), second(112)], [("launch_latency", 0, 0, 0, 2)]),
    "late for no reason": ([*FIRST, launched(92, 93), second(130)], [("unknown", 0, 0, 0, 20)]),
    "behind another stream": (
        [*FIRST, launched(92, 93), second(112, stream=8)],
        [("dependency", 0, 0, 0, 2)],
    ),
    "on another stream, but just launched": (
        [*FIRST, launched(104, 105), second(112, stream=8)],
        [("launch_latency", 0, 0, 0, 2)],
    ),
    "on another stream, whose own work had just ended": (
        [*FIRST, launched(92, 93), kineto.kernel("c", 106, 3, 1, stream=8), second(112, stream=8)],
        [("launch_latency", 0, 0, 0, 2)],
    ),
    "no launch recorded": ([*FIRST, second(112, None)], [("unknown", None, None, None, None)]),
    "launched before recording": (
        [kineto.annotation("x", 99, 1), kineto.kernel("a", 100, 10), second(112, None), launched(113, 114, 3),
         kineto.kernel("c", 117, 1, 3)],
        [("launch_latency", 0, 0, 0, 2)],
    ),
    "launched before recording, after work that ended before": (
        [kineto.annotation("x", 111, 1), kineto.kernel("a", 100, 10), second(112, None), launched(113, 114, 3),
         kineto.kernel("c", 117, 1, 3)],
        [("unknown", None, None, None, None)],
    ),
    "between nodes of a graph": (
        [call("cudaGraphLaunch", 90, 130, 1), kineto.kernel("a", 100, 10, 1), second(145, 1)],
        [("replay", 0, 0, 20, 15)],
    ),
    "between two graphs": (
        [call("cudaGraphLaunch", 90, 91, 1), call("cudaGraphLaunch", 92, 93, 2), kineto.kernel("a", 100, 10, 1),
         second(112)],
        [("launch_latency", 0, 0, 0, 2)],
    ),
    # launched late, and then the device waited for the queue
    "stalled in an idle queue": (
        [*FIRST, launched(115, 117), second(218)],
        [("host_late", 0, 5, 0, 0), ("launch_latency", 0, 0, 2, 0), ("unknown", 0, 0, 0, 101)],
    ),
    "stalled after the call": (
        [*FIRST, launched(105, 112), second(213)],
        [("launch_latency", 0, 0, 2, 0), ("unknown", 0, 0, 0, 101)],
    ),
    "not long in the queue": (
        [*FIRST, launched(115, 117), second(217)],
        [("host_late", 0, 5, 0, 0), ("launch_latency", 0, 0, 2, 100)],
    ),
    "longer on the host than in the queue": (
        [*FIRST, launched(400, 402), second(550)],
        [("host_late", 0, 290, 0, 0), ("launch_latency", 0, 0, 2, 0), ("unknown", 0, 0, 0, 148)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@together
def test_each_part_of_a_gap_has_its_cause(case: str, folder: Path) -> Loading:
    events, expected = CASES[case]
    run = yield kineto.write(folder / "t.json", events)
    columns = "start_ns, start_ns + duration_ns, after_kernel_id, cause, sync_ns, host_ns, call_ns, queue_ns"
    rows = run.query(
        f"SELECT {columns} FROM gaps QUALIFY MIN(gap_id) OVER (PARTITION BY after_kernel_id) = 0 ORDER BY gap_id",
    )
    assert [row[3:] for row in rows] == [
        (cause, *(part and 1000 * part for part in parts)) for cause, *parts in expected
    ]
    (next_ns,) = run.query(f"SELECT start_ns FROM kernels WHERE kernel_id = {rows[0][2]}")[0]
    # from the first kernel's end to the second's start, each row where the last one ended
    assert [110_000, *(row[1] for row in rows)] == [*(row[0] for row in rows), next_ns]


@pytest.mark.parametrize("wait_ns", [LAUNCH_LATENCY_NS, LAUNCH_LATENCY_NS + 1])
@together
def test_launching_explains_a_wait_up_to_its_limit(wait_ns: int, folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", [*FIRST, launched(92, 93), second(110 + wait_ns / 1000)])
    expected = "launch_latency" if wait_ns <= LAUNCH_LATENCY_NS else "unknown"
    assert run.query("SELECT cause, duration_ns FROM gaps") == [(expected, wait_ns)]


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("cudaDeviceSynchronize", True), ("cudaEventSynchronize", True), ("hipStreamSynchronize", True),
        ("cuCtxSynchronize", True), ("cudaMemcpy", True), ("cudaMemcpy2D", True), ("hipMemcpyWithStream", True),
        ("cuMemcpyDtoH_v2", True), ("cudaFree", True), ("cudaMemcpyAsync", False), ("cuMemcpyDtoHAsync_v2", False),
        ("cudaLaunchKernel", False), ("cudaFreeAsync", False), ("cudaStreamWaitEvent", False), ("cudaMalloc", False),
    ],
)  # fmt: skip
def test_calls_that_wait_are_known_by_name(name: str, waits: bool) -> None:
    assert bool(WAITING.search(name)) == waits


@together
def test_gaps_are_of_all_streams_of_one_device(folder: Path) -> Loading:
    events = [
        kineto.annotation("phase=decode step=1", 0, 50),
        kineto.annotation("phase=decode step=2", 50, 100),
        launched(10, 11, 1), launched(12, 13, 2), launched(14, 15, 3), launched(60, 61, 4), launched(62, 63, 5),
        kineto.kernel("a", 20, 30, 1),                # 20-50
        kineto.kernel("b", 30, 5, 2, stream=8),       # inside it
        kineto.kernel("c", 52, 4, 3, stream=8),       # 52-56
        kineto.kernel("d", 66, 4, 4),                 # 66-70, the next step
        kineto.kernel("e", 64, 6, 5, device=1),       # 64-70, alone on its device
    ]  # fmt: skip
    run = yield kineto.write(folder / "t.json", events)
    columns = "device_index, gap_id, start_ns, duration_ns, before_kernel_id, after_kernel_id, cause, step_id IS NULL"
    assert run.query(f"SELECT {columns} FROM gaps ORDER BY gap_id") == [
        (0, 0, 50_000, 2_000, 0, 2, "dependency", False),
        (0, 1, 56_000, 4_000, 2, 4, "host_late", True),
        (0, 2, 60_000, 6_000, 2, 4, "launch_latency", True),
    ]
    assert run.query("SELECT gaps, idle_ns FROM gap_summary WHERE step_id IS NULL") == [(1, 10_000)]
    columns = "step, device_index, wall_ns, busy_ns, dependency_ns"
    assert run.query(f"SELECT {columns} FROM step_timeline ORDER BY 1, 2") == [
        (1, 0, 36_000, 34_000, 2_000),
        (2, 0, 4_000, 4_000, 0),
        (2, 1, 6_000, 6_000, 0),
    ]
    assert run.query(
        "SELECT device_index, wall_ns, busy_ns, idle_ns, overlap_ns, dependency_ns, host_late_ns, launch_latency_ns"
        " FROM device_timeline ORDER BY 1",
    ) == [(0, 50_000, 38_000, 12_000, 5_000, 2_000, 4_000, 6_000), (1, 6_000, 6_000, 0, 0, 0, 0, 0)]
    assert run.query(
        "SELECT stream, kernels, wall_ns, busy_ns, idle_ns, overlap_ns, shared_ns FROM stream_summary"
        " WHERE device_index = 0 ORDER BY 1",
    ) == [(7, 2, 50_000, 34_000, 16_000, 0, 5_000), (8, 2, 26_000, 9_000, 17_000, 0, 5_000)]


@together
def test_work_of_others_between_is_outside_the_step(folder: Path) -> Loading:
    events = [
        kineto.annotation("phase=decode step=1", 0, 50),
        launched(10, 11, 1), launched(12, 13, 2), launched(14, 15, 3), launched(60, 61, 4),
        kineto.kernel("a", 20, 10, 1),  # 20-30
        kineto.kernel("b", 32, 8, 2),   # 32-40
        kineto.kernel("x", 65, 5, 4),   # of no step
        kineto.kernel("c", 71, 4, 3),   # 71-75
    ]  # fmt: skip
    run = yield kineto.write(folder / "t.json", events)
    columns = "wall_ns, busy_ns, launch_latency_ns, host_late_ns, outside_ns"
    assert run.query(f"SELECT {columns} FROM step_timeline") == [(55_000, 22_000, 8_000, 20_000, 5_000)]


@together
def test_queue_delay_of_each_launch(folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", [*FIRST, launched(111.5, 114), second(113), second(140, None)])
    columns = "kernel_id, correlation, launch_ns, call_ns, queue_ns, delay_ns"
    assert run.query(f"SELECT {columns} FROM launch_queue ORDER BY 1") == [
        (0, 1, 90_000, 1_000, 10_000, 9_000),
        (1, 2, 111_500, 2_500, 1_500, -1_000),
    ]
    columns = "kernels, queue_min_ns, queue_p50_ns, queue_p90_ns, queue_max_ns, call_p50_ns"
    assert run.query(f"SELECT {columns} FROM launch_summary") == [(2, 1500, 5750, 9150, 10_000, 1750)]


@together
def test_without_a_device_the_host_is_late(folder: Path) -> Loading:
    events = [
        kineto.annotation("phase=decode step=1", 0, 50),
        kineto.operator("aten::exp", 5, 10, 1, [[4]], ["float"]),
        kineto.operator("aten::exp", 18, 10, 2, [[4]], ["float"]),
    ]
    run = yield kineto.write(folder / "t.json", events)
    assert run.query("SELECT cause, duration_ns, host_ns, sync_ns + call_ns + queue_ns FROM gaps") == [
        ("host_late", 3_000, 3_000, 0)
    ]
    assert run.query("SELECT wall_ns, busy_ns, host_late_ns, outside_ns FROM step_timeline") == [
        (23_000, 20_000, 3_000, 0)
    ]
