"""Damaged warehouses and lakes: each command answers or says one line, and none crashes, hangs or blames itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analyze import kineto
from tests.command_line import ridgeline
from tests.sampling import pick

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[1]
H200 = ROOT / "tests" / "data" / "h200"
SWEEP = bool(os.environ.get("RIDGELINE_SWEEP"))


def outcomes(folder: Path, whole: str, cases: int, commands: list[list[str]]) -> list[str]:
    """What was neither an answer nor one line, of so many cases."""
    script = [sys.executable, "-m", "tests.damage", str(folder / whole), str(folder), str(cases)]
    command = [*script, *map(json.dumps, commands)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60 * cases)
    assert done.returncode == 0, done.stderr
    cases_done = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases_done) == cases
    codes = {code for *_, code, _ in cases_done}
    assert codes >= {0, 1}, "nothing was damaged, or nothing else"
    return [
        f"{case}: {way}: {' '.join(command)}: {code}: {said}"
        for case, way, command, code, said in cases_done
        if bad(code, said)
    ]


def bad(code: int | str, said: str) -> bool:
    """Whether a command did not end as it should."""
    lines = said.splitlines()
    if code == 0:
        return any(not line.startswith("ridgeline: ") for line in lines)
    return code != 1 or len(lines) != 1 or not lines[0].startswith("ridgeline: ") or "a bug" in lines[0]


def test_a_damaged_warehouse_is_one_line(tmp_path: Path, h200_warehouse: Path) -> None:
    shutil.copy(h200_warehouse, tmp_path)
    unpriced = kineto.operator("aten::exp", 5, 10, 1, [[4]], ["float"])
    trace = kineto.write(tmp_path / "another.json", [*kineto.matmul_step(), unpriced])
    commands = [
        ["sql", "FROM operator_summary", "--format", "csv"],
        ["verify"],
        ["report", "-o", "page"],
        ["analyze", str(trace)],
        ["export", "lake"],
    ]
    assert outcomes(tmp_path, "ridgeline.duckdb", pick(7, 500 if SWEEP else 40), commands) == []


def test_a_damaged_lake_is_one_line(tmp_path: Path) -> None:
    done = ridgeline("analyze", H200, "--lake", "lake", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    commands = [
        ["sql", "SELECT * FROM kernels JOIN runs USING (run_id)", "--format", "json", "--lake", "lake"],
        ["sql", "FROM operator_summary", "--format", "csv", "--lake", "lake"],
        ["report", "--lake", "lake", "-o", "page"],
    ]
    assert outcomes(tmp_path, "lake", pick(4, 300 if SWEEP else 24), commands) == []
