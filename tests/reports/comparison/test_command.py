"""`ridgeline compare` as a shell or a CI job meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import Done, ridgeline

ROOT = Path(__file__).parents[3]


def run(compared: Path, *arguments: object) -> Done:
    return ridgeline("compare", "-w", compared, *arguments)


def test_data_on_stdout_the_page_in_its_folder(compared: Path, tmp_path: Path) -> None:
    done = run(compared, "before", "after", "--format", "json", "-o", tmp_path / "report")
    assert done.returncode == 0
    assert {row["level"] for row in json.loads(done.stdout)["rows"]} >= {"unprofiled", "step", "module", "row"}
    assert done.stderr == f"ridgeline: {tmp_path / 'report' / 'compare.html'}\n"
    assert [file.name for file in (tmp_path / "report").iterdir()] == ["compare.html"]


@pytest.mark.process
def test_a_process_ends_alike(compared: Path) -> None:
    arguments = ("-w", compared, "before", "after", "--fail-above", 20)
    command = [sys.executable, "-m", "ridgeline", "compare", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == ridgeline("compare", *arguments)
    assert done.returncode == 1


@pytest.mark.parametrize(("percent", "code"), [(20, 1), (25, 0)])
def test_fail_above_is_the_exit_code(compared: Path, percent: int, code: int) -> None:
    done = run(compared, "before", "after", "--fail-above", percent)
    assert done.returncode == code
    assert done.stdout.startswith("base   before\nother  after\n")
    line = "ridgeline: above 20 %: decode is 24.9 % slower (20.1 µs to 25.1 µs unprofiled, noise ±6.98 %)\n"
    assert done.stderr == (line if code else "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("too_big", "before"), "ridgeline: too_big: oom (wanted 90 GB of 80 GB): nothing to compare\n"),
        (("before", "silent"), "ridgeline: silent: no kernels: nothing to compare\n"),
        (("before,x", "after"), "ridgeline: x: no such run, the nearest are "),
    ],
)
def test_what_cannot_be_is_one_line(compared: Path, arguments: tuple[str, ...], line: str) -> None:
    done = run(compared, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(line)


def test_a_run_beside_itself_passes(compared: Path) -> None:
    done = run(compared, "before", "before", "--fail-above", 7, "--format", "csv")
    line = "ridgeline: warning: both sides are the run before: nothing to compare\n"
    assert (done.returncode, done.stderr) == (0, line)
    assert ",slower," not in done.stdout


def test_a_negative_percent_is_a_wrong_call(compared: Path) -> None:
    assert run(compared, "before", "after", "--fail-above", -1).returncode == 2


def test_warnings_go_to_stderr(compared: Path) -> None:
    done = run(compared, "single", "elsewhere", "--format", "csv")
    assert done.stderr == "ridgeline: warning: devices differ: Test Device and Other Device\n"
