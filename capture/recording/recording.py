"""A recording of a program's steps: warmed up, timed, traced and counted, into a run directory."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from weakref import WeakSet

import torch
from torch import nn

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.measuring.timing import Laps, Unmade, made
from ridgeline.capture.recording import program, run_directory, storing
from ridgeline.capture.recording.counted import METHODS
from ridgeline.capture.recording.findings import Findings
from ridgeline.capture.recording.instruments import Instruments
from ridgeline.capture.recording.outcomes import one_line
from ridgeline.capture.recording.plan import ByGeneration, Pass, Plan, Stage, window
from ridgeline.capture.steps import RecordedStep

P = ParamSpec("P")
R = TypeVar("R")


class Generation:
    """One run of a program's generation in the pass `pass_`. `repeat` numbers the generations of a pass.

    `eager` asks the program to launch every kernel instead of replaying CUDA graphs.
    """

    def __init__(self, stage: Stage, window: Sequence[int] | None) -> None:
        self.repeat, self.pass_ = stage.repeat, stage.pass_
        self.eager = stage.pass_ in (Pass.twin, Pass.counted)
        self._window = window

    def needs(self, index: int) -> bool:
        """Whether the recording needs the step `index`. A program may leave out a step that it does not need."""
        return self._window is None or index < min(self._window) or index in self._window


class Recording:
    """Records the steps of a program by `plan` into the run directory `path`.

    A program marks its steps by `step`, or by `begin` and `end`. `facts` go to `config` in run.json, except `tokens`,
    the number of tokens that a generation, or without generations a step, commits over the batch. `modules` get labels
    while steps are traced. `say` gets one line for each thing that could not be recorded: what fails in the recorder
    never raises into the program, unless it is `strict`. `joined` steps follow each other without other work between
    them. With `twin` the program runs one more generation eagerly, which tells the operators of graph replays.
    `ceilings` measures those of the device once a folder.

    Raises CaptureError for facts of a wrong type, and where `path` is a directory that is not a run.
    """

    def __init__(
        self,
        path: Path,
        *,
        plan: Plan,
        modules: Sequence[nn.Module] = (),
        name: str | None = None,
        experiment: str = "default",
        counters: str = "auto",
        memory: bool = False,
        twin: bool = False,
        ceilings: bool = True,
        say: Callable[[str], None],
        device: torch.device | None = None,
        labels: Labels | None = None,
        joined: bool = False,
        strict: bool = False,
        **facts: Any,
    ) -> None:
        if counters not in METHODS:
            raise CaptureError(f"counters = {counters!r}; expected one of {', '.join(METHODS)}.")
        run_directory.refuse(path)
        stored = program.checked(facts)
        self.plan = plan
        self.modules: list[nn.Module] = list(modules)
        self.findings = Findings(
            name=name or path.absolute().name,
            experiment=experiment,
            committed=stored.pop("tokens", None),
            facts=stored,
            generations=isinstance(plan, ByGeneration),
            allocations=memory,
        )
        self.instruments = Instruments(
            self.findings,
            self.modules,
            device=device,
            labels=labels or Labels(),
            counters=counters,
            memory=memory,
            joined=joined,
            say=say,
        )
        self._path, self._say, self._strict = path, say, strict
        self.instruments.twin = twin
        self._ceilings = ceilings
        self.number = 0
        """The number of the next step: in its generation, or of all."""
        self.until = 0
        """The number of the first step that may be in another stage than its predecessor."""
        self._stage: Stage | None = None
        self._idle = True  # steps of the stage need no instrument
        self._laps: Laps | None = None  # and these no other
        self._open: RecordedStep | Unmade | None = None
        self.over = False
        """Whether no further step is recorded."""
        self._finished = self._forked = False
        self._wrote: Path | None = None
        RECORDINGS.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish(error)

    @property
    def passing(self) -> Pass:
        """The pass that the next step is in."""
        if self.over:
            return Pass.done
        if isinstance(self.plan, ByGeneration):
            return self._stage.pass_ if self._stage else Pass.warm_up
        return self.plan.stage(self.number).pass_

    def generations(self) -> Iterator[Generation]:
        """Yield once for each generation that the program is to run. Raises CaptureError for a plan by number."""
        if not isinstance(self.plan, ByGeneration):
            raise CaptureError(
                "generations() of a recording that counts steps; expected record(...) without schedule=, or rec.step() "
                "after each iteration."
            )
        for stage in self._stages(self.plan):
            if self.over:
                break
            self.findings.ran += self.number
            self.number, self.until = 0, sys.maxsize
            self._enter(stage)
            complete = False
            try:
                yield Generation(stage, self.instruments.window)
                complete = True  # the program came back for the next generation
            finally:
                self._leave(stage, complete=complete)
        self.over = True

    def step(self, kind: str | RecordedStep | None = None, *, phase: str | None = None, **facts: Any) -> "MarkedStep":
        """A context manager around a step of kind `kind`, or a decorator of a function that is such a step.

        `phase` defaults to `kind`. `facts` are pairs of the step's label; `query`, `context`, `tokens` and `block` are
        whole numbers for each sequence. Without arguments it ends an iteration, as `profiler.step()` does, in a
        recording with a schedule.
        """
        if kind is None:
            self._iterate()
        return MarkedStep(self, kind, phase, facts)

    def begin(self, kind: str | RecordedStep, *, phase: str | None = None, **facts: Any) -> None:
        """Begin a step. Raises CaptureError inside of another step, and for a fact that no step may have."""
        if not self.over:
            step = kind if isinstance(kind, RecordedStep) else program.step_of(kind, phase, self.number, facts)
            self.begin_step(step)

    # The program waits for this and `end`, which its step has driven out of the core's caches: they touch little.
    def begin_step(self, step: RecordedStep | Unmade) -> None:
        """Begin a step, which is made only if somebody asks for it.

        Raises CaptureError inside of another step, and what the making of the step raises.
        """
        if self.over:
            return
        if self._open is not None:
            raise CaptureError(
                f"a step began inside of the step {made(self._open).kind!r}; expected steps one after another: mark "
                "the outer or the inner ones."
            )
        if self.number >= self.until:
            self._ask()
        if self._stage is None or self._idle:
            self._open = step
        elif self._laps is None:
            self._open = step = made(step)
            with self._guarded():
                self.instruments.begin(self._stage, step)
                self._laps = self.instruments.laps
        else:
            self._open = step
            try:  # `_guarded` takes longer
                self._laps.begin()
            except Exception as error:
                self._failed(error)

    def _ask(self) -> None:
        """Ask a plan by number for the stage of the next step."""
        if isinstance(self.plan, ByGeneration):
            return
        stage = self.plan.stage(self.number)
        if self._stage not in (None, stage):  # the plan has learned something since the last step ended
            self._leave(self._stage, complete=True)
        if stage != self._stage:
            self._enter(stage)
        self.until = self.plan.until(self.number)

    def _enter(self, stage: Stage | None) -> None:
        self._stage, self._laps = stage, None
        self._idle = stage is None or stage.idle

    def end(self, error: BaseException | None = None) -> None:
        """End the step that runs, if any. With `error`, the step did not complete and is left out of all results."""
        step, self._open = self._open, None
        if step is None or self.over:
            return
        self.number += 1
        try:
            if self._laps is None:
                if self._stage is not None and not self._idle:
                    self.instruments.end(self._stage, made(step), whole=error is None)
            elif error is None:
                self._laps.end(step)
        except Exception as failure:
            self._failed(failure)
        if self.number >= self.until:
            self._turn(complete=error is None)

    def _turn(self, *, complete: bool) -> None:
        """Leave the stage of a plan by number if the next step is in another one."""
        stage = self._stage
        if stage is None or isinstance(self.plan, ByGeneration):
            return
        after = self.plan.stage(self.number)
        if after == stage:
            return
        self._leave(stage, complete=complete)
        window_ends = stage.pass_ is Pass.traced and not stage.spare
        if after.pass_ is Pass.done or (window_ends and not self._left_to_count()):
            self.over = True

    def leave_to_parent(self) -> None:
        """In a forked child: record and write nothing."""
        self.over = self._forked = True

    def discard(self, reason: str) -> None:
        """Stop recording without a result, and say why."""
        if not self.over:
            self.over = True
            self.instruments.stop()
            self.findings.traces.clear()
            self._say(f"{reason}; nothing is recorded")
            self._finished = True

    def finish(self, error: BaseException | None = None) -> Path | None:
        """End the recording, write its run directory and return where; None if there was nothing to write.

        `error` is the exception that ended the program. Never raises; a second call returns what the first did.
        """
        if self._finished or self._forked:
            return self._wrote
        self._finished = True
        try:
            # A step that runs now did not complete.
            self.end(error or CaptureError("the program ended"))
            if self._stage is not None:
                self._leave(self._stage, complete=False)
            self.over = True
            self.findings.ran += self.number
            self.instruments.finish_timing()
            self.instruments.use_spare()
            device = self.instruments.device
            self._wrote = storing.finish(self.findings, self._path, device, self.modules, error, self._say)
            counters = self.findings.counted.result() if self._wrote and self.findings.counted else {}
            if "reason" in counters:
                self._say(f"no hardware counters: {counters['reason']}")
            if self._wrote is not None and self._ceilings and error is None:
                storing.add_ceilings(self._wrote, self._path, self.findings.job, device, self._say)
        except Exception as failure:
            self._say(f"{self._path} is not written: {one_line(failure)}")
        with suppress(Exception):  # whatever the program's own failure left, of a device for example
            self.instruments.stop()
        return self._wrote

    def _stages(self, plan: ByGeneration) -> Iterator[Stage]:
        """The stages of a recording by generations, each decided when it starts."""
        yield from (Stage(Pass.warm_up, repeat) for repeat in range(plan.warmup))
        yield from (Stage(Pass.timed, repeat) for repeat in range(plan.timed))
        with self._guarded():
            self.instruments.finish_timing()
        self.instruments.window = [0]
        yield Stage(Pass.warm_up, settles=True)
        self.instruments.window = window(plan, self.findings.steps)
        yield Stage(Pass.traced)
        if self.instruments.twin:
            yield Stage(Pass.twin)
        left = self._left_to_count()
        while left:
            yield Stage(Pass.counted)
            before, left = left, self._left_to_count()
            if left == before:  # the generation had no step
                break

    def _left_to_count(self) -> tuple[str, ...]:
        with self._guarded():
            self.instruments.prepare_counting(self._hung)
        return self.findings.counted.sets if self.findings.counted is not None else ()

    def _hung(self, line: str) -> None:
        """Write what was recorded before the process ends: a kernel hangs while it is counted."""
        self._say(line)
        self._finished = True
        device = self.instruments.device
        self._wrote = storing.finish(self.findings, self._path, device, self.modules, None, self._say)

    def _leave(self, stage: Stage, *, complete: bool) -> None:
        self._enter(None)
        if self._forked:  # a child that was forked inside of the loop
            return
        with self._guarded():
            self.instruments.leave(stage, complete=complete)

    def _iterate(self) -> None:
        """End the iteration that runs, and begin the next one."""
        if isinstance(self.plan, ByGeneration):
            raise CaptureError(
                "rec.step() ends an iteration of a recording with a schedule; expected record(..., schedule=...), or a "
                'kind of step: rec.step("decode").'
            )
        if self._open is None:
            self.number += 1  # the first iteration, whose beginning was not seen
        self.end()
        self.begin("step")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn an exception of the recorder into a line, and end the recording."""
        try:
            yield
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._strict:
            raise error
        self.over = True
        self._say(f"recording stopped: {one_line(error)}")
        with suppress(Exception):
            self.instruments.stop()


RECORDINGS: WeakSet[Recording] = WeakSet()


def forked() -> None:
    """In a forked child: what the parent has begun is the parent's alone."""
    for recording in RECORDINGS:
        recording.leave_to_parent()


os.register_at_fork(after_in_child=forked)


class MarkedStep:
    """A step as a context manager, and as a decorator of a function that is a step."""

    def __init__(
        self, recording: Recording, kind: str | RecordedStep | None, phase: str | None, facts: dict[str, Any]
    ) -> None:
        self._recording, self._kind, self._phase, self._facts = recording, kind, phase, facts

    def __enter__(self) -> None:
        if self._kind is None:
            raise CaptureError('a step without a kind; expected one: with rec.step("decode").')
        self._recording.begin(self._kind, phase=self._phase, **self._facts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recording.end(error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def marked(*arguments: P.args, **keywords: P.kwargs) -> R:
            with self:
                return function(*arguments, **keywords)

        return marked
