"""A library in Rust that panics raises what is no ``Exception``: one line, and other runs are loaded all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from ridgeline.analyze.companions.counter_files import read_counter_files
from ridgeline.analyze.companions.discovery import Source
from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.trace import Trace, assemble
from tests.analyze import kineto
from tests.command_line import ridgeline

ROOT = Path(__file__).parents[2]
PANIC = pl.exceptions.PanicException


def test_a_panic_fails_its_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ridgeline.analyze import run

    def panic(parts: list[Columns], path: Path) -> Trace:
        trace = assemble(parts, path)
        if len(trace.device) > 4:
            raise PANIC("index out\nof bounds")
        return trace

    monkeypatch.setattr(run, "assemble", panic)
    bad = kineto.write(tmp_path / "bad.json", kineto.matmul_step() * 2)
    good = kineto.write(tmp_path / "good.json", kineto.matmul_step())
    failed, loaded = analyze([bad, good], tmp_path / "w.duckdb")
    assert str(failed.error).startswith(f"{bad}: cannot be loaded: PanicException: index out")
    assert (failed.outcome, loaded.outcome) == ("failed", "loaded")


def test_a_panic_over_counters_costs_the_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: object, **__: object) -> None:
        raise PANIC("capacity overflow")

    monkeypatch.setattr(pl, "read_csv", panic)
    (tmp_path / "t.counters.csv").write_text("step,launch_index,kernel,window,metric,value\n")
    files, unusable = read_counter_files(Source("t", None, counters=tmp_path / "t.counters.csv"))
    assert (files, len(unusable)) == ([], 1)
    assert "capacity overflow" in unusable[0]


def panic(*_: object, **__: object) -> None:
    raise PANIC("index out\nof bounds")


@pytest.mark.parametrize(
    "place", ["ridgeline.analyze.ingest.discover", "ridgeline.warehouse.load.insert", "ridgeline.analyze.run.assemble"]
)
def test_a_panic_anywhere_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    kineto.write(tmp_path / "t.json", kineto.matmul_step())
    monkeypatch.setattr(place, panic)
    done = ridgeline("analyze", "t.json", cwd=tmp_path)
    check(done.returncode, done.stdout, done.stderr)


def check(code: int, output: str, errors: str) -> None:
    (line,) = errors.splitlines()
    assert (code, output) == (1, "")
    assert line.startswith("ridgeline: ")
    assert "PanicException: index out of bounds" in line


@pytest.mark.process
def test_a_panic_in_a_process_of_its_own_is_one_line(tmp_path: Path) -> None:
    place = "ridgeline.analyze.ingest.discover"
    kineto.write(tmp_path / "t.json", kineto.matmul_step())
    module, _, name = place.rpartition(".")
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import polars, {module}
from ridgeline import cli
def panic(*_, **__):
    raise polars.exceptions.PanicException("index out\\nof bounds")
{module}.{name} = panic
sys.argv = ["ridgeline", "analyze", "t.json"]
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    check(done.returncode, done.stdout, done.stderr)
