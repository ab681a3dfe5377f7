"""Busy and idle time: random traces against a count of every nanosecond, and real traces."""

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
from ridgeline.analyze.tables.gaps import gap_rows
from ridgeline.warehouse import connect
from ridgeline.warehouse.insertion import insert
from tests.analyze.loading import query
from tests.sampling import examples
from tests.warehouse.rows import define

H200 = Path(__file__).parents[2] / "data" / "h200"
SHARED = Path(__file__).parents[4] / "shared"

# Random traces: what the views say, against arrays with an entry for every nanosecond.

CALLS = ["cudaLaunchKernel", "cudaGraphLaunch", "cudaStreamSynchronize"]
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
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    reference: Callable[[str], Path],
    h200_warehouse: Path,
) -> list[Path]:
    """Warehouses of real traces, to be read only."""
    if request.param == H200:
        return [h200_warehouse]
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
