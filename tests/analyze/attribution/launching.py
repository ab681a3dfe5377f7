"""Hand-written traces of Python programs, and the module and stack of each of their activities."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from ridgeline.analyze.attribution.autograd import forward_operators, forward_partners
from ridgeline.analyze.attribution.modules import Modules, add_modules
from ridgeline.analyze.attribution.operators import attribute, build_tree, parse_labels
from ridgeline.analyze.attribution.origins import find_origins
from ridgeline.analyze.attribution.stacks import stack_rows
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.trace import assemble
from tests.analyze import kineto

AUTOGRAD = {"pid": 400, "tid": 401}
"""The thread on which autograd runs the backward pass."""


class Launching(NamedTuple):
    activities: pl.DataFrame
    names: list[str]
    modules: Modules
    stacks: pl.DataFrame

    def module_of(self) -> dict[str, str | None]:
        """The path of the module of each kernel, by the kernel's name, in order of start."""
        codes = self.activities["module"].to_list()
        paths = [None if code is None else self.modules.listed[code].path for code in codes]
        return dict(zip(self._kernels(), paths, strict=True))

    def line_of(self) -> dict[str, str | None]:
        """The source line of each kernel."""
        return self._of_stack("source_line")

    def stack_of(self) -> dict[str, str | None]:
        return self._of_stack("stack")

    def _of_stack(self, column: str) -> dict[str, str | None]:
        ids = self.activities["stack_id"].to_list()
        texts = self.stacks[column].to_list()
        return dict(zip(self._kernels(), (None if i is None else texts[i] for i in ids), strict=True))

    def _kernels(self) -> list[str]:
        return [self.names[code] for code in self.activities["name"].to_list()]


def launching(path: Path, events: list[kineto.Event]) -> Launching:
    file = kineto.write(path / "t.json", events)
    trace = assemble([read_part(file)], file)
    labels = parse_labels(trace)
    tree = build_tree(trace, labels)
    activities = attribute(trace, tree)
    forward = forward_operators(trace, tree.operator_parent(), forward_partners(trace))
    origins = find_origins(trace, tree, activities, forward)
    activities, modules = add_modules(trace, labels, origins, activities)
    stack_ids, stacks = stack_rows(trace, origins)
    activities = activities.with_columns(stack_ids)
    return Launching(activities, trace.names, modules, stacks)


def call(
    name: str,
    at_us: float,
    number: int,
    *,
    thread: dict[str, int] = kineto.THREAD,
    autograd: dict[str, int] | None = None,
) -> list[kineto.Event]:
    """An operator of 8 us that launches one kernel, ``name``, 2 us after it begins; ``number`` is an id of its own."""
    operator = kineto.operator(f"aten::{name}", at_us, 8.0, number)
    operator["args"] |= autograd or {}
    events = [operator | thread, kineto.launch(at_us + 2, number) | thread]
    return [*events, kineto.kernel(name, at_us + 100_000, 5.0, number, **{"External id": number})]


def forward(name: str, at_us: float, number: int, sequence: int) -> list[kineto.Event]:
    return call(name, at_us, number, autograd={"Sequence number": sequence, "Fwd thread id": 0})


def backward(name: str, at_us: float, number: int, sequence: int) -> list[kineto.Event]:
    """A node of 20 us on autograd's thread with one operator inside."""
    args = {"External id": number + 1000, "Sequence number": sequence, "Fwd thread id": 1}
    node = (
        kineto.span("cpu_op", f"autograd::engine::evaluate_function: {name}Backward0", at_us, 20.0, **args) | AUTOGRAD
    )
    return [node, *call(f"{name}_grad", at_us + 5, number, thread=AUTOGRAD)]
