"""The instruments of a recording: clock, telemetry, profiler and labels, each running in its own pass only."""

import gzip
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from torch import nn
from torch.profiler import profile, record_function

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring import peak_memory, profiler_cost, profiling, telemetry
from ridgeline.capture.measuring.clocks import synchronize
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.measuring.timing import Laps
from ridgeline.capture.recording import program, ranks
from ridgeline.capture.recording.counted import Counted
from ridgeline.capture.recording.findings import Findings
from ridgeline.capture.recording.outcomes import outcome_of
from ridgeline.capture.recording.plan import Pass, Stage
from ridgeline.capture.records import ProfilerCost
from ridgeline.capture.steps import RecordedStep

CAPTURE = b"StreamEndCapture"
"""A part of the name of the call that ends the capture of a graph, in a trace."""


class Instruments:
    """Takes the measurements of each stage into `findings`.

    `window` are the indices of the steps to trace in a generation, None where every step of the pass is traced. `parts`
    are the bytes of weights, cache and logits, for the peak of memory; None counts the weights of `modules`. With
    `twin` a generation that launches every kernel follows the traced one.
    """

    def __init__(
        self,
        findings: Findings,
        modules: list[nn.Module],
        *,
        device: torch.device | None,
        labels: Labels,
        counters: str,
        memory: bool,
        joined: bool,
        say: Callable[[str], None],
    ) -> None:
        self.findings, self.modules = findings, modules
        self.window: Sequence[int] | None = None
        self.parts: dict[str, int] | None = None
        self.twin = False
        self._device, self._labels, self._say = device, labels, say
        self._counters, self._memory, self._joined = counters, memory, joined
        self._label: AbstractContextManager[Any] | None = None
        self._laps: Laps | None = None
        self._tracing: profiling.Tracing | None = None
        self._spare: tuple[profiling.Tracing, Laps] | None = None
        self._settling: profile | None = None
        self._telemetry: AbstractContextManager[list[telemetry.Sample]] | None = None
        peak_memory.reset_peak(self.device)

    @property
    def device(self) -> torch.device:
        """The device that the program works on, as far as it has shown yet."""
        return self._device or program.device_of(self.modules)

    @property
    def laps(self) -> Laps | None:
        """The laps of the steps that run now, None while they are traced or not measured."""
        return self._laps if self._tracing is None else None

    def begin(self, stage: Stage, step: RecordedStep) -> None:
        """Start what the stage needs, and mark the beginning of `step`."""
        if self._captures():  # waits would break the program's capture of a CUDA graph
            return
        if self._laps is None:
            self._start(stage, step)
        if self._laps is not None:
            self._laps.begin()
        if self._tracing is not None:
            self._label = record_function(step.label)
            self._label.__enter__()  # type: ignore[no-untyped-call]

    def end(self, stage: Stage, step: RecordedStep, *, whole: bool) -> None:
        """Mark the end of `step`; what is not `whole` is not kept."""
        if self._label is not None:
            label, self._label = self._label, None
            label.__exit__(None, None, None)
            if not whole:
                self.findings.unfinished.append(step.label)
        if self._laps is not None and whole:
            self._laps.end(step)
        if stage.pass_ is Pass.counted and self.findings.counted is not None:
            self.findings.counted.end(whole=whole)
        if self._settling is not None:
            self._stop_settling()
        # None: the number of steps ends the stage, not the index of a step.
        if self._tracing is not None and self.window is not None and step.index >= max(self.window):
            self._stop_tracing(stage.pass_, complete=whole)

    def leave(self, stage: Stage, *, complete: bool) -> None:
        """Take the results of a stage that is over, `complete` or cut short."""
        if self._tracing is not None and self._laps is not None and stage.spare:
            self._tracing.stop()
            self._spare, self._tracing = (self._tracing, self._laps), None
        if self._tracing is not None:
            self._stop_tracing(stage.pass_, complete=complete)
        if self._settling is not None:
            self._stop_settling()
        if self.findings.counted is not None:
            self.findings.counted.leave()
        laps, self._laps = self._laps, None
        if laps is not None and stage.pass_ is Pass.timed and laps.steps:
            laps.close()
            self.findings.steps = laps.steps
            self.findings.timings += laps.timings_of(stage.repeat, generation=self.findings.generations)
            self.findings.repeats += 1

    def finish_timing(self) -> None:
        """Stop the telemetry, and read the peak of memory before profiling, whose own memory would count."""
        if self._telemetry is None:
            return
        running, self._telemetry = self._telemetry, None
        running.__exit__(None, None, None)
        parts = self.parts or {
            "weights_bytes": program.weights_bytes(self.modules),
            "cache_bytes": 0,
            "logits_bytes": 0,
        }
        self.findings.memory = peak_memory.peak(self.device, **parts)
        if self.twin:
            self.findings.profiler = self._profiler_cost()

    def use_spare(self) -> None:
        """Take the trace of a spare stage where there is no other, or where it has the capture of replayed graphs."""
        if self._spare is None:
            return
        (tracing, laps), self._spare = self._spare, None
        trace = self.findings.traces.get(Pass.traced)
        if trace is None:
            self._take(tracing, laps, Pass.traced, complete=False)
        elif trace.execution == "cuda_graph":
            with suppress(CaptureError):  # no kernel ran
                capture = tracing.result()
                self.findings.capture = capture if CAPTURE in gzip.decompress(capture.kineto) else None
        tracing.close()

    def prepare_counting(self, hung: Callable[[str], None]) -> None:
        """Find out which sets of metrics the traced steps can be counted in, once.

        `hung` gets a line before a process ends that hangs while it counts.
        """
        findings = self.findings
        trace = findings.traces.get(Pass.twin if self.twin else Pass.traced)
        without = self._counters == "off" or (self._counters == "auto" and self.device.type != "cuda")
        if trace is not None and findings.counted is None and not without:
            findings.counted = Counted(trace, findings.window, self.device, self._counters, hung)

    def stop(self) -> None:
        """Stop everything that still runs, without results."""
        if self._spare is not None:
            (tracing, _), self._spare = self._spare, None
            tracing.close()
        if self._tracing is not None:
            self._tracing.discard()
            self._tracing = None
        if self._settling is not None:
            self._stop_settling()
        if self.findings.counted is not None:
            self.findings.counted.stop()
        if self._telemetry is not None:
            running, self._telemetry = self._telemetry, None
            running.__exit__(None, None, None)
        self._laps = None

    def _captures(self) -> bool:
        return self._device is not None and self._device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def _start(self, stage: Stage, step: RecordedStep) -> None:
        """Start what the stage needs from `step` on."""
        if stage.settles:
            if self._settling is None and step.index in (self.window or [step.index]):
                self._refuse_another_profiler()
                self._settling = profiling.start(self.device)
        elif stage.pass_ is Pass.timed:
            self._start_timing()
        elif stage.pass_ in (Pass.traced, Pass.twin) and self._in_window(step):
            self._start_tracing(stage.pass_)
        elif stage.pass_ is Pass.counted and self._in_window(step) and self.findings.counted is not None:
            self.findings.counted.begin(step)

    def _start_timing(self) -> None:
        self._device = self.device
        if self._telemetry is None:
            self.findings.job = ranks.rank_of_process()  # while the program's process group exists
            self._telemetry = telemetry.recorded(self.device)
            self.findings.samples = self._telemetry.__enter__()
        self._laps = Laps(self.device, joined=self._joined)

    def _in_window(self, step: RecordedStep) -> bool:
        return self.window is None or step.index in self.window

    def _start_tracing(self, pass_: Pass) -> None:
        self._device = self.device
        self.finish_timing()
        self._refuse_another_profiler()
        self.findings.job = self.findings.job or ranks.rank_of_process()
        # Replays record no operators, so the execution trace and the modules are those of the twin.
        launched = not self.twin or pass_ is Pass.twin
        laps = Laps(self.device, joined=self._joined)  # makes its events before the profiler sees them
        self._tracing = profiling.Tracing(
            self.device,
            self._labels if launched else Labels(),
            self.modules if launched else [],
            observed=launched,
            memory=self._memory,
        )
        self._laps = laps
        self._compiled = program.compiled_frames()

    def _stop_tracing(self, pass_: Pass, *, complete: bool) -> None:
        assert self._tracing is not None
        tracing, self._tracing = self._tracing, None
        laps, self._laps = self._laps, None
        tracing.stop()
        if program.compiled_frames() > self._compiled:
            self._say(
                "torch.compile compiled code while steps were traced, which their times contain; warm up more steps, "
                "and leave modules out of modules= that compiled code calls"
            )
        if laps is not None:
            self._take(tracing, laps, pass_, complete=complete)

    def _take(self, tracing: profiling.Tracing, laps: Laps, pass_: Pass, *, complete: bool) -> None:
        """Take the trace of the steps in `laps` into the findings."""
        trace = tracing.result(self.findings.unfinished)
        if not laps.steps:
            return
        self.findings.traces[pass_] = trace
        if pass_ is Pass.traced:
            self.findings.complete = complete
            self.findings.window = laps.steps
            self.findings.timings += laps.timings("profiled_step")

    def _stop_settling(self) -> None:
        running, self._settling = self._settling, None
        if running is not None:
            try:
                synchronize(self.device)
            finally:
                profiling.stop(running)

    def _refuse_another_profiler(self) -> None:
        """Raise CaptureError where the program runs a profiler of torch itself."""
        if profiling.is_profiled():
            raise CaptureError("the program runs a profiler of its own; expected none while Ridgeline traces")

    def _profiler_cost(self) -> ProfilerCost:
        """Return what the profiler adds to a replay, or why that is unknown. Never raises: the steps are timed."""
        try:
            return profiler_cost.calibrated(self.device)
        except Exception as error:
            message = outcome_of(error)[1]
        peak_memory.release(self.device)
        return ProfilerCost(message=message)
