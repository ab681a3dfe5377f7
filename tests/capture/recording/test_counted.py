"""The counted pass: its generations, the numbers of its steps, and why a program has none. CUPTI is a stand-in."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import ridgeline
from ridgeline.capture.counters import traced
from ridgeline.capture.counters.counting import Report, Window
from ridgeline.capture.counters.cupti import join
from ridgeline.capture.counters.cupti.join import Kernel, Row
from ridgeline.capture.counters.cupti.rounds import Seconds
from ridgeline.capture.counters.traced import Traced
from ridgeline.capture.recording import counted
from ridgeline.capture.recording.plan import Pass
from ridgeline.capture.steps import RecordedStep


def kernels_of(kind: str) -> list[str]:
    return ["gemm", kind]


class Fake:
    """Counts two kernels of each step: `gemm`, and one with the name of the step's kind, or of its fact `kernel`."""

    def __init__(self, device: torch.device, *, kernels: int, hung: Callable[[str], None]) -> None:
        self.sets: tuple[str, ...] = ("memory", "tensor")
        self.rows: list[Row] = []
        self.report = Report()
        self.steps: list[int] = []
        self.hung = hung
        assert kernels == 2

    @contextmanager
    def window(self) -> Iterator[None]:
        name, self.sets = self.sets[0], self.sets[1:]
        self.name, self.steps = name, []
        yield
        self.report.windows.append(
            Window(name=name, metrics=("bytes",), passes=1, ranges=2, steps=self.steps, kernel_ns=[], seconds=Seconds())
        )

    @contextmanager
    def step(self, step: RecordedStep) -> Iterator[None]:
        yield
        if step.kind == "hang":
            self.report.problems.append("step 0 hangs")
            self.hung("step 0 hangs")
        self.steps.append(step.index)
        names = ["gemm", step.facts.get("kernel", step.kind)]
        self.rows += [Row(step.index, index, name, self.name, "bytes", 64.0) for index, name in enumerate(names)]

    def write(self, path: Path) -> bool:
        if self.rows:
            join.write(path, self.rows)
        return bool(self.rows)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Traced]:
    """What the trace says of counting; a test may replace it."""
    seen = [Traced(2, None, None)]
    monkeypatch.setattr(traced, "look", lambda *_: seen[0])
    monkeypatch.setattr(counted, "index_of", lambda _: 0)
    monkeypatch.setattr(counted, "Counting", Fake)

    def kernels(trace: bytes, labels: Sequence[str]) -> list[Kernel]:
        kinds = [label.partition("kind=")[2].split()[0] for label in labels]
        names = [(name, step) for step, kind in enumerate(kinds) for name in kernels_of(kind)]
        return [Kernel(name, index, 1, step, index) for index, (name, step) in enumerate(names)]

    monkeypatch.setattr(join, "kernels", kernels)
    return seen


def rows(directory: Path) -> list[tuple[int, int, str, str]]:
    with gzip.open(directory / "trace.counters.csv.gz", "rt", newline="") as file:
        return [
            (int(row["step"]), int(row["launch_index"]), row["kernel"], row["window"]) for row in csv.DictReader(file)
        ]


def recorded(
    path: Path, *, twin: bool = False, method: str = "cupti"
) -> tuple[list[tuple[Pass, bool]], Any, list[str]]:
    """The passes of a program of two steps, its counters in run.json, and the recorder's lines."""
    passes, lines = [], list[str]()
    with ridgeline.record(path, counters=method, twin=twin, timed=1, ceilings=False, say=lines.append) as rec:
        for generation in rec.generations():
            passes.append((generation.pass_, generation.eager))
            for kind in ("prefill", "decode"):
                with rec.step(kind):
                    torch.ones(2).sum()
    return passes, json.loads((path / "run.json").read_bytes())["counters"], lines


def test_a_generation_is_counted_for_each_set(tmp_path: Path, seen: list[Traced]) -> None:
    passes, counters, lines = recorded(tmp_path / "mine")
    assert passes[-3:] == [(Pass.traced, False), (Pass.counted, True), (Pass.counted, True)]
    assert lines == []
    assert counters["outcome"] == "ok"
    assert [(window["name"], window["steps"]) for window in counters["windows"]] == [
        ("memory", [0, 1]),
        ("tensor", [0, 1]),
    ]
    assert rows(tmp_path / "mine") == [
        (step, index, name, window)
        for window in ("memory", "tensor")
        for step, kind in enumerate(("prefill", "decode"))
        for index, name in enumerate(("gemm", kind))
    ]


