"""The command line within this process: for messages and exit codes, without starting Python and its libraries anew."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from subprocess import CompletedProcess

from typer.testing import CliRunner

from ridgeline import app


def ridgeline(*arguments: object, cwd: Path) -> CompletedProcess[str]:
    """What the command comes to in that folder; raises what a process would end of with a traceback."""
    command = [str(argument) for argument in arguments]
    with chdir(cwd):
        done = CliRunner().invoke(app, command, prog_name="ridgeline")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return CompletedProcess(command, done.exit_code, done.stdout, done.stderr)
