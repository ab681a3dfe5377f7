"""What cannot be loaded fails alone, with one reason, and leaves what was stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.ingest import analyze
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, dump, failures, load, query, run_directory
from tests.analyze.together import Loading, together


def test_bad_files_named_outright_fail_alone(tmp_path: Path, warehouse: Path) -> None:
    good = kineto.write(tmp_path / "good.json", kineto.matmul_step())
    empty = tmp_path / "empty.json"
    empty.touch()
    results = analyze([tmp_path / "none.json", empty, good], warehouse)
    assert failures(results) == [
        f"{tmp_path}/none.json: no such file or folder",
        f"{empty}: the file is empty: expected a Kineto trace (.json or .json.gz)",
    ]
    assert query(warehouse, "SELECT name FROM runs") == [("good",)]


def test_a_run_that_became_unreadable_keeps_what_was_loaded(tmp_path: Path, warehouse: Path) -> None:
    path = kineto.write(tmp_path / "step.json", kineto.matmul_step())
    load(warehouse, path)
    before = dump(warehouse)
    path.write_text(path.read_text()[:-100])
    assert load(warehouse, path) == [("step", "failed")]
    assert dump(warehouse) == before


@pytest.mark.parametrize("name", ["run.json", "ceilings.json"])
def test_a_companion_of_the_wrong_form_fails_its_run(tmp_path: Path, warehouse: Path, name: str) -> None:
    folder = run_directory(tmp_path / "a", RUN_JSON)
    (folder / name).write_text('{"format": "one"}')
    (error,) = failures(analyze([folder], warehouse))
    assert error.startswith(f"{folder}/{name}: Expected `int`, got `str` - at `$.format`")


def test_in_a_folder_what_is_no_trace_is_passed_over(tmp_path: Path, warehouse: Path) -> None:
    kineto.write(tmp_path / "a.json", kineto.matmul_step())
    kineto.write(tmp_path / "a.et.json", kineto.matmul_step())
    (tmp_path / "notes.json").write_text('{"a": 1}')
    (tmp_path / "a.ncu.csv.gz").write_bytes(b"nothing")
    kineto.write(tmp_path / "damaged.json.gz", kineto.matmul_step()).write_bytes(b"\x1f\x8b\x08rubbish")
    results = analyze([tmp_path], warehouse)
    assert [(result.name, result.outcome) for result in results] == [("a", "loaded"), ("damaged", "failed")]


@pytest.mark.parametrize("value", ["0", "-1", '"much"', "1e999"])
def test_a_ceiling_that_is_no_rate_is_refused(tmp_path: Path, warehouse: Path, value: str) -> None:
    kineto.write(tmp_path / "step.json", kineto.matmul_step())
    row = f'{{"resource": "bandwidth", "level": "dram", "value": {value}, "unit_of_value": "byte/s", "source": "m"}}'
    (tmp_path / "ceilings.json").write_text(f'{{"format": 1, "device": "NVIDIA H200", "ceilings": [{row}]}}')
    (error,) = failures(analyze([tmp_path], warehouse))
    assert error.startswith(f"{tmp_path}/ceilings.json: ")


def test_the_same_trace_under_another_name_is_kept_once(tmp_path: Path, warehouse: Path) -> None:
    for name in ("a", "b"):
        kineto.write(tmp_path / f"{name}.json", kineto.matmul_step())
    for _ in range(2):
        results = analyze([tmp_path / "a.json", tmp_path / "b.json"], warehouse)
        assert [(result.name, result.same_as) for result in results] == [("a", None), ("b", "a")]
    assert query(warehouse, "SELECT name FROM runs") == [("a",)]


def test_what_fails_makes_no_warehouse(tmp_path: Path, warehouse: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    assert load(warehouse, tmp_path / "bad.json") == [("bad", "failed")]
    assert not warehouse.exists()


def test_a_surprise_in_one_trace_leaves_the_next_alone(
    tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ridgeline.analyze import run

    def build(source: Any, *rest: Any) -> Any:
        if source.name == "first":
            raise RuntimeError("boo")
        return original(source, *rest)

    original = run.build
    monkeypatch.setattr(run, "build", build)
    first, second = (
        kineto.write(tmp_path / f"{n}.json", kineto.matmul_step() * i) for i, n in ((1, "first"), (2, "second"))
    )
    results = analyze([first, second], warehouse)
    assert [(result.name, result.outcome) for result in results] == [("first", "failed"), ("second", "loaded")]
    assert failures(results)[0].startswith(f"{first}: cannot be loaded: RuntimeError: boo")


@together
def test_a_trace_without_activities_is_an_empty_run(folder: Path) -> Loading:
    path = kineto.write(folder / "t.json", [kineto.annotation("step=1", 1.0, 2.0)])
    run = yield path
    assert run.result.outcome == "loaded"
    assert run.query("SELECT name, device_time_ns FROM runs") == [("t", 0)]


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("[]", "0 events"),
        ("[5]", "1 event"),
        ("[{}]", "1 event"),
        ('[{"ph": "X", "cat": "x\\n", "ts": 1}]', "1 event of the categories 'x\\n'"),
        ('[{"ph": "X", "cat": "user_annotation", "name": "no time"}]', "1 event of the categories 'user_annotation'"),
    ],
)
def test_a_file_without_an_event_that_can_be_read_is_refused(
    tmp_path: Path, warehouse: Path, text: str, contents: str
) -> None:
    for name, form in (("object", f'{{"traceEvents": {text}}}'), ("list", text)):
        path = tmp_path / f"{name}.json"
        path.write_text(form)
        (error,) = failures(analyze([path], warehouse))
        assert error == (
            f"{path}: no operator, launch, annotation or device activity among {contents}: expected a trace as "
            "torch.profiler exports it: record with activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]"
        )
        assert not warehouse.exists()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("run.json", json.dumps(RUN_JSON | {"tokens": {"committed": 1 << 70}}), "run.json"),
        ("run.json", "\udcff", "run.json"),
        ("telemetry.csv", "time_ns,power_w\n1,much\n", "telemetry.csv"),
        ("telemetry.csv", f"time_ns,power_w\n{1 << 70},1\n", "telemetry.csv"),
    ],
)
def test_odd_companions_are_one_line(tmp_path: Path, warehouse: Path, name: str, data: str, said: str) -> None:
    folder = run_directory(tmp_path / "a", RUN_JSON)
    (folder / name).write_bytes(data.encode(errors="surrogateescape"))
    (error,) = failures(analyze([folder], warehouse))
    assert error.startswith(f"{folder}/{said}: ")


@together
def test_telemetry_without_times_is_left_out(folder: Path) -> Loading:
    folder = run_directory(folder / "a", RUN_JSON)
    (folder / "telemetry.csv").write_text("time_ns,power_w\n1,100\n,200\n3,\n")
    run = yield folder
    assert run.query("SELECT time_ns, power_w FROM telemetry ORDER BY 1") == [(1, 100.0), (3, None)]


@pytest.mark.parametrize("duration_us", [9e15, 1e16])
@together
def test_times_that_cannot_be_are_left_out_and_counted(folder: Path, duration_us: float) -> Loading:
    path = kineto.write(folder / "t.json", [kineto.kernel("k", 0.0, duration_us), kineto.kernel("l", 0.0, 1.0)])
    run = yield path
    assert run.result.outcome == "loaded"
    assert run.query("SELECT device_time_ns, malformed_events FROM runs") == [(1000, 1)]


def test_durations_whose_sum_cannot_be_are_refused(tmp_path: Path, warehouse: Path) -> None:
    path = kineto.write(tmp_path / "t.json", [kineto.kernel("k", 0.0, 2e15)] * 5)
    (error,) = failures(analyze([path], warehouse))
    assert error == f"{path}: durations of more than 146 years together: the trace is damaged"


@together
def test_time_that_runs_backwards_is_counted(folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", [kineto.kernel("k", 5.0, -1.0), kineto.kernel("l", 6.0, 1.0)])
    assert run.query("SELECT device_time_ns, malformed_events FROM runs") == [(1000, 1)]