@pytest.mark.parametrize(
    ("judged", "method", "reason"),
    [
        (Traced(2, "the steps replay CUDA graphs", None), "cupti", "the steps replay CUDA graphs"),
        (Traced(2, None, "may hang"), "auto", None),  # on a CPU nothing is counted, and nothing is said
        (Traced(2, None, "may hang"), "off", None),
    ],
)
def test_a_program_that_cannot_be_counted_says_why(
    tmp_path: Path, seen: list[Traced], judged: Traced, method: str, reason: str | None
) -> None:
    seen[0] = judged
    passes, counters, lines = recorded(tmp_path / "mine", method=method)
    assert lines == ([] if reason is None else [f"no hardware counters: {reason}"])
    assert passes[-1] == (Pass.traced, False)
    assert counters == (None if reason is None else {"outcome": "failed", "reason": reason})
    assert not (tmp_path / "mine" / "trace.counters.csv.gz").exists()


def test_counters_that_were_asked_for_need_a_cuda_device(tmp_path: Path) -> None:
    _, counters, lines = recorded(tmp_path / "mine")
    reason = "no counters on cpu; expected a CUDA device"
    assert (counters, lines) == ({"outcome": "failed", "reason": reason}, [f"no hardware counters: {reason}"])


def test_a_twin_is_what_counting_looks_at(tmp_path: Path, seen: list[Traced]) -> None:
    passes, counters, _ = recorded(tmp_path / "mine", twin=True)
    assert [each[0] for each in passes[-4:]] == [Pass.traced, Pass.twin, Pass.counted, Pass.counted]
    assert [eager for _, eager in passes[-4:]] == [False, True, True, True]
    assert counters["outcome"] == "ok"
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert {"trace.json.gz", "trace.twin.json.gz", "trace.et.json.gz", "trace.counters.csv.gz"} <= names


def test_steps_by_number_get_the_number_of_a_traced_step_that_is_like_them(tmp_path: Path, seen: list[Traced]) -> None:
    schedule = torch.profiler.schedule(skip_first=1, wait=1, warmup=1, active=3, repeat=1)
    kinds = ["prefill", "decode", "decode"] * 4
    with ridgeline.record(tmp_path / "mine", counters="cupti", schedule=schedule, ceilings=False) as rec:
        passes = []
        for number, kind in enumerate(kinds):
            passes.append(rec.passing)
            with rec.step(kind, kernel="odd" if number == 8 else None):
                torch.ones(2).sum()
    assert passes == [Pass.warm_up, Pass.timed, Pass.warm_up, *3 * [Pass.traced], *3 * [Pass.counted], *3 * [Pass.done]]
    counters = json.loads((tmp_path / "mine" / "run.json").read_bytes())["counters"]
    # steps 3, 4 and 5 are traced; 8 has a kernel that none of them has
    assert [row[:3] for row in rows(tmp_path / "mine")] == [
        (3, 0, "gemm"),
        (3, 1, "prefill"),
        (4, 0, "gemm"),
        (4, 1, "decode"),
    ]
    assert counters["windows"][0]["steps"] == [3, 4]
    assert counters["problems"] == [
        "1 of 3 counted steps have other kernels than every traced step of their kind, and are left out"
    ]


def test_a_step_that_hangs_while_it_is_counted_leaves_the_trace(tmp_path: Path, seen: list[Traced]) -> None:
    lines: list[str] = []
    rec = ridgeline.record(tmp_path / "mine", counters="cupti", timed=1, ceilings=False, say=lines.append)
    for generation in rec.generations():
        with rec.step("hang"):
            if generation.pass_ is Pass.counted:
                torch.ones(2).sum()
        if generation.pass_ is Pass.counted:
            break  # as the process ends
    assert lines == ["step 0 hangs"]
    run = json.loads((tmp_path / "mine" / "run.json").read_bytes())
    assert (run["outcome"], run["window"][0]["kind"]) == ("ok", "hang")
    assert (run["counters"]["outcome"], run["counters"]["reason"]) == ("failed", "step 0 hangs")


def test_a_counted_step_is_like_one_traced_step_of_its_kind_with_the_same_kernels() -> None:
    def step(index: int, kind: str) -> RecordedStep:
        return RecordedStep(phase="denoise", index=index, kind=kind)

    traced_steps = [step(1, "reuse"), step(2, "refresh"), step(3, "reuse")]
    counted_steps = [step(3, "reuse"), step(8, "refresh"), step(9, "reuse"), step(10, "reuse"), step(11, "reuse")]
    kernels = {index: ["gemm"] for index in range(10)}
    alike = counted.matches(counted_steps, traced_steps, kernels | {10: ["gemm"], 11: ["gemm", "copy"]}, kernels)
    assert alike == {3: 3, 8: 2, 9: 1}
