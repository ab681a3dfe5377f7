"""Steps as windows over all threads of their process and all streams of its devices: rows of hand-written traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.analyze import kineto
from tests.analyze.loading import load, query, run_directory
from tests.analyze.together import Loading, Run, together
from tests.sampling import examples

STEPS = "SELECT phase, kind, step, iteration, start_ns, end_ns, busy_ns, idle_ns FROM steps ORDER BY start_ns, step_id"
TIMELINE = (
    "SELECT step, device_index, kernels, wall_ns, busy_ns, host_late_ns + synchronisation_ns + launch_latency_ns"
    " + dependency_ns + replay_ns + unknown_ns AS idle_ns, outside_ns FROM step_timeline ORDER BY step, device_index"
)
Launch = tuple[float, int, str, float, float]


def launched(*launches: Launch, pid: int = 400, device: int = 0, stream: int = 7) -> list[kineto.Event]:
    """Launches at a time on a thread, and their kernels: name, start and duration."""
    events = []
    for at_us, thread, name, start_us, duration_us in launches:
        correlation = round(1000 * at_us) + thread
        events += [kineto.launch(at_us, correlation) | {"pid": pid, "tid": thread}]
        events += [kineto.kernel(name, start_us, duration_us, correlation, device=device, stream=stream)]
    return events


def loaded(warehouse: Path, events: list[kineto.Event]) -> Path:
    load(warehouse, kineto.write(warehouse.parent / "t.json", events))
    return warehouse


def kernels(run: Run) -> list[tuple[Any, ...]]:
    return run.query("SELECT kernel, step, iteration FROM kernel_roofline ORDER BY kernel")


@together
def test_a_step_holds_what_any_thread_of_its_process_launches(folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", kineto.training_step(1) + kineto.training_step(2))
    # 17 kernels of 11.75 us in each iteration of 200 us, without a pause
    assert run.query("SELECT step, iteration, busy_ns, idle_ns FROM steps ORDER BY step") == [
        (1, 1, 199_750, 0),
        (2, 2, 199_750, 0),
    ]
    assert run.query(TIMELINE) == [(1, 0, 17, 199_750, 199_750, 0, 0), (2, 0, 17, 199_750, 199_750, 0, 0)]
    assert run.query("SELECT idle_share, bound, diagnosis FROM step_diagnosis") == [
        (0, "device", "device-bound, even under the profiler")
    ]
    assert run.query("SELECT wall_ns, busy_ns, gap_ns, kernels FROM step_summary") == [(199_750, 199_750, 0, 17)] * 2


@together
def test_labels_nest_and_the_innermost_phase_is_the_step(folder: Path) -> Loading:
    """An iteration holds for the phases inside it, on its own thread and on others; alone it is the step."""
    events = [
        kineto.annotation("ProfilerStep#7", 0, 100),
        kineto.annotation("phase=train step=3", 10, 20),
        *kineto.on_thread(402, kineto.annotation("phase=sample", 40, 20)),
    ]
    events += launched((5, 400, "a", 101, 1), (15, 400, "b", 102, 1), (16, 401, "c", 103, 1), (45, 402, "d", 104, 1))
    events += launched((50, 400, "e", 105, 1), (80, 401, "f", 106, 1))
    run = yield kineto.write(folder / "t.json", events)
    assert kernels(run) == [("a", 7, 7), ("b", 3, 7), ("c", 3, 7), ("d", 7, 7), ("e", 7, 7), ("f", 7, 7)]
    phases = run.query("SELECT kernel, phase FROM kernel_roofline WHERE phase IS NOT NULL ORDER BY kernel")
    # a launch on the label's own thread goes to the label there, whatever other threads do
    assert phases == [("b", "train"), ("c", "train"), ("d", "sample")]


@together
def test_a_step_named_twice_is_one_step(folder: Path) -> Loading:
    """SGLang's own label inside that of a profiler on top of it; of two labels inside one, each is a step."""
    outer = "execute_context_0(0)_generation_8(8)"
    events = [kineto.annotation(outer, 0, 30), kineto.annotation("step[DECODE bs=8]", 10, 10)]
    events += [kineto.annotation(outer, 50, 50), kineto.annotation("step[DECODE bs=4]", 60, 10)]
    events += [kineto.annotation("phase=decode", 200, 90)]
    events += [kineto.annotation("phase=decode", at, 10) for at in (210, 250)]
    launches = [(float(at), 400, "k", at + 1.0, 2.0) for at in (1, 12, 25, 52, 62, 202, 215, 255)]
    run = yield kineto.write(folder / "t.json", events + launched(*launches))
    rows = run.query(
        "SELECT phase, kind, requests, host_start_ns, count(kernel_id)"
        " FROM steps LEFT JOIN kernels USING (run_id, step_id) GROUP BY ALL ORDER BY host_start_ns",
    )
    assert rows == [
        ("decode", "decode", 8, 0, 3),
        ("decode", "decode", 8, 50_000, 1),
        ("decode", "decode", 4, 60_000, 1),
        ("decode", None, None, 200_000, 1),
        ("decode", None, None, 210_000, 1),
        ("decode", None, None, 250_000, 1),
    ]


