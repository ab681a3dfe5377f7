"""Labels: names of annotations that say which step or module the work inside them belongs to.

Ridgeline's own are made of ``key=value`` pairs. Those of torch.profiler and of serving engines are patterns in
``step_annotations.toml``, and ``--step`` adds a pattern of the user's.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from ridgeline.analyze.errors import AnalyzeError

_PAIRS = re.compile(r"\w+=\S+(?:\s+\w+=\S+)*")
_PAIR = re.compile(r"(\w+)=(\d+)")


class Label(NamedTuple):
    """The step and module that a span's name gives to the work inside it; None for each key the name lacks.

    ``query`` and ``context`` are positions processed and attended to. Our own labels count them for each sequence; an
    engine's, whose requests differ in length, as sums over its requests.
    """

    phase: str | None = None
    kind: str | None = None
    step: int | None = None
    block: int | None = None
    query: int | None = None
    context: int | None = None
    tokens: int | None = None
    requests: int | None = None
    module: str | None = None
    iteration: int | None = None

    @property
    def marks_step(self) -> bool:
        return self.phase is not None or self.kind is not None or self.step is not None


NOTHING = Label()
_TEXT = ("phase", "kind", "module")
_STEP_KEYS = tuple(key for key in Label._fields if key != "module")
_SUMS = ("query", "context", "requests")


class StepPatternError(AnalyzeError):
    """The regular expression of ``--step`` cannot be used."""

    exit_code = 2


class _Annotation(msgspec.Struct):
    """A pattern of ``step_annotations.toml``, which documents the fields."""

    writer: str
    source: str
    example: str
    name: str
    kind: str | None = None
    pairs: dict[str, str] = {}
    phases: dict[str, str] = {}


@cache
def engine_annotations() -> list[tuple[re.Pattern[str], _Annotation]]:
    """Return the patterns of ``step_annotations.toml``, in order."""
    text = Path(__file__).with_name("step_annotations.toml").read_text()
    rows = msgspec.convert(tomllib.loads(text)["step"], list[_Annotation])
    return [(re.compile(row.name), row) for row in rows]


def step_pattern(text: str) -> re.Pattern[str]:
    """Return the compiled regular expression of ``--step``; its named groups are keys of a step.

    Raises :class:`StepPatternError` for an invalid expression, an unknown group, or one that matches empty text.
    """
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as e:
        raise StepPatternError(f"--step {text!r}: {e}: expected a regular expression") from None
    if unknown := sorted(set(pattern.groupindex) - set(_STEP_KEYS)):
        groups = ", ".join(_STEP_KEYS)
        raise StepPatternError(f"--step {text!r}: unknown group {', '.join(unknown)}: expected some of {groups}")
    if pattern.search(""):
        raise StepPatternError(f"--step {text!r}: matches empty text, so every annotation: expected names of steps")
    return pattern


def parse(name: str, step: re.Pattern[str] | None = None) -> Label:
    """Return the label in a span's name; where ``step`` matches a part of the name, the groups of that match.

    A match without phase, kind and step is a step of the matched text as its kind.

    >>> parse("phase=decode step=3 kind=reuse").step
    3
    >>> parse("step[DECODE bs=32]").requests
    32
    """
    if step and (match := step.search(name)):
        label = _label(match.groupdict())
        return label if label.marks_step else label._replace(kind=match[0])
    if "=" in name and _PAIRS.fullmatch(name):
        pairs = dict(pair.split("=", 1) for pair in name.split())
        return _label({key: value for key, value in pairs.items() if key in Label._fields})
    for pattern, annotation in engine_annotations():
        if match := pattern.fullmatch(name):
            return _of_annotation(match, annotation)
    return NOTHING


def _label(values: dict[str, str | None]) -> Label:
    fields = {key: value or None if key in _TEXT else _number(value) for key, value in values.items()}
    return Label(**fields)  # type: ignore[arg-type]


def _of_annotation(match: re.Match[str], annotation: _Annotation) -> Label:
    """Return the label of an annotation's name, with sums over the parts of its batch."""
    values = match.groupdict()
    pairs = _PAIR.findall(values.pop("pairs", None) or "")
    values |= {annotation.pairs[key]: value for key, value in pairs if key in annotation.pairs}
    counts = {key: number for key, value in values.items() if (number := _number(value)) is not None}
    # an iteration is a step as well, unless steps inside it are labelled
    counts |= {"step": counts["iteration"]} if "iteration" in counts else {}
    for key in _SUMS:
        parts = [number for name, number in counts.items() if name.endswith(f"_{key}")]
        if parts:
            counts.setdefault(key, sum(parts))
    kind = (values.get("kind") or "").lower()
    phase = _phase(counts)
    if phase != "mixed":
        phase = annotation.phases.get(kind, phase)
    if counts.get("requests") == 0:
        phase, kind = None, kind or "idle"
    label = Label(**{key: counts[key] for key in _STEP_KEYS if key in counts and key not in _TEXT})  # type: ignore[arg-type]
    label = label._replace(phase=phase, kind=kind or annotation.kind or phase)
    return label if label.tokens is not None else label._replace(tokens=label.query)


def _phase(counts: dict[str, int]) -> str | None:
    """Return the phase of a batch by the requests of its parts; None where they do not tell it."""
    prefill, decode, other = (counts.get(f"{part}_requests", 0) for part in ("prefill", "decode", "other"))
    if other or not (prefill or decode):
        return None
    return "mixed" if prefill and decode else "prefill" if prefill else "decode"


def _number(text: str | None) -> int | None:
    # 19 digits may exceed the 64-bit integers of the tables
    return int(text) if text is not None and text.isdecimal() and len(text) < 19 else None
