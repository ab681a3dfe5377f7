"""Counting the steps of any program: what it counts, leaves out, survives, and how long it waits."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.capture.counters import by_cupti, counting, watchdog
from ridgeline.capture.counters.counting import Counting
from ridgeline.capture.counters.watchdog import watched
from tests.capture.counters.conftest import Machine, steps

CUDA = torch.device("cuda", 0)
FIRST, SECOND, THIRD = steps("train", "train", "train")


def counted(rows: list[Any]) -> list[tuple[int, str]]:
    """Step and kernel of every launch."""
    return [(row.step, row.kernel) for row in rows if row.metric == "dram__bytes_read.sum"]


def test_kernels_between_steps_are_neither_counted_nor_an_error(machine: Machine, tmp_path: Path) -> None:
    with Counting(CUDA, kernels=2) as count, count.window():
        machine.launch("between")
        with count.step(FIRST):
            machine.launch("f", "g")
        machine.launch("between", "between")
        with count.step(SECOND):
            machine.launch("f", "h")
        machine.launch("between")
    assert counted(count.rows) == [(5, "f"), (5, "g"), (6, "f"), (6, "h")]
    assert count.report.problems == [
        "steps 5 and 6 are all train and differ: kernel 1 is 'g' in one and 'h' in the other"
    ]
    assert count.write(tmp_path / "x.csv.gz")
    assert by_cupti.read(tmp_path / "x.csv.gz") == count.rows


def test_the_sets_left_are_named_in_order(machine: Machine) -> None:
    count = Counting(CUDA, sets=("sass", "memory"), kernels=2)
    left = []
    while count.sets:
        left.append(count.sets)
        with count.window(), count.step(FIRST):
            machine.launch("f")
    assert left == [(counting.UNCOUNTED, "sass", "memory"), ("sass", "memory"), ("memory",)]
    assert [window.name for window in count.report.windows] == ["sass", "memory"]


def test_kernels_of_other_threads_are_the_step_s(machine: Machine) -> None:
    with Counting(CUDA, kernels=2) as count, count.window(), count.step(FIRST):
        helper = threading.Thread(target=machine.launch, args=("backward",))
        helper.start()
        helper.join()
        machine.launch("optimizer")
    assert counted(count.rows) == [(5, "backward"), (5, "optimizer")]


def test_one_device_is_counted_and_the_others_are_named(machine: Machine) -> None:
    with Counting(CUDA, kernels=2) as count, count.window():
        for step in (FIRST, SECOND):
            with count.step(step):
                machine.launch("f")
                machine.launch("f", device=1)
                machine.launch("g")
    assert counted(count.rows) == [(5, "f"), (5, "g"), (6, "f"), (6, "g")]
    assert count.report.problems == ["the steps also run kernels on devices 1; only device 0 is counted"]


def test_streams_that_overlap_without_counters_are_compared_in_the_order_of_launches(machine: Machine) -> None:
    with Counting(CUDA, sets=("sass",), kernels=None) as count:
        while count.sets:
            overlap = count.sets == (counting.UNCOUNTED, "sass")
            with count.window(), count.step(FIRST):
                machine.launch("compute", "collective")
                if overlap:
                    machine.reverse()
    assert count.report.problems == []
    assert [row.kernel for row in count.rows[:: len(by_cupti.METRIC_SETS["sass"])]] == ["compute", "collective"]


def test_a_step_that_raises_is_left_out_and_the_others_are_kept(machine: Machine) -> None:
    count = Counting(CUDA, kernels=1)

    def program() -> None:
        with count.window():
            for step in (FIRST, SECOND):
                with count.step(step):
                    machine.launch("f")
                    assert step is FIRST

    with pytest.raises(AssertionError):
        program()
    assert counted(count.rows) == [(5, "f")]
    assert count.report.problems == []
    assert machine.calls.count("cuptiRangeProfilerStop") == 2
    assert machine.calls[-2:] == ["cuptiRangeProfilerDisable", "cuptiProfilerHostDeinitialize"]


def test_what_fails_in_counting_does_not_fail_the_program(machine: Machine) -> None:
    ran = []
    with Counting(CUDA, sets=("memory", "tensor"), kernels=1) as count:
        while count.sets:
            with count.window():
                for step in (FIRST, SECOND, THIRD):
                    machine.failing = "cuptiRangeProfilerStop" if step is SECOND else ""
                    with count.step(step):
                        machine.launch("f")
                        ran.append(step.index)
    assert ran == [5, 6, 7]
    assert counted(count.rows) == [(5, "f")]
    assert count.report.problems == ["counting stopped: cuptiRangeProfilerStop: 1 CUPTI_ERROR_UNKNOWN"]


def test_any_exception_of_the_profiler_is_one_line(machine: Machine) -> None:
    machine.broken = RuntimeError("Can't disable\nKineto")
    with Counting(CUDA, kernels=1) as count, count.window(), count.step(FIRST):
        machine.launch("f")
    assert (count.rows, count.sets) == ([], ())
    assert count.report.problems == ["counting stopped: RuntimeError: Can't disable Kineto"]
    assert "cuptiRangeProfilerEnable" not in machine.calls


def test_a_trace_that_another_profiler_took_the_kernels_from_says_so(machine: Machine) -> None:
    with Counting(CUDA, kernels=1) as count, count.window():
        with count.step(FIRST):
            machine.launch("f")
        machine.lose_trace()
    assert count.rows == []
    assert count.report.problems == [
        "window memory: step 5 left out: the trace has no kernel; look for another profiler (nsys) that receives "
        "CUPTI's activities"
    ]


def test_steps_inside_of_steps_captures_and_no_window_are_not_counted(machine: Machine) -> None:
    count = Counting(CUDA, kernels=3)
    with count.step(FIRST):
        machine.launch("f")
    with count.window():
        machine.capturing = True
        with count.step(FIRST):
            machine.launch("captured")
        machine.capturing = False
        with count.step(SECOND), count.step(THIRD):
            machine.launch("f")
    with count.window(), count.step(FIRST):
        machine.launch("f")
    assert counted(count.rows) == [(6, "f")]
    assert count.report.problems == []


@pytest.mark.parametrize("kernels", [None, counting.LARGEST_STEP + 1])
def test_a_step_with_too_many_kernels_is_not_counted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, kernels: int | None
) -> None:
    monkeypatch.setattr(counting, "LARGEST_STEP", counting.LARGEST_STEP if kernels else 2)
    count = Counting(CUDA, kernels=kernels)
    with count.window(), count.step(FIRST):
        machine.launch("f", "g", "h")
    assert (count.sets, count.rows) == ((), [])
    assert "cuptiRangeProfilerEnable" not in machine.calls
    most, expected = (kernels, counting.LARGEST_STEP) if kernels else (3, 2)
    assert count.report.problems == [
        f"a step has {most} kernels; expected at most {expected}: make steps shorter to count them"
    ]


def test_where_nothing_counts_the_steps_run_and_nothing_is_written(tmp_path: Path) -> None:
    with Counting(torch.device("cpu"), kernels=1) as count, count.window(), count.step(FIRST):
        pass
    assert count.sets == ()
    assert count.report.problems == ["no counters on cpu; expected a CUDA device"]
    assert not count.write(tmp_path / "x.csv.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_hangs_is_named_before_the_process_ends(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    said: list[str] = []
    codes: list[int] = []
    monkeypatch.setattr(watchdog, "synchronize", lambda device: done.wait())  # a kernel that spins

    def leave(code: int) -> None:
        codes.append(code)
        done.set()

    monkeypatch.setattr(counting, "leave", leave)
    with Counting(CUDA, kernels=1, limit_s=0.01, hung=said.append) as count, count.window(), count.step(FIRST):
        machine.launch("f")
        assert done.wait(10)
    assert codes == [counting.HUNG] == [124]
    assert said == [
        "step 5 (train) kept the device busy for 0.01 s while its kernels were counted: counting runs them one at a "
        "time, and one may wait for a later one. The program cannot go on and was ended; record it without counters "
        "(--counters off)"
    ]
    assert count.report.problems == said


def test_a_step_that_waits_on_the_host_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[Any] = []
    monkeypatch.setattr(watchdog, "synchronize", waits.append)  # the device is idle
    started = time.monotonic()
    with watched(CUDA, 0.01, pytest.fail):
        while len(waits) < 3:
            assert time.monotonic() - started < 10
            time.sleep(0.001)
    assert waits[0] == CUDA
