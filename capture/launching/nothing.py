"""Why a launched program has no recording. Standard library only: the program may have no torch."""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from pathlib import Path

from ridgeline.capture.launching.options import Options
from ridgeline.terminal import say

NO_TORCH = "the program imported no torch; expected a Python program that uses it, or a command that starts one"
NO_CALL = (
    "the program called no torch.nn.Module with parameters (modules inside a function that torch.compile compiled are "
    "not seen); name a record_function range around a step with --step REGEX, or use ridgeline.record() in the program"
)


def explain(options: Options, reason: str) -> None:
    """Say, at the end of the launched program, that nothing was recorded and why, if its children recorded nothing."""
    if os.getpid() != options.process or recorded(options):
        return
    if options.step is not None and reason == NO_CALL:
        reason = f"no module and no label of the program matches --step {options.step!r}; look at the names in a trace"
    say(f"nothing is recorded: {reason}")


def recorded(options: Options) -> bool:
    """Whether a run directory of the program, of a rank or of a child was written since the launch."""
    for written in Path(options.out).glob(f"{glob.escape(options.name)}*/**/run.json"):
        with suppress(OSError):
            if written.stat().st_mtime_ns >= options.started_ns:
                return True
    return False
