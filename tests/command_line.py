"""The command in this process: its exit code and what it says, without the seconds that a process of its own takes.

For messages and exit codes. What closed streams, signals and the imports of a start come to only a process tells.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from ridgeline.cli import app


class Done(NamedTuple):
    """As `subprocess.CompletedProcess` has it."""

    returncode: int
    stdout: str
    stderr: str


def ridgeline(*arguments: object, cwd: Path | None = None, columns: int = 200) -> Done:
    """The command's end; an exception that would be a traceback is raised."""
    with contextlib.chdir(cwd or Path()):
        done = CliRunner().invoke(
            app,
            [str(argument) for argument in arguments],
            env={"COLUMNS": str(columns)},
            prog_name="ridgeline",
            catch_exceptions=False,
        )
    return Done(done.exit_code, done.stdout, done.stderr)
