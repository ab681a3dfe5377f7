"""Recording counters against a CUPTI that answers as told, and what the probe says where nothing works."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.capture.counters import by_cupti as counters
from ridgeline.capture.counters.cupti import join, metrics, rounds
from ridgeline.capture.counters.cupti.join import JoinError, Kernel, Range, Row
from ridgeline.capture.counters.cupti.kineto import Kineto
from ridgeline.capture.counters.cupti.library import CuptiError
from ridgeline.capture.counters.cupti.range_profiler import RangeProfiler
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.steps import Step
from tests.capture.counters.conftest import Machine, steps

CUDA = torch.device("cuda", 0)
READ, WRITE, L2 = counters.METRIC_SETS["memory"]


@pytest.fixture
def record(machine: Machine, tmp_path: Path) -> Callable[..., counters.Report]:
    """`record`, of steps that launch `f` and then `g`."""

    def run(step: Step) -> None:
        machine.log.append(f"step {step.index}")
        machine.launch("f", "g")

    def call(of: Sequence[Step], run: Callable[[Step], None] = run, **keys: Any) -> counters.Report:
        path = tmp_path / "trace.counters.csv.gz"
        return counters.record(of, run, CUDA, path, prepare=lambda: machine.log.append("prepare"), **keys)

    return call


def written(tmp_path: Path) -> list[Row]:
    return counters.read(tmp_path / "trace.counters.csv.gz")


def test_every_kernel_of_every_step_has_its_counters(record: Any, machine: Machine, tmp_path: Path) -> None:
    report = record(steps("decode", "decode"), kernels=2)
    assert written(tmp_path) == [
        Row(step, index, kernel, "memory", metric, 10.0 * number + position)
        for number, (step, index, kernel) in enumerate([(5, 0, "f"), (5, 1, "g"), (6, 0, "f"), (6, 1, "g")])
        for position, metric in enumerate([READ, WRITE, L2])
    ]
    (window,) = report.windows
    assert (report.method, report.problems, report.uncounted_kernel_ns) == ("cupti", [], [])
    assert (window.name, window.metrics, window.passes, window.ranges) == ("memory", (READ, WRITE, L2), 1, 4)
    assert window.kernel_ns == [4000, 4000]
    assert [path.name for path in tmp_path.iterdir()] == ["trace.counters.csv.gz"]
    assert machine.log == ["prepare", "step 5", "step 6"]
    assert machine.calls[-1] == "cuptiProfilerHostDeinitialize"
    assert machine.calls.count("cuptiRangeProfilerDisable") == 1


def test_the_steps_are_run_again_for_every_window_and_once_to_count_them(record: Any, machine: Machine) -> None:
    report = record(steps("decode"), windows=("memory", "sass"))
    assert machine.log == ["prepare", "step 5"] * 3
    assert [window.name for window in report.windows] == ["memory", "sass"]
    assert report.uncounted_kernel_ns == [4000]


def test_the_image_has_room_for_the_longest_step(record: Any, machine: Machine, monkeypatch: Any) -> None:
    asked: list[int] = []

    def profiler(host: Any, context: Any, ranges: int) -> RangeProfiler:
        asked.append(ranges)
        return RangeProfiler(host, context, ranges=ranges)

    monkeypatch.setattr(rounds, "RangeProfiler", profiler)
    record(steps("prefill", "decode"), lambda step: machine.launch(*["f"] * (400 if step.kind == "prefill" else 8)))
    assert asked == [400 + 50 + 64]


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_step_that_lost_a_range_is_left_out(record: Any, machine: Machine, tmp_path: Path, lost: int) -> None:
    """A round holds one step, so the ranges of the other step are its own."""
    machine.lose = {lost}
    report = record(steps("decode", "decode"), windows=("memory", "tensor"), kernels=2)
    lacking, other = (5, 6) if lost < 2 else (6, 5)
    assert [(window.name, window.steps) for window in report.windows] == [("memory", [other]), ("tensor", [5, 6])]
    assert report.problems == [f"window memory: step {lacking} left out: 1 ranges for 2 kernels in the trace"]
    assert {row.step for row in written(tmp_path) if row.window == "memory"} == {other}


def test_a_full_image_shows_in_the_running_numbers(record: Any, machine: Machine, tmp_path: Path) -> None:
    machine.lose = {1}
    report = record(steps("decode"), lambda step: machine.launch("f", "g", "h"), kernels=3)
    assert report.windows == []
    assert report.problems == ["window memory: step 5 left out: range 2 follows range 0; the counter image may be full"]
    assert list(tmp_path.iterdir()) == []


def test_a_pass_that_ended_silently_is_left_out(record: Any, machine: Machine, tmp_path: Path) -> None:
    """The running numbers have no gap then: only the kernels of the trace tell that the last are missing."""
    report = record(steps("decode"), lambda step: machine.launch(*["f"] * 400), kernels=2)
    assert report.windows == []
    assert report.problems == [f"window memory: step 5 left out: {2 * (2 + 64)} ranges for 400 kernels in the trace"]
    assert list(tmp_path.iterdir()) == []


def test_a_step_with_other_kernels_is_left_out_of_the_later_window(record: Any, machine: Machine) -> None:
    """The file has one name for each launch of a step, in all of its windows."""
    names = iter([("f", "g"), ("f", "g"), ("f", "g"), ("f", "g"), ("f", "h"), ("f", "g")])
    report = record(steps("decode", "decode"), lambda step: machine.launch(*next(names)), windows=("memory", "tensor"))
    assert [(window.name, window.steps) for window in report.windows] == [("memory", [5, 6]), ("tensor", [6])]
    assert report.problems == [
        "window tensor: step 5 left out: other kernels than before: kernel 1 is 'h' in one and 'g' in the other"
    ]


def test_instructions_are_counted_without_a_trace(record: Any, machine: Machine, tmp_path: Path) -> None:
    report = record(steps("decode", "decode"), windows=("sass",), kernels=2)
    assert report.problems == []
    assert [(window.name, window.kernel_ns) for window in report.windows] == [("sass", [])]
    assert {(row.step, row.launch_index, row.kernel) for row in written(tmp_path)} == {
        (5, 0, "f"),
        (5, 1, "g"),
        (6, 0, "f"),
        (6, 1, "g"),
    }
    assert machine.log == ["prepare", "step 5", "step 6"] * 2


@pytest.mark.parametrize(
    ("lose", "reason"),
    [
        ({2}, "window sass: step 5 left out: 1 ranges for 2 kernels in the trace"),
        (set(), "window sass left out: every value is 0"),
    ],
    ids=["lost", "nothing"],
)
def test_instructions_that_were_not_counted_are_left_out(
    record: Any, machine: Machine, lose: set[int], reason: str
) -> None:
    machine.lose = lose
    machine.value = lambda _: 0.0 if not lose else 1.0
    report = record(steps("decode"), windows=("sass",))
    assert report.windows == []
    assert report.problems == [reason]


def test_instructions_whose_kernels_no_window_has_traced_are_left_out(record: Any, machine: Machine) -> None:
    machine.lose = {0}
    report = record(steps("decode"), windows=("memory", "sass"), kernels=2)
    assert report.windows == []
    assert report.problems[1] == "window sass: step 5 left out: no earlier window has its kernels"


def test_steps_of_a_kind_that_differ_are_named_and_kept(record: Any, machine: Machine) -> None:
    report = record(steps("refresh", "reuse", "reuse"), lambda step: machine.launch(f"k{step.index // 7}"), kernels=1)
    assert len(report.windows) == 1
    assert report.problems == ["steps 6 and 7 are all reuse and differ: kernel 0 is 'k0' in one and 'k1' in the other"]


def test_a_failed_configuration_starts_nothing_and_ends_the_counting(
    record: Any, machine: Machine, tmp_path: Path
) -> None:
    machine.failing = "cuptiRangeProfilerSetConfig"
    report = record(steps("decode"), windows=("memory", "sass"), kernels=2)
    assert "cuptiRangeProfilerStart" not in machine.calls
    assert machine.calls.count("cuptiRangeProfilerEnable") == machine.calls.count("cuptiRangeProfilerDisable") == 1
    assert machine.calls.count("cuptiRangeProfilerSetConfig") == 1
    assert report.windows == []
    assert report.problems == ["counting stopped: cuptiRangeProfilerSetConfig: 1 CUPTI_ERROR_UNKNOWN"]
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_a_later_window_keeps_the_earlier(record: Any, machine: Machine, tmp_path: Path) -> None:
    def run(step: Step) -> None:
        machine.launch("f")
        if machine.calls.count("cuptiRangeProfilerStart") == 2:
            machine.failing = "cuptiRangeProfilerStop"

    report = record(steps("decode"), run, windows=("memory", "tensor", "sass"), kernels=1)
    assert report.problems == ["counting stopped: cuptiRangeProfilerStop: 1 CUPTI_ERROR_UNKNOWN"]
    assert [window.name for window in report.windows] == ["memory"]
    assert {row.window for row in written(tmp_path)} == {"memory"}
    assert machine.calls.count("cuptiRangeProfilerEnable") == 2


def test_what_the_step_raises_is_raised_and_nothing_stays_enabled(
    record: Any, machine: Machine, tmp_path: Path
) -> None:
    def run(step: Step) -> None:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        record(steps("decode"), run, kernels=1)
    assert machine.calls[-3:] == [
        "cuptiRangeProfilerStop",
        "cuptiRangeProfilerDisable",
        "cuptiProfilerHostDeinitialize",
    ]
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_numbers_are_counted_and_left_out(record: Any, machine: Machine, tmp_path: Path) -> None:
    machine.value = lambda number: float("nan") if number == 11 else float(number)
    report = record(steps("decode"), kernels=2)
    assert report.problems == ["window memory: 1 of 6 values are no numbers; left out"]
    assert [row.value for row in written(tmp_path)] == [0, 1, 2, 10, 12]


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a device the GPU tests do this")
@pytest.mark.filterwarnings("ignore:.*CUDA")
def test_the_real_trace_has_the_steps_labels() -> None:
    kineto = Kineto()
    kineto.start()
    for position in (0, 1):
        with kineto.label(f"counted={position}"):
            pass
    with pytest.raises(CuptiError, match="the program's own profiler is on"):
        Kineto().start()
    trace = kineto.stop()
    assert join.kernels(trace, ["counted=0", "counted=1"]) == []
    with pytest.raises(JoinError, match="0 annotations 'counted=2'"):
        join.kernels(trace, ["counted=2"])
    assert kineto.stop() == b""


def test_an_unknown_window_is_a_wrong_call(record: Any) -> None:
    with pytest.raises(CaptureError, match="no counters 'dram'; expected some of memory, tensor"):
        record(steps("decode"), windows=("dram",))


def test_a_machine_that_cannot_count_reports_why_and_runs_nothing(tmp_path: Path) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    report = counters.record(steps("decode"), never, torch.device("cpu"), tmp_path / "x.csv.gz", prepare=never)
    assert (report.windows, report.problems) == ([], ["no counters on cpu; expected a CUDA device"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a driver")
def test_the_probe_says_that_there_is_no_driver() -> None:
    capability = counters.probe(CUDA)
    assert not capability.works
    assert capability.reason == "libcuda.so.1: no NVIDIA driver on this machine"


def test_the_probe_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: torch.device) -> Any:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(counters, "opened", broken)
    assert counters.probe(CUDA) == counters.Capability(works=False, reason="two lines")


def test_the_front_door_does_not_import_torch() -> None:
    code = "import sys; from ridgeline.capture.counters import by_cupti, by_ncu; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


@given(st.lists(st.floats(min_value=0, max_value=2.0**53) | st.integers(0, 2**53).map(float)))
def test_values_survive_the_file(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv.gz"
    kernels = [Kernel(f'void f<int, "{index}">(a, b)', index, 1, 0) for index in range(len(values))]
    rows = list(join.rows(3, "memory", [READ], kernels, [Range(index, (value,)) for index, value in enumerate(values)]))
    join.write(path, rows)
    assert join.read(path) == rows
    assert [row.value for row in rows] == values


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    join.write(path, [Row(0, 0, "f", "memory", READ, 1.0)])

    def broken() -> Any:
        yield Row(0, 0, "g", "memory", READ, 2.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        join.write(path, broken())
    assert [row.kernel for row in join.read(path)] == ["f"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(JoinError, match=r"x\.csv\.gz has other columns"):
        counters.read(path)


def test_every_set_has_metrics_of_its_own() -> None:
    every = [metric for names in metrics.METRIC_SETS.values() for metric in names]
    assert len(every) == len(set(every))
    assert counters.METRIC_SETS["memory"] == ("dram__bytes_read.sum", "dram__bytes_write.sum", "lts__t_bytes.sum")
