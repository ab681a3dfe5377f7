"""The options of `ridgeline record`, which travel to the program in an environment variable. Standard library only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

TRACED = 8
"""Steps to trace where the user names no number."""

VARIABLE = "RIDGELINE_RECORD"
"""The environment variable that carries the options to the program and its children."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to record of a program.

    `out` is the absolute path of the folder of runs, `name` the name of the run directory in it. `step` is a regular
    expression, or None for calls of the outermost module. `process` is the PID of the launched program, which differs
    from the PIDs of its children. `ranked` is true in children of a rank. `started_ns` is the epoch time of the launch,
    in nanoseconds.
    """

    out: str
    name: str
    experiment: str = "default"
    warmup: int = 3
    timed: int = 16
    traced: int = TRACED
    step: str | None = None
    counters: str = "auto"
    memory: bool = False
    ranked: bool = False
    process: int = field(default_factory=os.getpid)
    started_ns: int = 0

    def text(self) -> str:
        """Return the value of the environment variable."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Options:
        """Return the options in `environment`. Raises KeyError, ValueError or TypeError if absent or damaged."""
        return cls(**json.loads(environment[VARIABLE]))
