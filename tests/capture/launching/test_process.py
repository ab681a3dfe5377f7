"""Unmodified programs recorded by the launcher's hooks, in the test process, and analyzed."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import profiler
from torch.profiler import ProfilerActivity, profile, record_function

import ridgeline
from ridgeline.capture.launching.options import Options
from ridgeline.capture.launching.process import Program

from . import programs


def launched(out: Path, program: Callable[[], Any], *, name: str = "mine", **options: Any) -> Any:
    """Run `program` as the launcher would, and return what it returns."""
    before = replaced()
    recorder = Program(Options(out=str(out), name=name, **options))
    recorder.install()
    try:
        return program()
    finally:
        recorder.finish()
        assert replaced() == before


def replaced() -> tuple[Any, ...]:
    """What the recorder replaces."""
    methods = nn.Module.__call__, record_function.__enter__, profiler.profile._prepare_trace
    return *methods, torch.optim.Optimizer._patch_step_function


def run_of(directory: Path) -> Any:
    return json.loads((directory / "run.json").read_bytes())


def window(directory: Path) -> list[tuple[str, int | None]]:
    """Kind and query of the traced steps."""
    return [(step["kind"], step.get("query")) for step in run_of(directory)["window"]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four programs, each recorded, with results as without the recorder."""
    out = tmp_path_factory.mktemp("runs")
    patterns = {"dual": r"(?P<phase>denoise) (?P<kind>\w+) q=(?P<query>\d+)"}
    ways: dict[str, Callable[[], Any]] = {
        "generate": lambda: programs.generate(4, 9),
        "dual": lambda: programs.dual_cache(6),
        "train": lambda: programs.train(40),
        "short": lambda: programs.generate(1, 4),
    }
    for name, program in ways.items():
        alone = program()
        assert launched(out, program, name=name, step=patterns.get(name), experiment="four") == alone
    return out


def test_a_window_holds_a_prefill_and_its_decodes(recorded: Path) -> None:
    run = run_of(recorded / "generate")
    # 3 steps warm up, 16 are timed, and the window waits for the next prefill
    assert [step["step"] for step in run["window"]] == list(range(27, 35))
    assert window(recorded / "generate") == [("prefill", 5)] + [("decode", 1)] * 7
    assert [step["context"] for step in run["window"]] == [5, *range(6, 13)]
    timed = [timing for timing in run["timings"] if timing["metric"] == "step"]
    assert [timing["step"] for timing in timed] == list(range(3, 27))
    assert (run["outcome"], run["config"]["mode"], run["config"]["batch"]) == ("ok", "ar", 2)
    assert run["tokens"]["committed"] == 2 * 24
    assert run["model"]["name"] == "LlamaForCausalLM"


def test_a_program_that_ends_early_leaves_the_trace_of_its_first_steps(recorded: Path) -> None:
    assert window(recorded / "short") == [("prefill", 5), ("decode", 1), ("decode", 1)]
    assert [t["step"] for t in run_of(recorded / "short")["timings"] if t["metric"] == "step"] == [3]
    names = gzip.decompress((recorded / "short" / "trace.json.gz").read_bytes()).decode()
    assert '"module=model.layers.0.self_attn"' in names


def test_ranges_of_a_program_are_its_steps(recorded: Path) -> None:
    assert window(recorded / "dual") == [("refresh", 16), ("reuse", 4), ("reuse", 4), ("reuse", 4)] * 2
    assert run_of(recorded / "dual")["model"]["name"] == "Denoiser"


def test_a_training_step_holds_backward_and_optimizer(recorded: Path) -> None:
    run = run_of(recorded / "train")
    assert window(recorded / "train") == [("train", None)] * 8
    assert (run["config"]["mode"], [step["step"] for step in run["window"]]) == ("train", list(range(19, 27)))


