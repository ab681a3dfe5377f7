"""Sides that are paths: analyzed, compared and not kept, alone or beside stored runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ridgeline
from ridgeline.analyze.ingest import analyze
from ridgeline.reports import ReportError
from ridgeline.reports.comparison.compare import above
from ridgeline.reports.comparison.sides import is_path, select
from ridgeline.warehouse.lake.export import export
from tests.analyze import kineto
from tests.command_line import Done
from tests.command_line import ridgeline as command

CASES = Path(__file__).parents[4] / "shared" / "cases"


def step(duration_us: float) -> list[kineto.Event]:
    """Two iterations with one product of ``duration_us``."""
    events = []
    for i in range(2):
        at_us, dims = i * 1000.0, [[512, 512], [512, 512]]
        events += [
            kineto.annotation(f"ProfilerStep#{i}", at_us, 900),
            kineto.operator("aten::mm", at_us + 10, 20, 10 * i + 1, dims, ["c10::BFloat16"] * 2),
            kineto.launch(at_us + 12, 10 * i + 2),
            kineto.kernel("nvjet_hsh_128x256", at_us + 50, duration_us, 10 * i + 2),
        ]
    return events


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two traces, one of them twice, and a warehouse ``w.duckdb`` with the first of them."""
    folder = tmp_path_factory.mktemp("paths")
    for name, duration_us in (("before", 100), ("after", 400), ("again/before", 100)):
        (folder / name).parent.mkdir(exist_ok=True)
        kineto.write(folder / f"{name}.json", step(duration_us))
    (folder / "notes.json").write_text("{}")
    analyze(folder / "before.json", folder / "w.duckdb", experiment="nightly")
    return folder


def run(folder: Path, *arguments: object) -> Done:
    done = command("compare", *arguments, cwd=folder)
    assert not (folder / "ridgeline.duckdb").exists()
    return done


def device_time(done: Done) -> tuple[float, float, str]:
    (row,) = [row for row in json.loads(done.stdout)["rows"] if row["level"] == "step"]
    return row["base_ns_per_step"], row["other_ns_per_step"], row["status"]


def test_two_traces_need_no_warehouse(folder: Path) -> None:
    done = run(folder, "before.json", "after.json", "--format", "json", "-o", folder / "page")
    assert device_time(done) == (100_000, 400_000, "slower")
    assert (folder / "page" / "compare.html").is_file()
    assert done.returncode == 0
    done = run(folder, "before.json", "after.json", "--fail-above", 10)
    assert (done.returncode, done.stdout.splitlines()[:2]) == (1, ["base   before.json", "other  after.json"])
    assert "is 300 % slower (100 µs to 400 µs of device time" in done.stderr


def test_a_path_beside_a_stored_run(folder: Path) -> None:
    done = run(folder, "-w", "w.duckdb", "before", "after.json", "--format", "json")
    assert device_time(done) == (100_000, 400_000, "slower")
    assert json.loads(done.stdout)["base"][0]["name"] == "before"


def test_a_run_of_a_lake_and_a_path(folder: Path) -> None:
    with ridgeline.connect(folder / "w.duckdb", read_only=True, external_access=True) as connection:
        export(connection, folder / "lake")
    done = run(folder, "--lake", "lake", "before", "./after.json", "--format", "json")
    assert device_time(done) == (100_000, 400_000, "slower")
    for side in ("bef*", "experiment:nightly"):
        assert device_time(run(folder, "--lake", "lake", side, "./after.json", "--format", "json")) == device_time(done)
    assert run(folder, "--lake", "lake", "before", "before").stderr.endswith(
        "both sides are the run before: nothing to compare\n"
    )


def test_the_same_trace_under_two_paths_is_said(folder: Path) -> None:
    done = run(folder, "before.json", "again/before.json")
    line = "ridgeline: warning: both sides are the run before: nothing to compare\n"
    assert (done.returncode, done.stderr.endswith(line)) == (0, True)


def test_a_stored_name_comes_first_then_a_path_then_a_prefix(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "bef").mkdir(exist_ok=True)
    with ridgeline.connect("w.duckdb", read_only=True) as connection:
        (run_id,) = select(connection, "before").run_ids
        assert select(connection, "befo").run_ids == [run_id]
        assert select(connection, "bef") == ([], [Path("bef")])
        assert select(connection, "before, after.json") == ([run_id], [Path("after.json")])
        assert select(None, "again,after.json") == ([], [Path("again"), Path("after.json")])
    (folder / "before").mkdir()
    with ridgeline.connect("w.duckdb", read_only=True) as connection:
        assert select(connection, "before").run_ids == [run_id]
        assert select(connection, "./before").paths == [Path("before")]
    assert [is_path(side) for side in ("before", "before,x", "", "a\0b", "x" * 5000)] == [
        True,
        False,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("befor.json", "after.json"), "befor.json: no such file or folder, and no warehouse to find a run in"),
        (("notes.json", "after.json"), "notes.json: JSON without traceEvents"),
        (("-w", "no.duckdb", "before.json", "after.json"), "no.duckdb: no such warehouse"),
    ],
)
def test_a_path_that_cannot_be_compared_is_said(folder: Path, arguments: tuple[str, ...], line: str) -> None:
    done = run(folder, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ridgeline: {line}")


def test_the_same_from_python(folder: Path) -> None:
    paths = folder / "before.json", folder / "after.json"
    (step_row,) = ridgeline.compare(*paths).level("step")
    with ridgeline.connect(folder / "w.duckdb", read_only=True) as connection:
        (mixed,) = ridgeline.compare(connection, "before", str(paths[1])).level("step")
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]
    assert mixed == step_row
    with pytest.raises(ReportError, match="no run could be analyzed"):
        ridgeline.compare(folder / "notes.json", paths[1])


@pytest.mark.skipif(not CASES.is_dir(), reason="the small cases are not beside the project")
def test_two_and_four_iterations_are_the_same_and_a_slow_backward_pass_is_not() -> None:
    base, longer, slow = (CASES / f"compare_{name}.json" for name in ("base_2", "base_4", "slow_2"))
    same, slower = ridgeline.compare(base, longer), ridgeline.compare(longer, slow)
    assert above(same, 10) == []
    assert {row["status"] for row in same.rows} == {"same"}
    changes = [row["change"] for row in slower.level("kernel") if row["operator"] == "nvjet_hsh_128x256_bwd"]
    assert set(changes) == {1.0}
    assert above(slower, 10)
