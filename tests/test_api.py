"""The public API: `import ridgeline` is light, and its names are imported when they are first used."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import ridgeline
from tests.analyze import kineto

ROOT = Path(__file__).parents[1]
FIGURES = ("bandwidth", "ledger", "roofline", "time_by_family", "time_by_module", "time_by_phase", "time_lost")
LIMIT_US = 50_000


@pytest.mark.process
def test_the_import_takes_milliseconds() -> None:
    """The least of three, since other processes may slow one down."""
    command = [sys.executable, "-X", "importtime", "-c", "import ridgeline"]
    times = []
    for _ in range(3):
        lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stderr.splitlines()
        (line,) = [line for line in lines if line.endswith(" ridgeline")]
        times.append(int(line.split("|")[1]))
    assert min(times) < LIMIT_US


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(ridgeline.__all__) <= set(dir(ridgeline))
    for name in set(ridgeline.__all__) - {"IMPORT_ROOT"}:
        assert callable(getattr(ridgeline, name)), name
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        ridgeline.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_a_type_checker_knows_the_names_that_are_imported_at_run_time() -> None:
    tree = ast.parse((ROOT / "ridgeline" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == {**ridgeline._MODULES, "analyze": "ridgeline.analyze.ingest"}
    assert {*typed, "IMPORT_ROOT"} == set(ridgeline.__all__)


def test_from_a_trace_to_every_figure_and_a_comparison(tmp_path: Path) -> None:
    traces = [kineto.write(tmp_path / f"{name}.json", kineto.matmul_step() * n) for n, name in enumerate("ab", 1)]
    results = ridgeline.analyze(map(str, traces), str(tmp_path / "w.duckdb"))
    assert [(result.name, result.outcome) for result in results] == [("a", "loaded"), ("b", "loaded")]
    # a path alone is no list of characters
    assert [result.outcome for result in ridgeline.analyze(str(traces[0]), tmp_path / "w.duckdb")] == ["unchanged"]
    connection = ridgeline.connect(tmp_path / "w.duckdb", read_only=True)
    for name in FIGURES:
        assert getattr(ridgeline, name)(connection, "a").data, name
    assert ridgeline.compare(connection, "a", "b").rows
    connection.close()
    assert ridgeline.write(tmp_path / "w.duckdb", tmp_path / "report").name == "report.html"


@pytest.mark.parametrize("module", ["formats", "terminal"])
def test_examples_in_docstrings(module: str) -> None:
    done = doctest.testmod(importlib.import_module(f"ridgeline.{module}"))
    assert (done.failed, done.attempted > 0) == (0, True)
