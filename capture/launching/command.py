"""Start a program that records itself: its command, its environment, and what will keep it from being recorded."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.launching.options import VARIABLE, Options

INJECT = Path(__file__).with_name("inject")
"""The folder whose `sitecustomize.py` Python runs at start-up, because it is on PYTHONPATH."""

PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
_WITH_VALUE = "WX"
_ENDS_OPTIONS = "cm"


def command_of(program: Sequence[str]) -> list[str]:
    """Return the words to execute: a `.py` file that is not executable runs with this Python.

    Raises CaptureError for a program that does not exist.
    """
    first = program[0]
    if first.endswith(".py") and not (os.sep in first and os.access(first, os.X_OK)):
        if not Path(first).is_file():
            raise CaptureError(f"{first}: no such file; expected a Python script or another program.")
        return [sys.executable, *program]
    found = shutil.which(first)
    if found is None:
        raise CaptureError(f"{first}: no such program; expected a command on PATH or the path of an executable file.")
    # The word stays as it was written: programs read the name by which they were called.
    return [first, *program[1:]]


def name_of(program: Sequence[str]) -> str:
    """Return the name of the recording of `program`: its script, module or command without folder and suffix.

    >>> name_of(["python", "-u", "train/tp.py", "--steps", "3"])
    'tp'
    >>> name_of(["python", "-m", "pkg.serve"])
    'pkg.serve'
    >>> name_of(["bash", "run.sh"])
    'run'
    """
    words = list(program)
    if PYTHON.fullmatch(Path(words[0]).name):
        script = _arguments(words)[1]
        if script[:1] == ["-m"] and len(script) > 1:
            return script[1]
        words = script if script and not script[0].startswith("-") else words
    elif Path(words[0]).name in ("bash", "sh", "env", "torchrun"):
        words = [word for word in words[1:] if Path(word).suffix in (".py", ".sh")] or words
    return Path(words[0]).stem or "program"


def remark(program: Sequence[str]) -> str | None:
    """Return why Python will not run the recorder in `program`, with the remedy, or None."""
    if not PYTHON.fullmatch(Path(program[0]).name):
        return None
    letters, _ = _arguments(list(program))
    hindering = [f"-{letter}" for letter in "IES" if letter in letters]
    if not hindering:
        return None
    options = " ".join(hindering)
    return f"python {options} keeps the recorder out: the program runs unrecorded; leave out {options} to record it"


def environment_of(options: Options, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` with the options and a PYTHONPATH by which Python runs the recorder at start-up."""
    paths = [str(INJECT), *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, "PYTHONPATH": os.pathsep.join(paths), VARIABLE: options.text()}


def execute(program: Sequence[str], options: Options) -> NoReturn:
    """Replace this process by `program`, so that exit code, streams, signals and PID are the program's own."""
    command = command_of(program)
    sys.stdout.flush()
    # Python ignores these signals, and an ignored signal stays ignored in the program that is executed.
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execvpe(command[0], command, environment_of(options, os.environ))


def _arguments(words: list[str]) -> tuple[str, list[str]]:
    """Return the letters of Python's own options, and the words from its script, `-m` or `-c` on."""
    letters, place = "", 1
    while place < len(words) and words[place].startswith("-") and len(words[place]) > 1:
        word = words[place]
        if word.startswith("--"):
            place += 1
            continue
        for index, letter in enumerate(word[1:], 1):
            if letter in _ENDS_OPTIONS:
                rest = [word[index + 1 :]] if word[index + 1 :] else []
                return letters, [f"-{letter}", *rest, *words[place + 1 :]]
            letters += letter
            if letter in _WITH_VALUE:
                place += index == len(word) - 1  # the value is the next word
                break
        place += 1
    return letters, words[place:]
