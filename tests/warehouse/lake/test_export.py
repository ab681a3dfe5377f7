"""`ridgeline export`, `sql --lake` and `analyze --lake` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.analyze import kineto
from tests.command_line import ridgeline


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return kineto.write(tmp_path / "step.json", kineto.matmul_step())


def test_a_warehouse_is_exported_and_queried_in_the_lake(trace: Path, tmp_path: Path) -> None:
    warehouse, lake = tmp_path / "w.duckdb", tmp_path / "lake"
    assert ridgeline("analyze", trace, "-w", warehouse).returncode == 0
    done = ridgeline("export", "-w", warehouse, lake)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{lake}: 1 runs written" in done.stderr
    again = ridgeline("export", "-w", warehouse, lake)
    assert again.stderr == f"ridgeline: {lake}: 0 runs written, 0 rows, 0.0 MB, 1 unchanged\n"
    query = "SELECT name, kernels FROM runs JOIN ledger_summary USING (run_id, name) WHERE account = 'attribution'"
    asked = ridgeline("sql", query, "--lake", lake, "--format", "json")
    assert (json.loads(asked.stdout), asked.stderr) == ([{"name": "step", "kernels": 4}], "")


def test_a_trace_goes_straight_into_a_lake(trace: Path, tmp_path: Path) -> None:
    done = ridgeline("analyze", trace, "--lake", tmp_path / "lake", cwd=tmp_path)
    assert (done.returncode, "step: loaded, 4 kernels" in done.stderr) == (0, True)
    assert "step: unchanged" in ridgeline("analyze", trace, "--lake", tmp_path / "lake", cwd=tmp_path).stderr
    assert not (tmp_path / "ridgeline.duckdb").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["sql", "SELECT 1", "-w", "w", "--lake", "lake"], 2, "either -w FILE or --lake DIR"),
        (["analyze", "x.json", "-w", "w", "--lake", "lake"], 2, "either -w FILE or --lake DIR"),
        (["analyze", "x.json", "--lake", "lake", "--hta"], 2, "--hta needs a warehouse"),
        (["sql", "SELECT 1", "--lake", "lake"], 1, "no runs in this lake"),
        (["export", "lake", "-w", "none.duckdb"], 1, "no such warehouse"),
        (["sql", "SELECT 1", "--lake", "nosuch://lake"], 1, "nosuch"),
    ],
)
def test_wrong_calls_are_one_line(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = ridgeline(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (code, 1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_lake_that_cannot_be_written_is_one_line(trace: Path, tmp_path: Path) -> None:
    warehouse = tmp_path / "w.duckdb"
    assert ridgeline("analyze", trace, "-w", warehouse).returncode == 0
    (tmp_path / "file").write_text("")
    done = ridgeline("export", "-w", warehouse, tmp_path / "file" / "lake")
    assert (done.returncode, done.stderr.count("\n"), str(tmp_path / "file") in done.stderr) == (1, 1, True)
