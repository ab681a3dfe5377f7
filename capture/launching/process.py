"""The recorder inside a launched program, or inside a child of it: from the import of torch to the run directory."""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd import profiler

from ridgeline.capture.launching import nothing
from ridgeline.capture.launching.calls import Calls
from ridgeline.capture.launching.optimizers import Optimizers
from ridgeline.capture.launching.options import VARIABLE, Options
from ridgeline.capture.launching.ranges import Ranges
from ridgeline.capture.launching.steps import Steps, Work
from ridgeline.capture.launching.window import FromFirstKind
from ridgeline.capture.recording import storing
from ridgeline.capture.recording.outcomes import one_line
from ridgeline.capture.recording.plan import Pass
from ridgeline.capture.recording.ranks import rank_of_process
from ridgeline.capture.recording.recording import Recording
from ridgeline.terminal import say

FAILED = "the program failed before its steps were traced; run.json says how"
OLDEST_TORCH = (2, 11)


def start() -> None:
    """Record this process, as the environment says. What hinders it is one line; nothing raises."""
    options = Options.read(os.environ)
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        return say(f"the program runs unrecorded: found torch {torch.__version__}, expected 2.11 or later")
    program = Program(options)
    if rank_of_process():
        # Children inherit the variables of the rank, and are none: each has a run directory of its own.
        os.environ[VARIABLE] = replace(options, ranked=True).text()
    program.install()
    atexit.register(program.at_exit)
    os.register_at_fork(after_in_child=program.forked)
    return None


def skip_destructors() -> None:
    """Have this forked child skip the destructors of C++ libraries at its end; its output is flushed before.

    PyTorch's profiler has a thread that a child does not inherit, and its destructor waits for that thread for ever.
    """
    with suppress(Exception):  # a C library without these functions
        library = ctypes.CDLL(None)
        # Handlers run in reverse order: fflush(NULL), then _exit(status).
        library.on_exit(library._exit, None)
        library.__cxa_atexit(library.fflush, None, None)


class Program:
    """Feeds a recording with the steps of this process, and takes itself out of the program when it is complete."""

    def __init__(self, options: Options) -> None:
        self._options = options
        counted = 0 if options.counters == "off" else options.traced
        self._plan = FromFirstKind(options.warmup, options.timed, options.traced, counted)
        self._steps = Steps(self, re.compile(options.step) if options.step else None)
        self._calls = Calls(self._steps)
        self._ranges = Ranges(self._steps.opened, self._steps.closed) if options.step else None
        self._optimizers = Optimizers(self._steps.optimizer_made, self._steps.optimizer_stepped)
        self._prepare: Any = None
        self._recording: Recording | None = None
        self._folder = Path(options.out)
        self._process = os.getpid()
        self._modules: list[nn.Module] = []
        self._recorder_runs = False  # a profiler that starts now is the recorder's
        self._written: Path | None = None
        self._over = False

    def install(self) -> None:
        """Begin to watch the program."""
        self._calls.install()
        self._optimizers.install()
        if self._ranges:
            self._ranges.install()
        self._prepare = prepare = profiler.profile._prepare_trace
        program = self

        def prepared(self: profiler.profile) -> Any:
            program._profiler_starts()
            return prepare(self)  # type: ignore[no-untyped-call]

        profiler.profile._prepare_trace = prepared  # type: ignore[method-assign]

    def remove(self) -> None:
        """Leave nothing of the recorder in the program."""
        self._over = True
        if self._prepare is None:
            return
        self._calls.remove()
        if self._ranges:
            self._ranges.remove()
        self._optimizers.remove()
        profiler.profile._prepare_trace, self._prepare = self._prepare, None  # type: ignore[method-assign]

    # -- steps, see steps.Sink

    def begin(self, work: Work, context: int | None) -> bool:
        """Begin a step of the recording, which the first step makes."""
        if self._over:
            return False
        self._recorder_runs = True
        try:
            recording = self._recording or self._made()
            if recording.number >= recording.until:
                self._plan.next(recording.number, work.similar)
            recording.begin_step((work, recording.number, context))
        except Exception as error:
            self.remove()
            say(f"the program goes on unrecorded: {one_line(error)}")
            return False
        finally:
            self._recorder_runs = False
        return True

    def calls(self, module: nn.Module) -> None:
        """Steps call `module`, whose inner modules get labels in the next trace."""
        if all(module is not each for each in self._modules):
            self._modules.append(module)

    def end(self, error: BaseException | None = None) -> None:
        """End the step, and the recording with its last step."""
        if self._over or self._recording is None:
            return
        self._recorder_runs = True
        try:
            self._recording.end(error)
            if self._recording.over:
                self.finish()
        except Exception as failure:
            self.remove()
            say(f"the program goes on unrecorded: {one_line(failure)}")
        finally:
            self._recorder_runs = False

    def finish(self) -> None:
        """Write the run directory, if there is something to write, at the latest when the process ends."""
        if self._over:
            return
        self.remove()
        if self._recording is None:
            nothing.explain(self._options, nothing.NO_CALL)
            return
        self._recorder_runs = True
        mode, batch = self._steps.seen()
        config = {"mode": mode} if batch is None else {"mode": mode, "batch": batch}
        self._recording.findings.facts.update(config)
        # an exception that ended the program, which Python keeps after it has printed it
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        self._written = written = self._recording.finish(error)
        if written is not None:
            failed = isinstance(error, Exception) and not self._recording.findings.complete
            place = str(written)
            with suppress(OSError):  # the program's working directory is gone
                place = os.path.relpath(written) if written.is_relative_to(Path.cwd()) else place
            place = shlex.quote(place)
            say(f"recorded {place}: " + (FAILED if failed else f"next: ridgeline analyze {place} && ridgeline report"))

    def at_exit(self) -> None:
        """Write what is not written yet, and measure the device's ceilings, once a folder of runs.

        The program is over, so that the measurement takes neither time nor memory from it.
        """
        if os.getpid() != self._process:  # a child that was forked after the recording began
            return
        self.finish()
        recording = self._recording
        if recording is not None and self._written is not None and recording.findings.complete:
            self._recorder_runs = True
            device = recording.instruments.device
            storing.add_ceilings(self._written, self._folder, recording.findings.job, device, say)

    def forked(self) -> None:
        """In a forked child: what the parent has begun is the parent's alone."""
        if self._recording is not None:
            self._over = True
            self._calls.stop()
            skip_destructors()
        else:
            self._process = os.getpid()

    def _made(self) -> Recording:
        """The recording of this process."""
        options = self._options
        alone = os.getpid() == options.process or (rank_of_process() is not None and not options.ranked)
        name = options.name if alone else f"{options.name}-{os.getpid()}"
        self._folder = Path(options.out) / name
        self._plan.on_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        self._recording = Recording(
            self._folder,
            name=name,
            experiment=options.experiment,
            plan=self._plan,
            modules=self._modules,
            counters=options.counters,
            memory=options.memory,
            ceilings=False,
            say=say,
        )
        self._modules = self._recording.modules
        return self._recording

    def _profiler_starts(self) -> None:
        """The program or the recorder starts a profiler; PyTorch has one at a time, and the program's comes first."""
        if self._recorder_runs or self._recording is None or self._recording.passing is not Pass.traced:
            return
        self._recorder_runs = True
        self._recording.discard("the program starts its own torch profiler while its steps are traced")
        self.remove()