@together
def test_processes_stay_apart(folder: Path) -> Loading:
    header = kineto.HEADER | {"deviceProperties": kineto.HEADER["deviceProperties"] * 2}
    events = []
    for rank, pid in enumerate((400, 500)):
        label = kineto.annotation(f"ProfilerStep#{rank + 1}", 10 * rank, 100) | {"pid": pid, "tid": pid}
        mine = launched(
            (20 + rank, pid + 1, f"k{rank}", 30 + rank, 9), (5, pid, f"l{rank}", 50, 5), pid=pid, device=rank
        )
        events += [label, *[event | ({"pid": rank} if event["cat"] == "kernel" else {}) for event in mine]]
    run = yield kineto.write(folder / "t.json", events, header=header)
    assert kernels(run) == [("k0", 1, 1), ("k1", 2, 2), ("l0", 1, 1), ("l1", None, None)]


@together
def test_idle_is_time_in_which_the_device_ran_nothing_of_any_step(folder: Path) -> Loading:
    """Steps overlap on two streams; a kernel of no step runs in between."""
    first = launched((1, 400, "a", 10, 10), (2, 400, "b", 30, 10), (3, 400, "c", 60, 10))
    second = launched((11, 400, "d", 25, 10), (12, 400, "e", 80, 5), stream=8)
    labels = [kineto.annotation("phase=p step=1", 0, 9), kineto.annotation("phase=p step=2", 10, 9)]
    run = yield kineto.write(folder / "t.json", labels + first + second + launched((20, 400, "x", 45, 5)))
    # gaps: 20-25, 40-45, 50-60, 70-80
    assert run.query(STEPS) == [
        ("p", None, 1, None, 10_000, 70_000, 30_000, 20_000),
        ("p", None, 2, None, 25_000, 85_000, 15_000, 25_000),
    ]
    assert run.query(TIMELINE) == [
        (1, 0, 3, 60_000, 30_000, 20_000, 10_000),
        (2, 0, 2, 60_000, 15_000, 25_000, 20_000),
    ]
    gaps = run.query("SELECT g.start_ns, s.step FROM gaps g JOIN steps s USING (run_id, step_id) ORDER BY 1")
    # of the two steps around a gap, the last to begin
    assert gaps == [(20_000, 1), (40_000, 2), (50_000, 2), (70_000, 2)]


@together
def test_of_several_devices_a_step_has_the_time_in_which_any_or_none_worked(folder: Path) -> Loading:
    events = [kineto.annotation("phase=p step=1", 0, 9)]
    events += launched((1, 400, "a", 10, 10), (2, 400, "b", 50, 10))
    events += launched((3, 400, "c", 15, 15), (4, 400, "d", 40, 5), device=1)
    run = yield kineto.write(folder / "t.json", events)
    assert run.query(STEPS) == [("p", None, 1, None, 10_000, 60_000, 35_000, 15_000)]
    assert run.query(TIMELINE) == [(1, 0, 2, 50_000, 20_000, 30_000, 0), (1, 1, 2, 30_000, 20_000, 10_000, 0)]


@pytest.mark.parametrize("device", [True, False])
@together
def test_a_trace_without_labels_is_one_step(folder: Path, device: bool) -> Loading:
    events = [kineto.operator("aten::mm", 5, 10, 1), kineto.operator("aten::add", 20, 10, 2) | {"tid": 401}]
    if device:
        events += [kineto.kernel("early", 1, 2, 99), *launched((6, 400, "a", 10, 10), (21, 401, "b", 30, 10))]
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query(
        "SELECT kind, step, host_start_ns, host_duration_ns, start_ns, end_ns, busy_ns, idle_ns FROM steps"
    )
    window = (1_000, 40_000, 22_000, 17_000) if device else (5_000, 30_000, 20_000, 5_000)
    assert rows == [("trace", 0, 5_000, 25_000, *window)]
    assert run.query("SELECT DISTINCT kind, step FROM kernel_roofline") == [("trace", 0)]
    assert [row[3:] for row in run.query(TIMELINE)] == [(window[1] - window[0], *window[2:], 0)]


@together
def test_what_was_launched_before_a_labelled_recording_is_in_no_step(folder: Path) -> Loading:
    events = [
        kineto.annotation("ProfilerStep#1", 5, 90),
        kineto.kernel("early", 10, 2, 99),
        *launched((6, 400, "a", 20, 9)),
    ]
    run = yield kineto.write(folder / "t.json", events)
    assert kernels(run) == [("a", 1, 1), ("early", None, None)]


def unprofiled(folder: Path, events: list[kineto.Event], step_ns: int) -> Path:
    timing = {"metric": "step", "step": 1, "repeat": 0, "value_ns": step_ns}
    run_directory(folder, {"format": 1, "name": "r", "outcome": "ok", "timings": [timing]}, trace=False)
    kineto.write(folder / "trace.json.gz", events)
    return folder


