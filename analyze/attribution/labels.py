"""Labels: ``record_function`` names made of ``key=value`` pairs, and torch.profiler's own ``ProfilerStep#3``."""

from __future__ import annotations

import re
from typing import NamedTuple

_PAIRS = re.compile(r"\w+=\S+(?:\s+\w+=\S+)*")
_PROFILER_STEP = re.compile(r"ProfilerStep#(\d+)")


class Label(NamedTuple):
    """The step and module that a span's name gives to the work inside it; None for each key the name lacks."""

    phase: str | None = None
    kind: str | None = None
    step: int | None = None
    block: int | None = None
    query: int | None = None
    context: int | None = None
    tokens: int | None = None
    module: str | None = None

    @property
    def marks_step(self) -> bool:
        return self.phase is not None or self.kind is not None or self.step is not None


NOTHING = Label()
_TEXT = ("phase", "kind", "module")


def parse(name: str) -> Label:
    """The label in a span's name.

    >>> parse("phase=decode step=3 kind=reuse").step
    3
    """
    if match := _PROFILER_STEP.fullmatch(name):
        return Label(step=_number(match[1]))
    if "=" not in name or not _PAIRS.fullmatch(name):
        return NOTHING
    pairs = dict(pair.split("=", 1) for pair in name.split())
    fields = {key: value if key in _TEXT else _number(value) for key, value in pairs.items() if key in Label._fields}
    return Label(**fields)  # type: ignore[arg-type]


def _number(text: str) -> int | None:
    # 19 digits may exceed the 64-bit integers of the tables
    return int(text) if text.isdecimal() and len(text) < 19 else None
