"""Record a serving engine that runs: start its profiler, wait, stop it, and store its traces."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ridgeline import terminal
from ridgeline.capture.engines import waiting
from ridgeline.capture.engines.server import Server
from ridgeline.capture.engines.session import session
from ridgeline.capture.engines.traces import PATIENCE_S
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.launching.command import command_of

_HASTE_S = 1.0
"""Seconds to stop the profiler in where the command is being ended."""


class Recorded(NamedTuple):
    """The run directory of a recording, with directories of ranks in it if there are several.

    `exit_code` is that of the program that made the load; 0 without one.
    """

    path: Path
    exit_code: int


def record(
    url: str,
    out: Path,
    *,
    name: str | None = None,
    experiment: str = "default",
    program: Sequence[str] = (),
    seconds: float | None = None,
    steps: int | None = None,
    folder: Path | None = None,
    say: Callable[[str], None] = terminal.say,
    patience_s: float = PATIENCE_S,
    **facts: Any,
) -> Recorded:
    """Record what the engine at `url` does until `program` ends, `seconds` or `steps` have passed, or a signal comes.

    Writes the run directory OUT/NAME, with a directory a rank in it where the engine has several; the name is by
    default that of the engine and its model. `folder` is where the engine writes its traces, as seen from this machine:
    by default where it says, else (SGLang) a temporary folder in `out`. `patience_s` is the time to wait for a trace
    that does not grow. `facts` go into run.json's config.

    Raises ConfigError for a wrong call, CaptureError with the remedy where there is no server, profiler or trace, and
    OSError where `out` cannot be written.
    """
    command = command_of(program) if program else []
    server = Server(url)
    engine = server.engine()
    is_sglang = engine.name == "sglang"
    if steps is not None and not is_sglang:
        raise ConfigError(
            f"{engine.title} takes a number of steps when it is started (vLLM: --profiler-config.max_iterations "
            f"{steps}): leave out --traced, or say --seconds"
        )
    watched = folder or engine.folder
    if watched is None and not is_sglang:
        raise ConfigError(f"{engine.title} does not say where it writes its traces: name the folder with --traces DIR")
    name = name or re.sub(r"[^\w.-]+", "_", f"{engine.name}_{Path(engine.model or 'model').name}")
    with session(out / name, engine, watched, say, patience_s) as profile:
        request: dict[str, Any] | None = None
        if is_sglang:  # its ProfileReq; a folder that the user names may have another path on the server's side
            request = {"record_shapes": True, "detailed_annotations": True}
            request |= {"num_steps": steps} if steps is not None else {}
            request |= {"output_dir": str(profile.folder.resolve())} if folder is None else {}
        # A profile of some steps ends by itself, when it writes its trace.
        is_over = (lambda: False) if steps is None else profile.has_traces
        code = _profiled(server, request, command, seconds, is_over, say)
        ranks = profile.store(name, experiment, facts)
    say(f"{out / name}: {engine.title}, {ranks} rank{'s' * (ranks > 1)}; next: ridgeline analyze {out / name}")
    return Recorded(out / name, code)


def _profiled(
    server: Server,
    request: dict[str, Any] | None,
    command: Sequence[str],
    seconds: float | None,
    is_over: Callable[[], bool],
    say: Callable[[str], None],
) -> int:
    """Start the profiler, wait, and stop it, whatever happens; return the exit code of `command`.

    `is_over` tells whether the profile has ended by itself.
    """
    received: list[int] = []
    is_on = False
    try:
        with waiting.signals(received):
            server.start(request)
            is_on = True
            process = waiting.started(command)
            endless = "" if command or seconds is not None else "; end it with Ctrl-C"
            say(f"recording {server.url}{endless}")
            waiting.wait(process, seconds, received, is_over)
        # From here on a signal ends the command: traces may take minutes to be written.
        is_on = False
        message = None if is_over() else server.stop()
        if message:
            say(message)
    finally:
        if is_on:
            server.stop(_HASTE_S)
    with waiting.signals(received):
        return waiting.ended(process, received)