@together
def test_a_busy_device_never_waits_for_the_host(folder: Path) -> Loading:
    """Whatever an unprofiled timing says: under the profiler, which only slows the host, the device had no pause."""
    run = yield unprofiled(folder / "r", kineto.training_step(1) + kineto.training_step(2), 900_000)
    (row,) = run.query("SELECT basis, idle_ns, bound, confidence, diagnosis FROM step_diagnosis")
    assert row[:4] == ("unprofiled", 700_250, "unknown", "low")
    assert "host-bound" not in row[4]


@together
def test_waits_between_steps_are_the_host_s(folder: Path) -> Loading:
    """Each iteration loads a batch for 80 us, then its kernels run without a pause."""
    events = []
    for number in range(3):
        start_us = 100.0 * number
        events += [kineto.annotation(f"ProfilerStep#{number}", start_us, 99)]
        events += launched((start_us + 80, 400, "a", start_us + 82, 10), (start_us + 81, 400, "b", start_us + 92, 8))
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query("SELECT idle_ns, bound, confidence, diagnosis FROM step_diagnosis")
    assert rows == [(0, "host", "low", "host-bound between steps: the device waits for each step to begin")]


@together
def test_waiting_for_another_stream_is_not_the_host_s(folder: Path) -> Loading:
    events = [kineto.annotation("ProfilerStep#1", 0, 20), *launched((1, 400, "a", 10, 10))]
    # launched in time on another stream, 40 us before it starts
    events += launched((2, 400, "b", 60, 10), stream=8) + launched((3, 400, "c", 5, 1), stream=8)
    run = yield kineto.write(folder / "t.json", events)
    (row,) = run.query("SELECT idle_ns, bound, diagnosis FROM step_diagnosis")
    assert row[:2] == (44_000, "unknown")
    assert row[2].startswith("unknown: the device is idle for over a fifth of the step, but the host causes less")


WINDOWS = st.tuples(st.integers(0, 60), st.integers(1, 60), st.sampled_from([400, 401]))
WORK = st.tuples(st.integers(0, 90), st.integers(0, 40), st.integers(0, 15), st.sampled_from([400, 401, 402]),
    st.sampled_from([7, 8]), st.integers(0, 1))  # fmt: skip


@settings(examples("warehouse"), suppress_health_check=list(HealthCheck))
@given(windows=st.lists(WINDOWS, max_size=4), work=st.lists(WORK, min_size=1, max_size=10))
@example(windows=[(0, 1, 400), (0, 1, 401)], work=[(0, 0, 0, 400, 7, 1), (1, 0, 0, 400, 7, 1)])
def test_a_step_is_idle_no_longer_than_its_device(
    tmp_path_factory: pytest.TempPathFactory, windows: list[tuple[int, ...]], work: list[tuple[int, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    events = [
        kineto.annotation(f"phase=p step={number}", start, duration) | {"tid": thread}
        for number, (start, duration, thread) in enumerate(windows)
    ]
    spans: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
    for number, (at, wait, duration, thread, stream, device) in enumerate(work):
        spans[device].append((at + wait, at + wait + duration))
        events += [kineto.launch(at, number + 1) | {"tid": thread}]
        events += [kineto.kernel("k", at + wait, duration, number + 1, device=device, stream=stream)]
    warehouse = loaded(folder / "w.duckdb", events)

    def idle_us(devices: list[int], start_ns: int, end_ns: int) -> int:
        """Microseconds in which no kernel of the devices runs, one by one."""
        running = [span for device in devices for span in spans[device]]
        return sum(not any(a <= us < b for a, b in running) for us in range(start_ns // 1000, end_ns // 1000))

    columns = "step_id, device_index, start_ns, end_ns, wall_ns - busy_ns - outside_ns, outside_ns, busy_ns"
    of_steps: dict[int, list[int]] = {}
    for step, device, start_ns, end_ns, idle_ns, outside_ns, busy_ns in query(
        warehouse, f"SELECT {columns} FROM step_timeline"
    ):
        of_steps.setdefault(step, []).append(device)
        assert idle_ns == 1000 * idle_us([device], start_ns, end_ns)
        assert min(outside_ns, busy_ns) >= 0
    for step, start_ns, end_ns, busy_ns, idle_ns in query(
        warehouse, "SELECT step_id, start_ns, end_ns, busy_ns, idle_ns FROM steps WHERE start_ns IS NOT NULL"
    ):
        assert idle_ns == 1000 * idle_us(of_steps[step], start_ns, end_ns)
        assert busy_ns + idle_ns <= end_ns - start_ns
    diagnosed = query(warehouse, "SELECT bound, idle_share, diagnosis FROM step_diagnosis")
    # a step that takes no time has no share
    assert all(bound != "host" or "between" in text or share > 0.2 for bound, share, text in diagnosed)
    assert json.dumps(diagnosed)  # no NaN, no infinity
