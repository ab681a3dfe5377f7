"""Gaps and their causes: exact rows of traces written by hand, and random ones against a count of every nanosecond."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.reading.events import Header
from ridgeline.analyze.reading.trace import Trace
from ridgeline.analyze.tables.gaps import LAUNCH_LATENCY_NS, WAITING, gap_rows
from ridgeline.warehouse import connect
from ridgeline.warehouse.load import insert
from tests.analyze import kineto
from tests.analyze.loading import load, query
from tests.sampling import examples
from tests.warehouse.rows import define

H200 = Path(__file__).parents[2] / "data" / "h200"
SHARED = Path(__file__).parents[4] / "shared"


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
def test_each_part_of_a_gap_has_its_cause(case: str, tmp_path: Path, warehouse: Path) -> None:
    events, expected = CASES[case]
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    columns = "start_ns, start_ns + duration_ns, after_kernel_id, cause, sync_ns, host_ns, call_ns, queue_ns"
    rows = query(
        warehouse,
        f"SELECT {columns} FROM gaps QUALIFY MIN(gap_id) OVER (PARTITION BY after_kernel_id) = 0 ORDER BY gap_id",
    )
    assert [row[3:] for row in rows] == [
        (cause, *(part and 1000 * part for part in parts)) for cause, *parts in expected
    ]
    (next_ns,) = query(warehouse, f"SELECT start_ns FROM kernels WHERE kernel_id = {rows[0][2]}")[0]
    # from the first kernel's end to the second's start, each row where the last one ended
    assert [110_000, *(row[1] for row in rows)] == [*(row[0] for row in rows), next_ns]


@pytest.mark.parametrize("wait_ns", [LAUNCH_LATENCY_NS, LAUNCH_LATENCY_NS + 1])
def test_launching_explains_a_wait_up_to_its_limit(wait_ns: int, tmp_path: Path, warehouse: Path) -> None:
    load(warehouse, kineto.write(tmp_path / "t.json", [*FIRST, launched(92, 93), second(110 + wait_ns / 1000)]))
    expected = "launch_latency" if wait_ns <= LAUNCH_LATENCY_NS else "unknown"
    assert query(warehouse, "SELECT cause, duration_ns FROM gaps") == [(expected, wait_ns)]


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


def test_gaps_are_of_all_streams_of_one_device(tmp_path: Path, warehouse: Path) -> None:
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
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    columns = "device_index, gap_id, start_ns, duration_ns, before_kernel_id, after_kernel_id, cause, step_id IS NULL"
    assert query(warehouse, f"SELECT {columns} FROM gaps ORDER BY gap_id") == [
        (0, 0, 50_000, 2_000, 0, 2, "dependency", False),
        (0, 1, 56_000, 4_000, 2, 4, "host_late", True),
        (0, 2, 60_000, 6_000, 2, 4, "launch_latency", True),
    ]
    assert query(warehouse, "SELECT gaps, idle_ns FROM gap_summary WHERE step_id IS NULL") == [(1, 10_000)]
    columns = "step, device_index, wall_ns, busy_ns, dependency_ns"
    assert query(warehouse, f"SELECT {columns} FROM step_timeline ORDER BY 1, 2") == [
        (1, 0, 36_000, 34_000, 2_000),
        (2, 0, 4_000, 4_000, 0),
        (2, 1, 6_000, 6_000, 0),
    ]
    assert query(
        warehouse,
        "SELECT device_index, wall_ns, busy_ns, idle_ns, overlap_ns, dependency_ns, host_late_ns, launch_latency_ns"
        " FROM device_timeline ORDER BY 1",
    ) == [(0, 50_000, 38_000, 12_000, 5_000, 2_000, 4_000, 6_000), (1, 6_000, 6_000, 0, 0, 0, 0, 0)]
    assert query(
        warehouse,
        "SELECT stream, kernels, wall_ns, busy_ns, idle_ns, overlap_ns, shared_ns FROM stream_summary"
        " WHERE device_index = 0 ORDER BY 1",
    ) == [(7, 2, 50_000, 34_000, 16_000, 0, 5_000), (8, 2, 26_000, 9_000, 17_000, 0, 5_000)]


def test_work_of_others_between_is_outside_the_step(tmp_path: Path, warehouse: Path) -> None:
    events = [
        kineto.annotation("phase=decode step=1", 0, 50),
        launched(10, 11, 1), launched(12, 13, 2), launched(14, 15, 3), launched(60, 61, 4),
        kineto.kernel("a", 20, 10, 1),  # 20-30
        kineto.kernel("b", 32, 8, 2),   # 32-40
        kineto.kernel("x", 65, 5, 4),   # of no step
        kineto.kernel("c", 71, 4, 3),   # 71-75
    ]  # fmt: skip
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    columns = "wall_ns, busy_ns, launch_latency_ns, host_late_ns, outside_ns"
    assert query(warehouse, f"SELECT {columns} FROM step_timeline") == [(55_000, 22_000, 8_000, 20_000, 5_000)]


def test_queue_delay_of_each_launch(tmp_path: Path, warehouse: Path) -> None:
    load(warehouse, kineto.write(tmp_path / "t.json", [*FIRST, launched(111.5, 114), second(113), second(140, None)]))
    columns = "kernel_id, correlation, launch_ns, call_ns, queue_ns, delay_ns"
    assert query(warehouse, f"SELECT {columns} FROM launch_queue ORDER BY 1") == [
        (0, 1, 90_000, 1_000, 10_000, 9_000),
        (1, 2, 111_500, 2_500, 1_500, -1_000),
    ]
    columns = "kernels, queue_min_ns, queue_p50_ns, queue_p90_ns, queue_max_ns, call_p50_ns"
    assert query(warehouse, f"SELECT {columns} FROM launch_summary") == [(2, 1500, 5750, 9150, 10_000, 1750)]


def test_without_a_device_the_host_is_late(tmp_path: Path, warehouse: Path) -> None:
    events = [
        kineto.annotation("phase=decode step=1", 0, 50),
        kineto.operator("aten::exp", 5, 10, 1, [[4]], ["float"]),
        kineto.operator("aten::exp", 18, 10, 2, [[4]], ["float"]),
    ]
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    assert query(warehouse, "SELECT cause, duration_ns, host_ns, sync_ns + call_ns + queue_ns FROM gaps") == [
        ("host_late", 3_000, 3_000, 0)
    ]
    assert query(warehouse, "SELECT wall_ns, busy_ns, host_late_ns, outside_ns FROM step_timeline") == [
        (23_000, 20_000, 3_000, 0)
    ]


# Random traces: what the views say, against arrays with an entry for every nanosecond.

CALLS = ["cudaLaunchKernel", "cudaGraphLaunch", WAIT]
launches = st.tuples(st.integers(0, 60), st.integers(0, 9), st.integers(0, 1), st.sampled_from(range(len(CALLS))))
kernels = st.tuples(
    st.integers(0, 60),
    st.integers(0, 12),
    st.integers(0, 1),
    st.integers(7, 9),
    st.integers(-1, 6),
    st.sampled_from([None, 1, 2]),
)


def made(calls: list[tuple[int, ...]], rows: list[tuple[Any, ...]]) -> tuple[Trace, pl.DataFrame]:
    """A trace with these launches, and the activities they have become."""
    launches = pl.DataFrame(calls, ["start_ns", "duration_ns", "thread", "name"], orient="row").cast(pl.Int64)
    nothing = pl.DataFrame(schema={"start_ns": pl.Int64})
    trace = Trace(nothing, launches, nothing, nothing, nothing, nothing, CALLS, [], [], Header(), "", 0, 0, 0)
    schema = dict.fromkeys(["start_ns", "duration_ns", "device", "stream", "launch", "step_label"], pl.Int64)
    activities = pl.DataFrame(rows, schema, orient="row").sort("start_ns", "device", "stream")
    known = pl.when((pl.col("launch") >= 0) & (pl.col("launch") < len(calls))).then("launch")
    names = [CALLS[call[3]] for call in calls]
    zero = pl.lit(0, dtype=pl.Int64)
    activities = activities.with_columns(
        launch=known, name=zero, attribution=pl.lit("launch"), rank=zero, device_index="device"
    )
    return trace, activities.with_columns(
        replay=pl.Series([i is not None and names[i] == CALLS[1] for i in activities["launch"]], dtype=pl.Boolean)
    )


def working(rows: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """How many of the kernels ran in each nanosecond."""
    counts = np.zeros(80, dtype=np.int64)
    for row in rows:
        counts[row["start_ns"] : row["start_ns"] + row["duration_ns"]] += 1
    return counts


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Any:
    connection = connect(tmp_path_factory.mktemp("timeline") / "w.duckdb")
    define(connection)
    yield connection
    connection.close()


@examples("milliseconds")
@given(st.lists(launches, max_size=5), st.lists(kernels, min_size=1, max_size=14))
def test_every_nanosecond_is_busy_or_in_one_gap(
    scratch: Any, calls: list[tuple[int, ...]], rows: list[tuple[Any, ...]]
) -> None:
    trace, activities = made(calls, rows)
    gaps = gap_rows(trace, activities)
    fill(scratch, activities, gaps)
    told = activities.to_dicts()
    for device in sorted({row["device"] for row in told}):
        mine = [row for row in told if row["device"] == device]
        first, last = span(mine)
        counts = working(mine)
        idle = [(t, counts[t] == 0 and first <= t < last) for t in range(80)]
        expected = [list(run) for is_idle, run in groupby(idle, lambda moment: moment[1]) if is_idle]
        found = gaps.filter(pl.col("device_index") == device).select("start_ns", "duration_ns").rows()
        assert joined(found) == [(run[0][0], len(run)) for run in expected]
        total = sum(row["duration_ns"] for row in mine)
        busy = int((counts > 0).sum())
        (row,) = scratch.execute(
            "SELECT wall_ns, busy_ns, idle_ns, overlap_ns, host_late_ns + synchronisation_ns + launch_latency_ns"
            " + dependency_ns + replay_ns + unknown_ns FROM device_timeline WHERE device_index = ?",
            [device],
        ).fetchall()
        idle_ns = last - first - busy
        assert row == (last - first, busy, idle_ns, total - busy, idle_ns)
        check_streams(scratch, device, mine)
        check_steps(scratch, device, mine)
    parts = gaps.select("duration_ns", "sync_ns", "host_ns", "call_ns", "queue_ns").drop_nulls().rows()
    assert all(min(each) >= 0 and sum(each) == duration for duration, *each in parts)
    assert len(parts) == len(gaps) - gaps["queue_ns"].null_count()


def fill(connection: Any, activities: pl.DataFrame, gaps: pl.DataFrame) -> None:
    """The tables the views read, with these rows alone."""
    for table in ("kernels", "gaps", "steps"):
        connection.execute(f"DELETE FROM {table}")
    zero = pl.lit(0, dtype=pl.Int64)
    rows = activities.select(
        "start_ns",
        "duration_ns",
        "stream",
        pl.col("device").alias("device_index"),
        pl.col("step_label").alias("step_id"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("kernel_id"),
        zero.alias("class_id"),
        zero.alias("rank"),
    )
    insert(connection, "kernels", rows, "r")
    insert(connection, "gaps", gaps, "r")
    for step in (1, 2):
        connection.execute(
            "INSERT INTO steps (run_id, rank, step_id, host_start_ns, host_duration_ns) VALUES ('r', 0, ?, 0, 0)",
            [step],
        )


def span(rows: list[dict[str, Any]]) -> tuple[int, int]:
    return min(row["start_ns"] for row in rows), max(row["start_ns"] + row["duration_ns"] for row in rows)


def joined(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Gaps with those that only a kernel of no duration divides in one; they must not overlap."""
    whole: list[tuple[int, int]] = []
    for start, duration in gaps:
        assert duration > 0
        if whole and sum(whole[-1]) == start:
            start, duration = whole[-1][0], whole.pop()[1] + duration
        assert not whole or sum(whole[-1]) < start
        whole.append((start, duration))
    return whole


