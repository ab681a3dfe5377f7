"""What a recording takes from each step of a program outside of traced steps, beside the same steps unrecorded.

    python -m tests.bench.bench_record
    python -m tests.bench.bench_record --rows 64 --rounds 40 --markdown capture/launching/README.md

One process runs a small decoder on one thread. Blocks of steps alternate: unrecorded, recorded by the launcher as timed
steps, marked by `rec.step`. The recorder's time is that around the forwards of the program's modules, and after the
optimizer's own step, less the same of unrecorded steps: real steps have driven the recorder out of the core's caches by
then. It includes the marks of the step's time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

import ridgeline
from ridgeline.capture.launching.options import Options
from ridgeline.capture.launching.process import Program
from tests.bench import tables

STEPS = 30
"""Steps of a block."""

LEFT_OUT = 5
"""First steps of a block, in which Python specializes the calls of modules anew."""

HEADER = ("steps outside of traced ones", "step, ms", "recorder before, µs", "after, µs", "both, % of the step")


class Noting(nn.Module):
    """Notes when its forward ran."""

    began_ns = ended_ns = 0


class Decoder(Noting):
    """A decoder without attention, whose call has tokens, a mask and a cache."""

    def __init__(self, width: int = 256, layers: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(128, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(layers)
        )

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, past_key_values: object, use_cache: bool = True
    ) -> torch.Tensor:
        self.began_ns = time.perf_counter_ns()
        hidden: torch.Tensor = self.embed(input_ids)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        self.ended_ns = time.perf_counter_ns()
        return hidden


class Loss(Noting):
    """A loss, which has no parameters."""

    def forward(self, output: torch.Tensor) -> torch.Tensor:
        self.began_ns = time.perf_counter_ns()
        loss = output.square().mean()
        self.ended_ns = time.perf_counter_ns()
        return loss


class Loop:
    """The program: steps of a decoder, of which a `training` step has a loss and an optimizer too.

    `before_ns` and `after_ns` are the times of a step before and after the forwards and the optimizer's own step.
    """

    def __init__(self, rows: int, training: bool) -> None:
        self.model, self.loss = Decoder().train(training), Loss()
        self._inputs = torch.ones(rows, 1, dtype=torch.long), torch.ones(rows, 40, dtype=torch.long)
        self._optimizer = torch.optim.SGD(self.model.parameters()) if training else None
        if self._optimizer is not None:
            # runs before the recorder's hook
            self._optimizer.register_step_post_hook(lambda *_: self._note())
        self._stepped_ns = self.before_ns = self.after_ns = 0

    def step(self) -> None:
        """Run a step."""
        self.before_ns = self.after_ns = 0
        ids, mask = self._inputs
        output = self._call(self.model, input_ids=ids, attention_mask=mask, past_key_values=None)
        if self._optimizer is not None:
            self._call(self.loss, output).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self.after_ns += time.perf_counter_ns() - self._stepped_ns
            self._optimizer.zero_grad()

    def marked(self, mark: AbstractContextManager[Any]) -> None:
        """Run a step in `mark`."""
        began_ns = time.perf_counter_ns()
        with mark:
            self.step()
        ended_ns = time.perf_counter_ns()
        self.before_ns, self.after_ns = self.model.began_ns - began_ns, ended_ns - self.model.ended_ns

    def _call(self, module: Noting, *args: Any, **kwargs: Any) -> torch.Tensor:
        began_ns = time.perf_counter_ns()
        output: torch.Tensor = module(*args, **kwargs)
        self.after_ns += time.perf_counter_ns() - module.ended_ns
        self.before_ns += module.began_ns - began_ns
        return output

    def _note(self) -> None:
        self._stepped_ns = time.perf_counter_ns()


class Edges:
    """Nanoseconds before and after the forwards of steps, and of whole steps."""

    def __init__(self) -> None:
        self.before_ns: list[int] = []
        self.after_ns: list[int] = []
        self.step_ns: list[int] = []

    def run(self, loop: Loop, step: Callable[[], object]) -> None:
        """Run a block of steps."""
        for number in range(STEPS):
            began_ns = time.perf_counter_ns()
            step()
            ended_ns = time.perf_counter_ns()
            if number >= LEFT_OUT:
                self.before_ns.append(loop.before_ns)
                self.after_ns.append(loop.after_ns)
                self.step_ns.append(ended_ns - began_ns)

    def cells(self, name: str, alone: Edges) -> list[str]:
        """Return the row of a table under ``HEADER``, less what steps `alone` take."""
        before_us = (median(self.before_ns) - median(alone.before_ns)) / 1e3
        after_us = (median(self.after_ns) - median(alone.after_ns)) / 1e3
        step_ms = median(alone.step_ns) / 1e6
        percent = (before_us + after_us) / step_ms / 10
        return [name, f"{step_ms:.2f}", f"{before_us:.1f}", f"{after_us:.1f}", f"{percent:.2f}"]


def measure_launcher(name: str, loop: Loop, rounds: int, folder: Path) -> list[str]:
    """Return the row `name` of a table under ``HEADER``."""
    alone, launched = Edges(), Edges()
    program = Program(
        Options(out=str(folder), name="launched", warmup=0, timed=10**9, counters="off", process=os.getpid())
    )
    for _ in range(rounds):
        alone.run(loop, loop.step)
        program._calls.install()
        program._optimizers.install()
        launched.run(loop, loop.step)
        program._optimizers.remove()
        program._calls.remove()
    if program._recording is not None:
        program._recording.instruments.stop()  # nothing is written
    return launched.cells(name, alone)


def measure_marks(name: str, loop: Loop, rounds: int, folder: Path) -> list[str]:
    """The same of a program that marks its steps."""
    alone, marked = Edges(), Edges()
    endless = torch.profiler.schedule(skip_first=1, wait=90_000, warmup=1, active=1)
    recording = ridgeline.record(folder / "marked", schedule=endless, ceilings=False)
    for _ in range(rounds):
        alone.run(loop, lambda: loop.marked(nullcontext()))
        marked.run(loop, lambda: loop.marked(recording.step("decode", query=1, context=40, tokens=1)))
    recording.instruments.stop()
    return marked.cells(name, alone)


def measure(rows: int, rounds: int, folder: Path, training: bool) -> list[list[str]]:
    """Return rows of a table under ``HEADER``. Training makes the first optimizer of this process."""
    name = "`ridgeline record -- PROGRAM`"
    loop = Loop(rows, training)
    if training:
        return [measure_launcher(f"{name}, training", loop, rounds, folder)]
    with torch.inference_mode():
        cells = [
            measure_launcher(name, loop, rounds, folder),
            measure_marks("`with rec.step(...)`", loop, rounds, folder),
        ]
    return [*cells, measure_launcher(f"{name}, gradients enabled", loop, rounds, folder)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[24, 96], help="sequences of a step")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--markdown", type=Path, nargs="*", default=[], help="pages whose block `record` is replaced")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for training in (False, True)
            for size in given.rows
            for row in measure(size, given.rounds, Path(folder), training)
        ]
    block = tables.markdown(HEADER, rows)
    print(block)
    for path in given.markdown:
        tables.fill(path, {"record": block})


if __name__ == "__main__":
    main()
