"""What a recording has found so far, and the record that it becomes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from ridgeline.capture import environment
from ridgeline.capture.measuring import energy, telemetry
from ridgeline.capture.measuring.profiling import Trace
from ridgeline.capture.recording import program
from ridgeline.capture.recording.counted import Counted
from ridgeline.capture.recording.plan import Pass
from ridgeline.capture.records import Job, Memory, ProfilerCost, Record, Timing
from ridgeline.capture.steps import RecordedStep

FILES = {Pass.traced: "trace", Pass.twin: "trace.twin"}
"""The name of the trace of each pass, without `.json.gz`."""


class Findings(msgspec.Struct, kw_only=True):
    """What a recording has found.

    `steps` are those of the last timed generation, or all timed steps where the program has no `generations`. `window`
    are the traced steps; `complete` says that all planned ones were traced. `unfinished` are labels of steps that did
    not end. `allocations` says whether the trace has them. `committed` is the number of tokens of a generation, or
    without generations of a step, over the batch; None if unknown.
    """

    name: str
    experiment: str
    facts: dict[str, Any]
    generations: bool
    allocations: bool = False
    committed: int | None = None
    ran: int = 0
    repeats: int = 0
    complete: bool = False
    job: Job | None = None
    steps: list[RecordedStep] = []
    window: list[RecordedStep] = []
    unfinished: list[str] = []
    timings: list[Timing] = []
    samples: list[telemetry.Sample] = []
    memory: Memory | None = None
    profiler: ProfilerCost | None = None
    counted: Counted | None = None
    traces: dict[Pass, Trace] = {}
    capture: Trace | None = None

    def tokens(self) -> dict[str, Any]:
        """Counts of a generation: tokens committed and positions processed over the batch, and forwards by kind."""
        batch = self.facts.get("batch") or 1
        counts: dict[str, Any] = {}
        committed = self.committed
        if committed is not None and not self.generations:
            committed *= len(self.steps)
        if committed is None and any(step.tokens for step in self.steps):
            committed = batch * sum(step.tokens or 0 for step in self.steps)
        if committed is not None:
            counts["committed"] = committed
        queries = [step.query for step in self.steps if step.query is not None]
        if queries and len(queries) == len(self.steps):
            counts["processed"] = batch * sum(queries)
        return counts | ({"forwards": dict(Counter(step.kind for step in self.steps))} if self.steps else {})

    def record(self, device: torch.device, modules: Sequence[nn.Module]) -> Record:
        """The content of run.json."""
        model = program.model_of(modules)
        config = {"model": model.get("name"), "dtype": program.dtype_of(modules), **self.facts}
        if Pass.traced in self.traces:
            config.setdefault("execution", self.traces[Pass.traced].execution)
        record = Record(
            name=self.name,
            experiment=self.experiment,
            config={key: value for key, value in config.items() if value is not None} | {"device": device.type},
            model=model,
            environment=environment.describe(device),
            job=self.job,
            tokens=self.tokens(),
        )
        self.measure(record)
        return record

    def measure(self, record: Record) -> None:
        """Set the measurements of `record`, which has its tokens."""
        committed = record.tokens.get("committed")
        record.timings, record.window = self.timings, self.window
        record.memory, record.profiler = self.memory, self.profiler
        record.allocations = self.allocations
        record.counters = self.counted.result() if self.counted is not None else None
        record.energy = energy.summarize(self.samples, committed * self.repeats if committed else None)
        if trace := self.traces.get(Pass.twin) or self.traces.get(Pass.traced):
            record.attention = trace.attention

    def write(self, directory: Path) -> None:
        """Write the traces and the telemetry into `directory`."""
        for pass_, trace in self.traces.items():
            trace.write(directory, FILES[pass_])
        if self.capture is not None:
            (directory / "trace.capture.json.gz").write_bytes(self.capture.kineto)
        telemetry.write(directory / "telemetry.csv", self.samples)
        if self.counted is not None:
            self.counted.write(directory)