def check_streams(connection: Any, device: int, rows: list[dict[str, Any]]) -> None:
    streams = {
        stream: working([row for row in rows if row["stream"] == stream]) for stream in {r["stream"] for r in rows}
    }
    active = sum(counts > 0 for counts in streams.values())
    expected = []
    for stream, counts in sorted(streams.items()):
        first, last = span([row for row in rows if row["stream"] == stream])
        busy = int((counts > 0).sum())
        shared = int(((counts > 0) & (active >= 2)).sum())
        expected.append((stream, last - first, busy, last - first - busy, int(counts.sum()) - busy, shared))
    columns = "stream, wall_ns, busy_ns, idle_ns, overlap_ns, shared_ns"
    query = f"SELECT {columns} FROM stream_summary WHERE device_index = ? ORDER BY 1"
    assert connection.execute(query, [device]).fetchall() == expected


def check_steps(connection: Any, device: int, rows: list[dict[str, Any]]) -> None:
    expected = []
    for step in sorted({row["step_label"] for row in rows} - {None}):
        mine = [row for row in rows if row["step_label"] == step]
        first, last = span(mine)
        expected.append((step, last - first, int((working(mine) > 0).sum()), last - first))
    columns = (
        "step_id, wall_ns, busy_ns, busy_ns + host_late_ns + synchronisation_ns + launch_latency_ns + dependency_ns"
    )
    query = f"SELECT {columns} + replay_ns + unknown_ns + outside_ns, outside_ns FROM step_timeline"
    found = connection.execute(f"{query} WHERE device_index = ? ORDER BY 1", [device]).fetchall()
    assert [row[:-1] for row in found] == expected
    assert all(row[-1] >= 0 for row in found)


