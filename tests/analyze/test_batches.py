"""Small runs are stored several in a transaction, with the same rows, and a run that fails costs no other."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline.analyze import ingest, run
from ridgeline.analyze.cache_model.run_bytes import FEWEST_KERNELS
from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import early_rollups, rollups
from ridgeline.warehouse import load as loading
from ridgeline.warehouse.verify import verify
from tests.analyze import kineto
from tests.analyze.cache_model.test_run_bytes import steps, write
from tests.analyze.loading import dump, load, query

NAMES = ("a", "b", "c")


def write_traces(folder: Path) -> Path:
    """Three traces, and one that is none."""
    folder.mkdir()
    for name in NAMES:
        kineto.write(folder / f"{name}.json", [*kineto.matmul_step(), kineto.named(name)])
    (folder / "bad.json").write_text('{"traceEvents": [')
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_traces(tmp_path / "traces")


@pytest.fixture(scope="module")
def run_ids(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """The id of each of the three runs."""
    root = tmp_path_factory.mktemp("ids")
    return {result.name: result.run_id for result in analyze([write_traces(root / "traces")], root / "w.duckdb")}


@pytest.fixture(scope="module")
def modelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trace long enough to be modelled, and its warehouse; tests copy them before they change them."""
    folder = tmp_path_factory.mktemp("modelled")
    load(folder / "w.duckdb", write(folder, steps(2, FEWEST_KERNELS)))
    return folder


