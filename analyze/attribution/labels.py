"""Labels: ``record_function`` names made of ``key=value`` pairs, and torch.profiler's own ``ProfilerStep#3``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_PAIRS = re.compile(r"\w+=\S+(?:\s+\w+=\S+)*")
_PROFILER_STEP = re.compile(r"ProfilerStep#(\d+)")


class Label(NamedTuple):
    """What a span's name says of the work inside it; None where it says nothing."""

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
    known = {key: value if key in _TEXT else _number(value) for key, value in pairs.items() if key in Label._fields}
    return Label(**known)  # type: ignore[arg-type]


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


def parse_all(names: Sequence[str]) -> list[Label]:
    return [parse(name) for name in names]
