"""Counters of a point: by which way, what is told, and the one step that Nsight Compute is given."""

import gzip
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from ridgeline.capture.counters import by_cupti, by_ncu
from ridgeline.capture.counters import count as counting
from ridgeline.capture.counters.by_cupti import Capability, Report, Row, Seconds, Window
from ridgeline.capture.counters.cupti import join
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.execution import Direct
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import start
from ridgeline.capture.steps import Step
from ridgeline.capture.sweep import one_step
from tests.capture.conftest import make_point

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CSV = """==PROF== Connected
"ID","Kernel Name","dram__bytes_read.sum","dram__bytes_write.sum"
"","","byte","byte"
"0","f","1,000","24"
"1","g<int>","0","0"
"""


@pytest.fixture
def launched(llada: Decoder) -> Direct:
    return Direct(start(llada, make_point(model="tiny-llada", mode="dlm_block_dual", block=4), Labels()), CPU)


@pytest.fixture
def fake_ncu(tmp_path: Path) -> Path:
    """A program that answers as ncu does: it writes a log and runs nothing."""
    script = tmp_path / "ncu"
    script.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"open(sys.argv[sys.argv.index('--log-file') + 1], 'w').write({CSV!r})\n"
        "assert 'ridgeline.capture.sweep.one_step' in sys.argv\n"
    )
    script.chmod(0o755)
    return script


def works(monkeypatch: pytest.MonkeyPatch, *, cupti: bool, ncu: Path | None) -> None:
    monkeypatch.setattr(by_cupti, "probe", lambda device: Capability(works=cupti, reason="as told"))
    monkeypatch.setattr(by_ncu, "find", lambda: ncu)
    monkeypatch.setattr(counting, "_POLL_S", 0.05)


def record(*rows: Row) -> Any:
    def call(steps: Any, run: Any, device: Any, path: Path, *, prepare: Any, windows: Any) -> Report:
        prepare()
        join.write(path, rows)
        window = Window(
            name="memory", metrics=(), passes=1, ranges=len(rows), steps=[], kernel_ns=[], seconds=Seconds()
        )
        return Report(windows=[window])

    return call


def count(launched: Direct, directory: Path, method: str, device: torch.device = CUDA) -> Any:
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4)
    return counting.count(point, launched.generation.steps[4:7], launched, device, directory, method, lambda _: None)


def test_nothing_is_counted_on_a_cpu_unless_asked_for(launched: Direct, tmp_path: Path) -> None:
    assert count(launched, tmp_path, "auto", CPU) is None
    told = count(launched, tmp_path, "cupti", CPU)
    assert told["outcome"] == "failed"
    assert told["reason"] == "no counters on cpu; expected a CUDA device; choose --counters auto or off"


def test_cupti_comes_first(launched: Direct, tmp_path: Path, fake_ncu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, cupti=True, ncu=fake_ncu)
    monkeypatch.setattr(by_cupti, "record", record(Row(6, 0, "f", "memory", "dram__bytes_read.sum", 1000.0)))
    told = count(launched, tmp_path, "auto")
    assert (told["outcome"], told["method"], told["cupti"]) == ("ok", "cupti", "as told")
    assert "ncu" not in told
    assert not (tmp_path / counting.NCU_FILE).exists()


