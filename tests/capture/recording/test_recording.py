"""A recording of small programs on the CPU: passes, labels, run directories, and what a program's end leaves."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ridgeline
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring import profiling
from ridgeline.capture.recording import program, ranks
from ridgeline.capture.recording.instruments import Instruments
from ridgeline.capture.recording.plan import ByNumber, Pass
from ridgeline.capture.recording.recording import Recording, forked
from ridgeline.capture.records import Job
from ridgeline.capture.steps import RecordedStep


class Net(nn.Sequential):
    """A small network with a configuration as Hugging Face's models have."""

    class config:  # noqa: N801
        hidden_size = 8
        num_hidden_layers = 2
        vocab_size = "unknown"


def network() -> Net:
    return Net(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))


class Recorder:
    """Makes recordings into a folder without ceilings, and remembers their lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []

    def __call__(self, name: str = "mine", **keys: Any) -> Recording:
        return ridgeline.record(self.folder / name, ceilings=False, say=self.lines.append, **keys)

    def run(self, name: str = "mine") -> Any:
        return json.loads((self.folder / name / "run.json").read_bytes())

    def names(self, name: str = "mine") -> list[str]:
        """The names of labels in the trace, in order."""
        events = json.loads(gzip.decompress((self.folder / name / "trace.json.gz").read_bytes()))["traceEvents"]
        labels = [event for event in events if event.get("cat") == "user_annotation" and "=" in event["name"]]
        return [event["name"] for event in sorted(labels, key=lambda event: event["ts"])]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def test_generations_are_warmed_up_timed_and_traced(recorder: Recorder) -> None:
    net, passes = network(), []
    facts: dict[str, Any] = {"mode": "my_dual", "batch": 2, "layout": "odd"}
    with recorder(modules=[net], experiment="before", timed=2, tokens=8, **facts) as rec:
        for generation in rec.generations():
            passes.append((generation.pass_, generation.repeat, rec.passing is generation.pass_))
            for index in range(3):
                kind = "refresh" if index == 0 else "reuse"
                with rec.step(kind, phase="denoise", query=4, context=9, tokens=0 if index == 0 else 1, note="a b"):
                    net(torch.ones(2, 8))
    assert passes == [
        (Pass.warm_up, 0, True),
        (Pass.timed, 0, True),
        (Pass.timed, 1, True),
        (Pass.warm_up, 0, True),
        (Pass.traced, 0, True),
    ]
    assert recorder.lines == []
    assert {path.name for path in (recorder.folder / "mine").iterdir()} == {
        "run.json",
        "trace.json.gz",
        "trace.et.json.gz",
    }
    run = recorder.run()
    assert (run["name"], run["experiment"], run["outcome"]) == ("mine", "before", "ok")
    assert run["config"] == {"model": "Net", "dtype": "fp32", "execution": "eager", "device": "cpu", **facts}
    assert run["model"] == {"name": "Net", "hidden": 8, "layers": 2, "parameters": 8 * 16 + 16 + 16 * 8 + 8}
    assert run["tokens"] == {"committed": 8, "processed": 2 * 3 * 4, "forwards": {"refresh": 1, "reuse": 2}}
    timed = [(each["metric"], each["repeat"], each["step"], each["kind"]) for each in run["timings"]]
    of_a_repeat = [("step", 0, "refresh"), ("step", 1, "reuse"), ("step", 2, "reuse")]
    assert timed == [
        (metric, repeat, step, kind)
        for repeat in range(2)
        for metric, step, kind in [("end_to_end", None, None), ("ttft", None, None), *of_a_repeat]
    ] + [("profiled_step", 0, step, kind) for _, step, kind in of_a_repeat]
    assert [each["step"] for each in run["window"]] == [0, 1, 2]
    steps = [
        f"phase=denoise step={index} kind={kind} query=4 context=9 tokens={tokens} note=a_b"
        for index, (kind, tokens) in enumerate([("refresh", 0), ("reuse", 1), ("reuse", 1)])
    ]
    modules = ["module=0", "module=1", "module=2"]
    assert recorder.names() == [name for step in steps for name in (step, *modules)]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert 0 < run["memory"]["weights_bytes"] == 4 * run["model"]["parameters"]


def schedule() -> Any:
    return torch.profiler.schedule(skip_first=2, wait=2, warmup=1, active=2, repeat=1)


def test_iterations_are_recorded_by_the_schedule_of_torch(recorder: Recorder) -> None:
    with torch.inference_mode(False):
        net = network()
    with torch.inference_mode(False), recorder(modules=[net], schedule=schedule(), memory=True) as rec:
        passes = []
        for _ in range(9):
            passes.append(rec.passing)
            net(torch.ones(1, 8)).sum().backward()
            rec.step()
    settled = [*2 * [Pass.warm_up], *2 * [Pass.timed], Pass.warm_up]
    assert passes[:7] == [*settled, Pass.traced, Pass.traced]
    run = recorder.run()
    assert [(each["metric"], each["step"]) for each in run["timings"]] == [
        ("end_to_end", None),
        ("step", 2),
        ("step", 3),
        ("profiled_step", 5),
        ("profiled_step", 6),
    ]
    assert [name for name in recorder.names() if "step=" in name] == [
        "phase=step step=5 kind=step",
        "phase=step step=6 kind=step",
    ]
    assert run["allocations"] is True
    assert b'"[memory]"' in gzip.decompress((recorder.folder / "mine" / "trace.json.gz").read_bytes())


def test_a_function_that_is_a_step_is_recorded_by_number(recorder: Recorder) -> None:
    net = network()
    rec = recorder(modules=[net], schedule=schedule())

    @rec.step("train", batch_rows=3)
    def train(rows: int) -> int:
        net(torch.ones(rows, 8))
        return rows

    with rec:
        assert [train(3) for _ in range(20)] == 20 * [3]
    assert train.__name__ == "train"
    assert [each["facts"] for each in recorder.run()["window"]] == 2 * [{"batch_rows": "3"}]
    assert rec.passing is Pass.done


def interrupted(recorder: Recorder, error: BaseException, at: int) -> Path | None:
    """Record a program that raises `error` in its step `at`, of which 3 and 4 are traced."""
    rec = Recording(
        recorder.folder / "mine",
        plan=ByNumber(warmup=1, timed=1, traced=2),
        ceilings=False,
        say=recorder.lines.append,
    )

    def run() -> None:
        for number in range(10):
            with rec.step("decode"):
                if number == at:
                    raise error
                torch.ones(2).sum()

    with pytest.raises(type(error)), rec:
        run()
    return rec.finish()


@pytest.mark.parametrize(
    ("error", "at", "outcome", "message"),
    [
        (ValueError("odd\nmore"), 2, "error", "ValueError: odd"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), 3, "oom", "CUDA out of memory. Tried"),
        (ValueError("odd"), 7, "ok", None),
        (ValueError("in the last traced step"), 4, "error", "ValueError: in the last traced step"),
        (KeyboardInterrupt(), 7, "ok", None),
        (KeyboardInterrupt(), 4, "ok", None),
        (SystemExit(3), 3, None, None),
        (ValueError("odd"), 0, "error", "ValueError: odd"),
    ],
)
def test_the_end_of_a_program_leaves_a_whole_directory_or_none(
    recorder: Recorder, error: BaseException, at: int, outcome: str | None, message: str | None
) -> None:
    directory = interrupted(recorder, error, at)
    assert (directory is None) == (outcome is None)
    if outcome is None:
        assert list(recorder.folder.iterdir()) == []
        (line,) = recorder.lines
        assert line.startswith(f"{recorder.folder / 'mine'} is not written: no step was traced, 4 ran; expected more")
        return
    run = recorder.run()
    assert (run["outcome"], run["message"]) == (outcome, message)
    assert (recorder.folder / "mine" / "trace.json.gz").exists() == (outcome == "ok")
    if outcome == "ok":
        traced = [3] if at == 4 else [3, 4]
        assert [each["step"] for each in run["window"]] == traced
        assert recorder.names() == [f"phase=decode step={step} kind=decode" for step in traced]


def test_steps_outside_of_generations_are_told_where_they_belong(recorder: Recorder) -> None:
    with recorder() as rec, rec.step("decode"):
        pass
    assert recorder.lines == [
        f"{recorder.folder / 'mine'} is not written: no step was traced, 1 ran; expected steps in every generation: "
        "`for _ in rec.generations():` around them, run to its end."
    ]
    assert list(recorder.folder.iterdir()) == []


def test_an_error_before_the_first_step_leaves_nothing(recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="early"), recorder():
        raise ValueError("early")
    assert list(recorder.folder.iterdir()) == []


def test_an_error_after_a_generation_was_traced_changes_nothing(recorder: Recorder) -> None:
    def run() -> None:
        for _ in rec.generations():
            with rec.step("decode"):
                torch.ones(2).sum()
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"), recorder(warmup=0, timed=0) as rec:
        run()
    assert recorder.run()["outcome"] == "ok"


def test_a_forked_child_records_nothing(recorder: Recorder) -> None:
    with recorder() as rec:
        for generation in rec.generations():
            with rec.step("decode"):
                torch.ones(2).sum()
            if generation.pass_ is Pass.timed:
                forked()  # as in a child
    assert generation.repeat == 0
    assert (rec.finish(), recorder.lines, list(recorder.folder.iterdir())) == (None, [], [])
    rec.instruments.stop()


def test_a_step_is_made_only_if_somebody_asks_for_it(recorder: Recorder) -> None:
    made: list[int] = []

    class Work:
        def step(self, number: int, context: int | None) -> RecordedStep:
            made.append(number)
            return RecordedStep(phase="decode", kind="decode", index=number, context=context)

    rec = recorder(schedule=torch.profiler.schedule(skip_first=3, wait=4, warmup=1, active=1), counters="off")
    for number in range(7):
        rec.begin_step((Work(), number, 10 + number))
        assert made == ([] if number < 3 else [3]), "the first timed step starts the instruments"
        if number < 6:
            rec.end()
    with pytest.raises(CaptureError, match="inside of the step 'decode'"):
        rec.begin_step((Work(), 7, None))
    rec.end()
    assert [(step.index, step.context) for step in rec.findings.steps] == [(3, 13), (4, 14), (5, 15), (6, 16)]
    rec.discard("enough")


def test_code_that_is_compiled_while_steps_are_traced_is_said(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = iter([3, 5])
    monkeypatch.setattr(program, "compiled_frames", lambda: next(frames))
    with recorder(warmup=0, timed=0) as rec:
        for _ in rec.generations():
            with rec.step("decode"):
                torch.ones(2).sum()
    assert [line.partition(",")[0] for line in recorder.lines] == [
        "torch.compile compiled code while steps were traced"
    ]


def test_wrong_calls_are_one_line(recorder: Recorder) -> None:
    with pytest.raises(CaptureError, match="batch = '2'; expected a whole number"):
        recorder(batch="2")
    rec = recorder()
    with pytest.raises(CaptureError, match=r"expected record\(..., schedule=...\)"):
        rec.step()
    with pytest.raises(CaptureError, match="a step has no fact 'module'"):
        rec.step("decode", module="x").__enter__()
    with rec.step("decode"), pytest.raises(CaptureError, match="began inside of the step 'decode'"):
        rec.step("reuse").__enter__()
    numbered = recorder(schedule=schedule())
    with pytest.raises(CaptureError, match="a step without a kind"), numbered.step():
        pass
    with pytest.raises(CaptureError, match="that counts steps"):
        next(iter(numbered.generations()))


def test_a_directory_that_is_no_run_is_refused_and_a_run_replaced(recorder: Recorder) -> None:
    (recorder.folder / "mine").mkdir()
    (recorder.folder / "mine" / "thesis.tex").touch()
    with pytest.raises(CaptureError, match="exists and is no run"):
        recorder()
    with pytest.raises(CaptureError, match="cannot be written"):
        recorder("mine/thesis.tex/run")
    for experiment in ("before", "after"):
        with recorder("other", experiment=experiment, warmup=0, timed=0) as rec:
            for _ in rec.generations():
                with rec.step("decode"):
                    torch.ones(2).sum()
    assert recorder.run("other")["experiment"] == "after"


def test_what_fails_in_the_recorder_is_one_line(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no profiler\nmore")

    monkeypatch.setattr(profiling, "Tracing", fail)
    with recorder() as rec:
        results = [rec.step("decode").__call__(lambda: 5)() for _ in rec.generations()]
    assert results == [5, 5, 5, 5, 5, 5]
    assert recorder.lines[0] == "recording stopped: RuntimeError: no profiler"
    assert list(recorder.folder.iterdir()) == []


def test_a_recorder_that_cannot_even_stop_or_speak_leaves_the_program_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("device-side assert")

    closed = (tmp_path / "stderr").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    monkeypatch.setattr(profiling, "Tracing", fail)
    monkeypatch.setattr(Instruments, "stop", fail)
    with ridgeline.record(tmp_path / "mine", ceilings=False) as rec:
        results = [rec.step("decode").__call__(lambda: 5)() for _ in rec.generations()]
    assert results == [5, 5, 5, 5, 5, 5]
    assert not (tmp_path / "mine").exists()


def test_a_program_s_own_profiler_is_left_alone(recorder: Recorder) -> None:
    with torch.profiler.profile(acc_events=True) as profiler, recorder() as rec:
        for _ in rec.generations():
            with rec.step("decode"):
                torch.ones(2).sum()
    assert recorder.lines[0].startswith("recording stopped: the program runs a profiler of its own")
    assert "aten::sum" in {event.name for event in profiler.events()}


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="torch.jit.script does not support it")
def test_a_module_may_be_scripted_while_it_is_traced(recorder: Recorder) -> None:
    net = network()
    create = torch.jit._recursive.create_script_module
    with recorder(modules=[net], warmup=0, timed=0) as rec:
        for _ in rec.generations():
            with rec.step("decode"):
                scripted = torch.jit.script(net)
                net(torch.ones(1, 8))
    assert torch.equal(scripted(torch.ones(1, 8)), net(torch.ones(1, 8)))
    assert torch.jit._recursive.create_script_module is create
    assert recorder.lines == []
    assert len(recorder.names()) == 1 + 3


def test_a_module_may_be_copied_and_pickled_while_it_is_traced(recorder: Recorder) -> None:
    net = network()
    copies = []
    with recorder(modules=[net], warmup=0, timed=0) as rec:
        for _ in rec.generations():
            with rec.step("decode"):
                copies += [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
                net(torch.ones(1, 8))
    for copied in copies:
        copied(torch.ones(1, 8))
        assert b"ridgeline.capture" not in pickle.dumps(copied), "it loads without Ridgeline"
    assert recorder.lines == []
    assert len(recorder.names()) == 1 + 3


def test_modules_have_distinct_names_and_compiled_ones_none(recorder: Recorder) -> None:
    first, second, head = network(), network(), nn.Linear(8, 8)
    compiled = torch.compile(network(), backend="eager")
    with recorder(modules=[first, second, head, compiled], timed=0) as rec:
        for _ in rec.generations():
            with rec.step("decode"):
                compiled(head(second(first(torch.ones(1, 8)))))
    assert recorder.lines == []
    assert recorder.run()["config"]["execution"] == "compile"
    assert [name for name in recorder.names() if name.startswith("module")] == [
        "module=Net_0", "module=Net_0.0", "module=Net_0.1", "module=Net_0.2",
        "module=Net_1", "module=Net_1.0", "module=Net_1.1", "module=Net_1.2",
        "module=Linear",
    ]  # fmt: skip


def test_a_rank_has_a_directory_of_its_own(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in range(2):
        job = Job(id="0123456789abcdef", rank=rank, world_size=2)
        monkeypatch.setattr(ranks, "rank_of_process", lambda job=job: job)
        with recorder(schedule=schedule(), tokens=3) as rec:
            for _ in range(9):
                with rec.step("train"):
                    torch.ones(2).sum()
    runs = [recorder.run(f"mine/rank{rank}") for rank in range(2)]
    assert [(run["name"], run["job"]["rank"], run["job"]["id"]) for run in runs] == [
        ("mine_rank0", 0, "0123456789abcdef"),
        ("mine_rank1", 1, "0123456789abcdef"),
    ]
    assert runs[0]["tokens"] == {"committed": 2 * 3, "forwards": {"train": 2}}


def test_a_long_generation_is_traced_by_its_shortest_run_of_all_kinds(recorder: Recorder) -> None:
    with recorder(timed=1) as rec:
        for _ in rec.generations():
            for index in range(140):
                with rec.step("refresh" if index % 10 == 0 else "reuse"):
                    pass
    assert [each["step"] for each in recorder.run()["window"]] == [70, 71, 72]
