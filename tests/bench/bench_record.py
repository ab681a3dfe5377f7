"""What a recording takes from each step of a program outside of traced steps, beside the same steps unrecorded.

    python -m tests.bench.bench_record
    python -m tests.bench.bench_record --rows 64 --rounds 40 --markdown capture/launching/README.md

One process runs a small decoder on one thread. Blocks of steps alternate: unrecorded, recorded by the launcher as timed
steps, marked by `rec.step`. The recorder's time is that around the module's own forward, less the same of unrecorded
steps: real steps have driven the recorder out of the core's caches by then. It includes the marks of the step's time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median

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


class Decoder(nn.Module):
    """A decoder without attention, whose call has tokens, a mask and a cache. It notes when its forward ran."""

    def __init__(self, width: int = 256, layers: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(128, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(layers)
        )
        self.began_ns = self.ended_ns = 0

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, past_key_values: object, use_cache: bool = True
    ) -> torch.Tensor:
        self.began_ns = time.perf_counter_ns()
        hidden: torch.Tensor = self.embed(input_ids)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        self.ended_ns = time.perf_counter_ns()
        return hidden


class Edges:
    """Nanoseconds before and after the forward, and of whole steps."""

    def __init__(self) -> None:
        self.before_ns: list[int] = []
        self.after_ns: list[int] = []
        self.step_ns: list[int] = []

    def run(self, model: Decoder, step: Callable[[], object]) -> None:
        """Run a block of steps."""
        for number in range(STEPS):
            began_ns = time.perf_counter_ns()
            step()
            ended_ns = time.perf_counter_ns()
            if number >= LEFT_OUT:
                self.before_ns.append(model.began_ns - began_ns)
                self.after_ns.append(ended_ns - model.ended_ns)
                self.step_ns.append(ended_ns - began_ns)

    def cells(self, name: str, alone: Edges) -> list[str]:
        """Return the row of a table under ``HEADER``, less what steps `alone` take."""
        before_us = (median(self.before_ns) - median(alone.before_ns)) / 1e3
        after_us = (median(self.after_ns) - median(alone.after_ns)) / 1e3
        step_ms = median(alone.step_ns) / 1e6
        percent = (before_us + after_us) / step_ms / 10
        return [name, f"{step_ms:.2f}", f"{before_us:.1f}", f"{after_us:.1f}", f"{percent:.2f}"]


@torch.inference_mode()
def measure(rows: int, rounds: int, folder: Path) -> list[list[str]]:
    """Return rows of a table under ``HEADER``."""
    model = Decoder().eval()
    ids, mask = torch.ones(rows, 1, dtype=torch.long), torch.ones(rows, 40, dtype=torch.long)
    alone, launched, marked = Edges(), Edges(), Edges()
    endless = torch.profiler.schedule(skip_first=1, wait=90_000, warmup=1, active=1)
    recording = ridgeline.record(folder / "marked", schedule=endless, ceilings=False)
    program = Program(
        Options(out=str(folder), name="launched", warmup=0, timed=10**9, counters="off", process=os.getpid())
    )

    def step(marks: bool = False) -> None:
        with recording.step("decode", query=1, context=40, tokens=1) if marks else nullcontext():
            model(input_ids=ids, attention_mask=mask, past_key_values=None)

    for _ in range(rounds):
        alone.run(model, step)
        program._calls.install()
        launched.run(model, step)
        program._calls.remove()
        marked.run(model, lambda: step(marks=True))
    for each in filter(None, (recording, program._recording)):
        each.instruments.stop()  # nothing is written
    return [launched.cells("`ridgeline record -- PROGRAM`", alone), marked.cells("`with rec.step(...)`", alone)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[24, 96], help="sequences of a step")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--markdown", type=Path, nargs="*", default=[], help="pages whose block `record` is replaced")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for size in given.rows for row in measure(size, given.rounds, Path(folder))]
    block = tables.markdown(HEADER, rows)
    print(block)
    for path in given.markdown:
        tables.fill(path, {"record": block})


if __name__ == "__main__":
    main()
