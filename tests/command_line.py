"""Run a command in the test process, which saves the seconds that a new process takes.

It serves tests of messages and exit codes. Tests of closed streams, signals and start-up imports need a process.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from ridgeline.cli import app


class Done(NamedTuple):
    """The exit code and output, named as in `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def ridgeline(*arguments: object, cwd: Path | None = None, columns: int = 200) -> Done:
    """Run a command and return its exit code and output; an exception that would be a traceback is raised."""
    with contextlib.chdir(cwd or Path()):
        done = CliRunner().invoke(
            app,
            [str(argument) for argument in arguments],
            env={"COLUMNS": str(columns)},
            prog_name="ridgeline",
            catch_exceptions=False,
        )
    return Done(done.exit_code, done.stdout, done.stderr)