@pytest.fixture
def summarized(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each call made rollups of."""
    calls: list[int] = []

    def refresh(connection: Any, run_ids: Sequence[str], *rest: Any, **options: Any) -> None:
        calls.append(len(run_ids))
        rollups.refresh(connection, run_ids, *rest, **options)

    monkeypatch.setattr(loading, "refresh", refresh)
    return calls


def outcomes(folder: Path, warehouse: Path) -> list[tuple[str, str]]:
    paths = [folder / f"{name}.json" for name in ("a", "bad", "b", "c")]
    return [(Path(result.name).stem, result.outcome) for result in analyze(paths, warehouse)]


def test_three_are_stored_at_once_with_the_rows_of_each_alone(
    folder: Path, tmp_path: Path, summarized: list[int]
) -> None:
    expected = [("a", "loaded"), ("bad", "failed"), ("b", "loaded"), ("c", "loaded")]
    assert outcomes(folder, tmp_path / "together.duckdb") == expected
    assert summarized == [3]
    for name in NAMES:
        load(tmp_path / "alone.duckdb", folder / f"{name}.json")
    assert summarized == [3, 1, 1, 1]
    together, alone = (dump(tmp_path / f"{name}.duckdb") for name in ("together", "alone"))
    together.pop("schema_version"), alone.pop("schema_version")
    assert together == alone
    assert [run.findings for run in verify(tmp_path / "together.duckdb")[0]] == [[], [], []]


@pytest.mark.parametrize("limit", ["BATCH_RUNS", "BATCH_KERNELS", "BATCH_S"])
def test_a_full_batch_is_stored_before_the_next(
    folder: Path, tmp_path: Path, summarized: list[int], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(loading, limit, 0)
    outcomes(folder, tmp_path / "w.duckdb")
    assert summarized == [1, 1, 1]


def test_a_large_trace_is_stored_alone(
    folder: Path, tmp_path: Path, summarized: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "LARGE_TRACE_BYTES", (folder / "a.json").stat().st_size)
    events = [*kineto.matmul_step(), kineto.named("large"), kineto.named("x" * 1000)]
    kineto.write(folder / "b.json", events)
    early: list[str] = []

    def computing(connection: Any, run_id: str, *rest: Any) -> Any:
        early.append(run_id)
        return early_rollups.computing(connection, run_id, *rest)

    monkeypatch.setattr(loading, "computing", computing)
    outcomes(folder, tmp_path / "w.duckdb")
    assert summarized == [1, 1, 1]
    assert query(tmp_path / "w.duckdb", "SELECT run_id FROM runs WHERE name = 'b'") == [tuple(early)]


def test_a_run_that_is_stored_while_it_is_modelled_has_the_rows_of_one_that_is_stored_at_once(
    modelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "LARGE_TRACE_BYTES", 0)
    load(tmp_path / "begun.duckdb", modelled / "x.json")
    load(tmp_path / "begun.duckdb", modelled / "x.json")  # unchanged
    at_once, begun = dump(modelled / "w.duckdb"), dump(tmp_path / "begun.duckdb")
    at_once.pop("schema_version"), begun.pop("schema_version")
    assert at_once == begun
    assert query(tmp_path / "begun.duckdb", "SELECT COUNT(cache_read_bytes) > 0 FROM kernels") == [(True,)]
    assert [run.findings for run in verify(tmp_path / "begun.duckdb")[0]] == [[]]


def test_a_run_whose_early_rollups_fail_is_stored_all_the_same(
    modelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ValueError("no frame")

    monkeypatch.setattr(ingest, "LARGE_TRACE_BYTES", 0)
    monkeypatch.setattr(early_rollups, "as_frame", fail)
    load(tmp_path / "w.duckdb", modelled / "x.json")
    expected, found = dump(modelled / "w.duckdb"), dump(tmp_path / "w.duckdb")
    expected.pop("schema_version"), found.pop("schema_version")
    assert found == expected


@pytest.mark.parametrize("stored", [False, True])
def test_a_run_that_fails_while_it_is_modelled_leaves_what_was_stored(
    modelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stored: bool
) -> None:
    trace = shutil.copyfile(modelled / "x.json", tmp_path / "x.json")
    other = kineto.write(tmp_path / "other.json", kineto.matmul_step())
    if stored:
        shutil.copyfile(modelled / "w.duckdb", tmp_path / "w.duckdb")
        (tmp_path / "x.counters.csv").write_text("none")  # a companion that changed: the run is to be replaced
    before = dump(tmp_path / "w.duckdb") if stored else {}

    def fail(*_: Any) -> None:
        raise ValueError("no model")

    monkeypatch.setattr(ingest, "LARGE_TRACE_BYTES", 0)
    with monkeypatch.context() as failing:
        failing.setattr(run, "_model_bytes", fail)
        assert [result.outcome for result in analyze([trace], tmp_path / "w.duckdb")] == ["failed"]
        assert dump(tmp_path / "w.duckdb") == before if stored else not (tmp_path / "w.duckdb").exists()
    results = analyze([trace, other], tmp_path / "w.duckdb")
    assert [result.outcome for result in results] == ["replaced" if stored else "loaded", "loaded"]
    assert [found.findings for found in verify(tmp_path / "w.duckdb")[0]] == [[], []]


@pytest.mark.parametrize(("failing", "stage"), [("a", "refresh"), ("b", "insert"), ("c", "refresh")])
def test_a_run_that_cannot_be_stored_costs_no_other(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_ids: dict[str, str | None],
    stage: str,
    failing: str,
) -> None:
    """The first error ends the transaction for all its runs: the others are stored one by one."""
    run_id = run_ids[failing]
    original = getattr(loading, stage)

    def fail(connection: duckdb.DuckDBPyConnection, *arguments: Any, **keywords: Any) -> Any:
        if any(isinstance(each, str | list) and run_id in each for each in arguments):
            connection.execute("SELECT * FROM nowhere")
        return original(connection, *arguments, **keywords)

    monkeypatch.setattr(loading, stage, fail)
    found = dict(outcomes(folder, tmp_path / "w.duckdb"))
    kept = [name for name in NAMES if name != failing]
    assert found == {"bad": "failed", failing: "failed", **dict.fromkeys(kept, "loaded")}
    assert query(tmp_path / "w.duckdb", "SELECT name FROM runs ORDER BY 1") == [(name,) for name in kept]
    assert [run.findings for run in verify(tmp_path / "w.duckdb")[0]] == [[], []]
    monkeypatch.undo()
    (again,) = analyze([folder / f"{failing}.json"], tmp_path / "w.duckdb")
    assert again.outcome == "loaded"


def test_a_question_that_fails_between_two_runs_costs_no_run_before_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB gives up the transaction for it."""
    original = run.build

    def build(source: Any, identity: Any, parts: Any, tools: run.Tools) -> Any:
        if source.name == "b":
            tools.connection.execute("SELECT * FROM nowhere")
        return original(source, identity, parts, tools)

    monkeypatch.setattr(run, "build", build)
    results = analyze([folder / "a.json", folder / "b.json"], tmp_path / "w.duckdb")
    assert [result.outcome for result in results] == ["loaded", "failed"]
    assert query(tmp_path / "w.duckdb", "SELECT name FROM runs") == [("a",)]
    assert [found.findings for found in verify(tmp_path / "w.duckdb")[0]] == [[]]


def test_the_same_run_twice_in_a_batch_is_stored_once(folder: Path, tmp_path: Path) -> None:
    (folder / "copy.json").write_bytes((folder / "a.json").read_bytes())
    results = analyze([folder / "a.json", folder / "copy.json"], tmp_path / "w.duckdb")
    assert [(result.outcome, result.same_as) for result in results] == [("loaded", None), ("unchanged", "a")]
    assert query(tmp_path / "w.duckdb", "SELECT name FROM runs") == [("a",)]