# Real traces.


@pytest.fixture(scope="module", params=[H200, SHARED / "h200", SHARED / "traces"], ids=["ours", "h200", "foreign"])
def real(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, reference: Callable[[str], Path]
) -> list[Path]:
    """Warehouses of real traces, to be read only."""
    if not request.param.is_dir():
        pytest.skip("the reference traces are not beside the project")
    if request.param == SHARED / "h200":
        names = [path.name.partition(".")[0] for path in request.param.glob("*.json.gz") if ".et." not in path.name]
        assert len(names) > 3
        return [reference(name) for name in names]
    path = tmp_path_factory.mktemp("real") / "w.duckdb"
    assert {result.outcome for result in analyze([request.param], path)} == {"loaded"}
    return [path]


def of_all(warehouses: list[Path], sql: str) -> list[tuple[Any, ...]]:
    return [row for warehouse in warehouses for row in query(warehouse, sql)]


def test_real_devices_are_busy_or_idle(real: list[Path]) -> None:
    rows = of_all(
        real,
        "SELECT r.run_id, wall_ns - busy_ns - idle_ns, r.device_time_ns - d.busy_ns - d.overlap_ns, idle_ns"
        " - host_late_ns - synchronisation_ns - launch_latency_ns - dependency_ns - replay_ns - unknown_ns"
        " FROM runs r JOIN device_timeline d USING (run_id)",
    )
    assert len(rows) == len(of_all(real, "FROM runs"))
    assert {row[1:] for row in rows} == {(0, 0, 0)}


def test_real_steps_are_work_and_explained_gaps(real: list[Path]) -> None:
    rows = of_all(
        real,
        "SELECT s.end_ns - s.start_ns - s.busy_ns - s.idle_ns - outside_ns, s.idle_ns - host_late_ns"
        " - synchronisation_ns - launch_latency_ns - dependency_ns - replay_ns - unknown_ns, t.busy_ns - s.busy_ns,"
        " LEAST(outside_ns, 0) FROM steps s JOIN step_timeline t USING (run_id, rank, step_id)",
    )
    assert set(rows) == {(0, 0, 0, 0)}


def test_parts_of_real_gaps_sum_to_them(real: list[Path]) -> None:
    counted = "count(*), count(queue_ns), count(*) FILTER (sync_ns + host_ns + call_ns + queue_ns = duration_ns)"
    least = "min(least(sync_ns, host_ns, call_ns, queue_ns))"
    # counter ranges that all last equally long have no durations
    timed = "(SELECT gaps.* FROM gaps JOIN runs USING (run_id) WHERE device_time_ns > 0)"
    for gaps, known, sums, smallest in of_all(real, f"SELECT {counted}, {least} FROM {timed}"):
        assert (sums, smallest) == (known, 0)
        assert known > 0.99 * gaps