def test_the_recordings_load_as_those_of_capture_do(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from ridgeline.warehouse.verify import verify

    path = tmp_path / "w.duckdb"
    results = ridgeline.analyze([recorded], path)
    assert {result.outcome for result in results} == {"loaded"}
    assert [run.findings for run in verify(path)[0]] == [[]] * 4
    with ridgeline.connect(path, read_only=True) as connection:
        query = connection.execute
        steps = query(
            "SELECT name, phase, kind, count(*) FROM steps JOIN runs USING (run_id) GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        assert steps == [
            ("dual", "denoise", "refresh", 2),
            ("dual", "denoise", "reuse", 6),
            ("generate", "decode", "decode", 7),
            ("generate", "prefill", "prefill", 1),
            ("short", "decode", "decode", 2),
            ("short", "prefill", "prefill", 1),
            ("train", "train", "train", 8),
        ]
        operators = query(
            "SELECT DISTINCT name, module FROM kernel_roofline WHERE operator = 'aten::addmm' AND name = 'train'"
        ).fetchall()
        assert sorted(operators) == [("train", "0"), ("train", "2")]
        ((outside,),) = query("SELECT count(*) FROM kernel_roofline WHERE name = 'train' AND step IS NULL").fetchall()
        assert outside == 0
        summary = query("SELECT name, mode, tokens_per_s > 0 FROM mode_summary ORDER BY name").fetchall()
        assert [row for row in summary if row[0] == "generate"] == [("generate", "ar", True)]
        overhead = query(
            "SELECT kind, o.steps, unprofiled_ns > 0 FROM overhead AS o JOIN runs USING (run_id) WHERE name = 'train'"
        ).fetchall()
        assert overhead == [("train", 8, True)]


def test_the_programs_own_profiler_comes_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = nn.Linear(2, 2).eval()
    names: list[str] = []

    def profiled() -> None:
        for _ in range(3):
            net(torch.ones(1, 2))
        with profile(activities=[ProfilerActivity.CPU]) as own:
            net(torch.ones(1, 2))
        names.extend(event.name for event in own.events() or [])

    launched(tmp_path, profiled, warmup=1, timed=1, traced=8)
    assert "aten::linear" in names
    assert list(tmp_path.iterdir()) == []
    line = "ridgeline: the program starts its own torch profiler while its steps are traced; nothing is recorded\n"
    assert capfd.readouterr().err == line


def test_the_random_numbers_of_a_program_stay_as_they_are(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))

    @torch.no_grad()
    def program() -> list[float]:
        torch.manual_seed(0)
        return [float(net(torch.rand(2, 4)).detach().sum()) for _ in range(8)]

    alone = program()
    assert launched(tmp_path, program, warmup=1, timed=2, traced=2) == alone
    assert run_of(tmp_path / "mine")["outcome"] == "ok"


def test_a_child_and_a_name_have_directories_of_their_own(tmp_path: Path) -> None:
    net = nn.Linear(2, 2).eval()
    launched(tmp_path, lambda: [net(torch.ones(1, 2)) for _ in range(5)], process=-1, warmup=1, timed=1, traced=1)
    assert [path.name for path in tmp_path.iterdir()] == [f"mine-{os.getpid()}"]
    assert run_of(tmp_path / f"mine-{os.getpid()}")["name"] == f"mine-{os.getpid()}"


def test_what_fails_at_the_end_of_a_recording_does_not_reach_the_program(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nn.Linear(2, 2).eval()
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    launched(tmp_path / "a b", lambda: [net(torch.ones(1, 2)) for _ in range(5)], warmup=1, timed=1, traced=1)
    place = f"'{tmp_path}/a b/mine'"
    line = f"ridgeline: recorded {place}: next: ridgeline analyze {place} && ridgeline report\n"
    assert capfd.readouterr().err == line
    assert run_of(tmp_path / "a b" / "mine")["outcome"] == "ok"


def test_steps_of_all_threads_are_traced_and_traced_graphs_hold_no_label(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).requires_grad_(False)

    def program() -> None:
        for _ in range(5):
            thread = threading.Thread(target=net, args=[torch.ones(1, 2)])
            thread.start()
            thread.join()
            # compares the graphs of two calls
            torch.jit.trace(net, (torch.ones(1, 2),))  # type: ignore[no-untyped-call]

    launched(tmp_path, program, warmup=1, timed=1, traced=3)
    assert [step for step, _ in window(tmp_path / "mine")] == ["forward"] * 3
    text = gzip.decompress((tmp_path / "mine" / "trace.json.gz").read_bytes()).decode()
    assert [text.count(f'"{name}"') for name in ("phase=forward step=2 kind=forward", "module=0")] == [1, 3]
