"""The command line of a launched program, and the environment by which it records itself."""

import os
import sys
from pathlib import Path

import pytest

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.launching.command import INJECT, command_of, environment_of, name_of, remark
from ridgeline.capture.launching.options import VARIABLE, Options


def test_a_script_runs_with_this_python_unless_it_is_executable(tmp_path: Path) -> None:
    script = tmp_path / "tp.py"
    script.write_text("#!/bin/false\n")
    assert command_of([str(script), "--steps", "3"]) == [sys.executable, str(script), "--steps", "3"]
    script.chmod(0o755)
    assert command_of([str(script), "--steps", "3"]) == [str(script), "--steps", "3"]
    assert command_of(["sh", "-c", "true"]) == ["sh", "-c", "true"]


@pytest.mark.parametrize("program", ["nothing.py", "no-such-program"])
def test_a_program_that_does_not_exist_is_refused(program: str) -> None:
    with pytest.raises(CaptureError, match=rf"^{program}: no such"):
        command_of([program])


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (["python", "train.py"], "train"),
        (["/usr/bin/python3.12", "-u", "-X", "dev", "-Wignore", "a/serve.py", "-m", "x"], "serve"),
        (["python", "-um", "pkg.tool", "--fast"], "pkg.tool"),
        (["python", "-c", "pass"], "python"),
        (["python"], "python"),
        (["./tp.py"], "tp"),
        (["torchrun", "--nproc-per-node", "2", "tp.py"], "tp"),
        (["bash", "run.sh"], "run"),
        (["vllm", "bench", "latency"], "vllm"),
    ],
)
def test_a_recording_has_the_name_of_its_program(program: list[str], name: str) -> None:
    assert name_of(program) == name


@pytest.mark.parametrize(
    ("program", "options"),
    [
        (["python", "-I", "a.py"], "-I"),
        (["python3", "-uES", "a.py"], "-E -S"),
        (["python", "-s", "a.py", "-I"], None),
        (["python", "-Wignore::ImportWarning", "a.py"], None),
        (["python", "-c", "pass", "-E"], None),
        (["bash", "-E"], None),
    ],
)
def test_options_that_keep_the_recorder_out_are_named(program: list[str], options: str | None) -> None:
    line = remark(program)
    assert line == (
        options
        and f"python {options} keeps the recorder out: the program runs unrecorded; leave out {options} to record it"
    )


def test_the_environment_carries_the_options_and_keeps_the_programs_own_path() -> None:
    options = Options(out="/runs", name="mine", step="a|b", started_ns=7)
    environment = environment_of(options, {"PYTHONPATH": "/own", "HOME": "/home/me"})
    assert environment.pop(VARIABLE) == options.text()
    assert environment == {"PYTHONPATH": f"{INJECT}{os.pathsep}/own", "HOME": "/home/me"}
    assert Options.read({VARIABLE: options.text()}) == options