def test_nsight_compute_is_the_second_way(
    launched: Direct, tmp_path: Path, fake_ncu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(monkeypatch, cupti=False, ncu=fake_ncu)
    told = count(launched, tmp_path, "auto")
    assert (told["outcome"], told["ncu"]["kernels"], told["ncu"]["step"]) == ("ok", 2, 6)
    text = gzip.decompress((tmp_path / counting.NCU_FILE).read_bytes()).decode()
    assert text == CSV.split("\n", 1)[1]


def test_without_either_the_run_says_why(launched: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, cupti=False, ncu=None)
    told = count(launched, tmp_path, "auto")
    assert told == {"outcome": "failed", "reason": "as told; Nsight Compute (ncu) is not installed either"}
    with pytest.raises(CaptureError, match="is not installed; install it, or choose --counters cupti"):
        count(launched, tmp_path, "ncu")


def test_both_ways_are_compared(
    launched: Direct, tmp_path: Path, fake_ncu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(monkeypatch, cupti=True, ncu=fake_ncu)
    rows = [Row(step, 0, "void a::f<T>(int)", "memory", "dram__bytes_read.sum", 1034.24) for step in (5, 6)]
    monkeypatch.setattr(by_cupti, "record", record(*rows, Row(6, 1, "g", "memory", "dram__bytes_write.sum", 0.0)))
    agreement = count(launched, tmp_path, "ncu")["ncu"]["agreement"]
    assert (agreement["kernels"], agreement["ncu_kernels"], agreement["names_agree"]) == (2, 2, 1.0)
    assert agreement["relative_difference"] == pytest.approx(0.01)


def test_a_failing_child_is_told_by_its_last_line(
    launched: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "ncu"
    broken.write_text(f"#!{sys.executable}\nimport sys\nprint('first')\nsys.exit('==ERROR== no permission')\n")
    broken.chmod(0o755)
    works(monkeypatch, cupti=False, ncu=broken)
    with pytest.raises(CaptureError, match=r"^Nsight Compute ended with exit code 1: ==ERROR== no permission$"):
        count(launched, tmp_path, "ncu")


def hanging(tmp_path: Path, body: str) -> Path:
    """An ncu that starts a child which shares its standard input, does something, and then hangs."""
    child = f"import os; os.read(0, 1); open({str(tmp_path / 'ended')!r}, 'w').close()"
    script = tmp_path / "ncu"
    script.write_text(
        f"#!{sys.executable}\nimport subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"log = open(sys.argv[sys.argv.index('--log-file') + 1], 'w')\n{body}\ntime.sleep(600)\n"
    )
    script.chmod(0o755)
    return script


def test_an_ncu_that_falls_silent_is_ended_with_what_it_started(
    launched: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(monkeypatch, cupti=False, ncu=hanging(tmp_path, "log.write('==PROF== Connected'); log.flush()"))
    monkeypatch.setattr(counting, "NCU_SILENCE_S", 1.0)
    with pytest.raises(CaptureError, match=r"^Nsight Compute hung: it wrote nothing for 1 s; it was ended\.$"):
        count(launched, tmp_path, "ncu")
    for _ in range(200):
        if (tmp_path / "ended").exists():
            break
        time.sleep(0.05)
    assert (tmp_path / "ended").exists()
    assert not (tmp_path / counting.NCU_FILE).exists()


@pytest.mark.parametrize("where", ["log.write('==PROF==\\n'); log.flush()", "print('at step 5', flush=True)"])
def test_an_ncu_that_gets_on_has_its_whole_time(
    where: str, launched: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(monkeypatch, cupti=False, ncu=hanging(tmp_path, f"while True: {where}; time.sleep(0.1)"))
    monkeypatch.setattr(counting, "NCU_SILENCE_S", 0.8)
    monkeypatch.setattr(counting, "NCU_LIMIT_S", 1.0)
    with pytest.raises(CaptureError, match=r"^Nsight Compute took more than 1 s for a step; it was ended\.$"):
        count(launched, tmp_path, "ncu")


def test_a_failing_second_way_leaves_the_first(
    launched: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(monkeypatch, cupti=True, ncu=None)
    monkeypatch.setattr(by_cupti, "record", record(Row(6, 0, "f", "memory", "dram__bytes_read.sum", 1000.0)))
    told = count(launched, tmp_path, "ncu")
    assert (told["outcome"], told["method"], told["ncu"]["outcome"]) == ("ok", "cupti", "failed")
    assert "is not installed" in told["ncu"]["reason"]
    assert (tmp_path / "trace.counters.csv.gz").exists()


def test_a_window_that_failed_is_told(launched: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, cupti=True, ncu=None)
    monkeypatch.setattr(by_cupti, "record", lambda *_, **__: Report(problems=["window memory left out: lost"]))
    told = count(launched, tmp_path, "auto")
    assert (told["outcome"], told["reason"]) == ("failed", "window memory left out: lost")


def test_a_generation_goes_to_just_before_a_step(launched: Direct) -> None:
    counting.go_to(launched, launched.generation.steps[6])
    undecided = launched.generation.canvas.masked[0, 16:]
    assert (~undecided).nonzero()[:, 0].max() < 8
    assert int((~undecided).sum()) == 6


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({}, ("memory",)),
        ({"counted": "tensor", "dtype": "bf16"}, ("memory", "tensor")),
        ({"counted": "all", "dtype": "fp16"}, ("memory", "tensor_fp16", "sass")),
        ({"counted": "all"}, ("memory", "tensor_tf32", "sass")),
    ],
)
def test_sets_of_a_dtype(keys: dict[str, str], names: tuple[str, ...]) -> None:
    assert counting.sets(make_point(model="tiny-llama", mode="ar", **keys)) == names
    assert set(names) <= set(by_cupti.METRIC_SETS)


def test_one_step_alone_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    @contextmanager
    def marks() -> Iterator[None]:
        seen.append("start")
        yield
        seen.append("stop")

    real = Direct.run
    monkeypatch.setattr(by_ncu, "profiled_range", marks)
    monkeypatch.setattr(Direct, "run", lambda self, step: (seen.append(step.kind), real(self, step)))
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4)
    task = tmp_path / "task.json"
    task.write_bytes(msgspec.json.encode({"point": point, "step": 1}))
    one_step.main(str(task))
    assert seen[-3:] == ["start", "reuse", "stop"]
    assert seen.count("reuse") == 3


def test_a_long_way_to_a_step_is_not_silent(
    launched: Direct, tmp_path: Path, fake_ncu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be taken to hang."""
    works(monkeypatch, cupti=True, ncu=fake_ncu)
    monkeypatch.setattr(by_cupti, "record", record(Row(6, 0, "f", "memory", "dram__bytes_read.sum", 1000.0)))
    said: list[str] = []
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4)
    counting.count(point, launched.generation.steps[4:7], launched, CUDA, tmp_path, "auto", said.append)
    assert said == ["counters by CUPTI", *(f"going to step 4 to count it, at {index}" for index in range(4))]


def test_another_process_finds_a_checkpoint_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    point = make_point(model="tiny-llada", mode="dlm_full", checkpoint="weights")
    tasks: list[bytes] = []

    def run(command: list[str], log: Path, say: Any) -> None:
        tasks.append(Path(command[-1]).read_bytes())
        Path(command[command.index("--log-file") + 1]).write_text(CSV)

    monkeypatch.setattr(counting, "_run", run)
    steps = [Step(phase="denoise", index=0, kind="denoise", query=28, context=28, tokens=1)]
    counting._count_by_ncu(point, steps[0], tmp_path, Path("ncu"), lambda _: None)
    assert msgspec.json.decode(tasks[0], type=one_step.Task).point.checkpoint == str(tmp_path / "weights")


def test_what_a_point_wants_counted_is_what_is_counted(
    launched: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def told(*_: Any, windows: Any, **__: Any) -> Report:
        asked.append(windows)
        return Report()

    monkeypatch.setattr(by_cupti, "record", told)
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4, counted="all", dtype="bf16")
    counting.count_by_cupti(point, launched.generation.steps[4:7], launched, CUDA, tmp_path, lambda _: None)
    assert asked == [("memory", "tensor", "sass")]
