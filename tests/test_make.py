"""What the Makefile installs for each target, and what it prints; a stub replaces Python, pip and uv."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUB = """#!/bin/sh
[ "$1" = -c ] && exit ${CODE_OF_CHECK:-0}
echo "$(basename "$0") $*" >>calls
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin"
  for name in python uv ridgeline ruff mypy; do cp "$0" "$3/bin/$name"; done
fi
"""
VENV = "python -m venv .venv"
ALL = "python -m pip install -e .[all]"
DEV = "python -m pip install -e .[dev]"
DEMO = "ridgeline demo --out demo"
CHECK = ["ruff check .", "ruff format --check .", "mypy --strict"]
HINT = "make TORCH=cpu demo"
UV = ["python -m pip install uv", "uv pip install --python .venv/bin/python --torch-backend cpu -e .[all]"]

Make = Callable[..., tuple[list[str], str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs make in a folder of its own: what it called, and what it said."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "demo").mkdir()
    (programs / "python").write_text(STUB)
    (programs / "python").chmod(0o755)
    (programs / "uname").write_text("#!/bin/sh\necho Linux\n")
    (programs / "uname").chmod(0o755)

    def run(*arguments: str, code: int = 0, **variables: str) -> tuple[list[str], str]:
        calls = tmp_path / "calls"
        calls.write_text("")
        done = subprocess.run(
            ["make", "PYTHON=python", *arguments],
            cwd=tmp_path,
            env={"PATH": f"{programs}{os.pathsep}{os.defpath}"} | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return [" ".join(call.split()) for call in calls.read_text().splitlines()], done.stdout + done.stderr

    return run


def test_the_demo_installs_what_it_runs_with_and_tests_the_rest(make: Make) -> None:
    assert make("demo")[0] == [VENV, ALL, DEMO]
    assert make("demo")[0] == [DEMO]
    assert make("check")[0] == [VENV, DEV, *CHECK]
    assert make("demo")[0] == [DEMO]


def test_tests_install_once_what_a_demo_needs_as_well(make: Make) -> None:
    calls, _ = make("test", "demo")
    assert calls[:2] == [VENV, DEV]
    assert calls[-1] == DEMO
    assert len(calls) == 4


def test_one_pip_runs_at_a_time(make: Make) -> None:
    assert make("-j4", "demo", "check")[0] == [VENV, ALL, DEMO, VENV, DEV, *CHECK]


def test_what_is_installed_is_said_before(make: Make) -> None:
    _, said = make("demo")
    assert said.index("torch, transformers") < said.index(ALL.split()[-2])
    assert "GB" in said[: said.index(VENV)]


def test_warnings_are_no_errors_for_who_only_runs_the_tests(make: Make) -> None:
    assert make("test")[0][-1] == "python -m pytest -n logical --dist worksteal -W default"
    assert make("test", "WARNINGS=")[0][-1] == "python -m pytest -n logical --dist worksteal"


def test_an_older_python_is_refused(make: Make) -> None:
    calls, said = make("demo", code=2, CODE_OF_CHECK="1")
    assert calls == []
    assert "python is older than Python 3.11" in said


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
@pytest.mark.skipif(bool(shutil.which("nvidia-smi", path=os.defpath)), reason="there is a driver")
def test_without_a_driver_the_way_to_the_cpu_build_is_said_and_not_taken(make: Make, tmp_path: Path) -> None:
    calls, said = make("demo")
    assert HINT in said
    assert calls == [VENV, ALL, DEMO]
    shutil.rmtree(tmp_path / ".venv")
    calls, said = make("TORCH=cpu", "demo")
    assert HINT not in said
    assert calls == [VENV, *UV, DEMO]


def test_pip_is_told_what_its_user_says(make: Make) -> None:
    calls, said = make("PIP_ARGS=-c versions.txt", "demo")
    assert HINT not in said
    assert calls == [VENV, ALL.replace("-e", "-c versions.txt -e"), DEMO]


@pytest.mark.parametrize("known", ["driver", "constraint"])
def test_the_cpu_build_is_not_spoken_of_where_torch_is_settled(make: Make, tmp_path: Path, known: str) -> None:
    if known == "driver":
        shutil.copy(tmp_path / "programs" / "uname", tmp_path / "programs" / "nvidia-smi")
    _, said = make("demo", **({"PIP_CONSTRAINT": "c.txt"} if known == "constraint" else {}))
    assert HINT not in said


def test_the_oldest_versions_have_an_environment_of_their_own(make: Make) -> None:
    assert make("test-oldest")[0] == [
        "python -m venv .venv-oldest",
        "python -m pip install uv",
        "uv pip install --python .venv-oldest/bin/python --resolution lowest-direct -e .[dev]",
        "python -m pytest -n logical --dist worksteal -W default",
    ]
