"""Hardware counters beside a trace become rows of its kernels, joined in launch order with names compared.

Ours (``X.counters.csv``) hold steps by number, with kernels' names as the trace has them; Nsight Compute's raw CSV
(``X.ncu.csv``) holds one step, with names shortened, so that there the function's own name is compared. A counted step
applies to every step of the trace that is of its kind and has its kernels; copies and fills are not counted. The kind
of a counted step is that of the trace's step with its number; the one step of a file that has no such number is of the
kind of all steps that have its kernels, if that is one kind.

Where kernels differ, those get counters whose partner is the same in every longest alignment by order and name, if
they are ``AGREEMENT`` of the longer step; otherwise the step gets none. Nothing is guessed, and the run says what has
no counters and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.alignment import memoized
from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.operators import CATEGORIES
from ridgeline.analyze.attribution.spans import Int64
from ridgeline.analyze.companions.counter_files import KEYS, CounterFile
from ridgeline.analyze.reading.trace import Trace

AGREEMENT = 0.95
"""The share of the longer step's kernels that must have one certain partner, or a step gets no counters."""
LONGEST_ALIGNED = 4096
"""Kernels of the longest step that is aligned; longer ones must have all kernels equal."""
_KERNEL = CATEGORIES.index("kernel")


class Pairs(NamedTuple):
    """Positions in two sequences of kernels that are the same launch, and the share of the longer one they are."""

    ours: Int64
    theirs: Int64
    share: float

    @property
    def agree(self) -> bool:
        return self.share >= AGREEMENT


_Align = Callable[[Int64, Int64], Pairs]
_Kind = tuple[str | None, str | None]
"""Phase and kind, as labelled."""


class _Step(NamedTuple):
    """A step of the trace: its kernels in launch order, their names as codes."""

    label: Label
    kernel_ids: Int64
    names: Int64

    @property
    def kind(self) -> _Kind:
        return self.label.phase, self.label.kind


class _Counted(NamedTuple):
    """A step of a file."""

    number: int | None
    names: Int64


class _Match(NamedTuple):
    """The counted step, by its position in the file, that fits a step of the trace best."""

    counted: int
    pairs: Pairs


class _Codes:
    """Names as numbers, equal where the names are when made comparable."""

    def __init__(self, comparable: Callable[[str], str]) -> None:
        self._comparable = comparable
        self._known: dict[str, int] = {}

    def of(self, names: Iterable[str]) -> pl.Series:
        codes = [self._known.setdefault(self._comparable(name), len(self._known)) for name in names]
        return pl.Series(codes, dtype=pl.Int64)


def counter_rows(
    trace: Trace, activities: pl.DataFrame, labels: dict[int, Label], files: Iterable[CounterFile]
) -> tuple[pl.DataFrame, list[str]]:
    """Rows of ``counters``, and for each file that leaves something without counters what that is and why.

    ``activities`` are in the order of the run's ``kernel_id``; ``labels`` those of the annotations that mark a step.
    """
    frames, notes = [_range_rows(trace, activities)], []
    for file in files:
        codes = _Codes(file.comparable)
        steps, counted = _steps(trace, activities, labels, codes), list(_counted(file.kernels, codes))
        found = _matches(steps, counted)
        frames.append(_file_rows(file, steps, found))
        if note := _note(steps, counted, found):
            notes.append(f"{file.name}: {note}")
    return pl.concat(frames), notes


def _range_rows(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """Counters of ranges that stand in for kernels."""
    ranges = activities.with_row_index("kernel_id").filter(pl.col("attribution") == "profiler_range")
    joined = trace.counters.join(
        ranges.select(pl.col("row", "kernel_id").cast(pl.Int64)), on="row", how="inner", maintain_order="left"
    )
    return joined.select("kernel_id", "metric", "value", pl.lit("cuda_profiler_range").alias("source"))


def _steps(trace: Trace, activities: pl.DataFrame, labels: dict[int, Label], codes: _Codes) -> list[_Step]:
    """The steps that have kernels; all kernels together where none is of a step."""
    kernels = activities.with_row_index("kernel_id").filter(pl.col("category") == _KERNEL)
    if kernels["step_label"].count():
        kernels = kernels.filter(pl.col("step_label").is_not_null())
    used = kernels["name"].unique()
    code = pl.col("name").replace_strict(used, codes.of(trace.names[name] for name in used), return_dtype=pl.Int64)
    launched_ns = pl.coalesce("launch_ns", "start_ns")
    ordered = kernels.select(
        "step_label",
        launched_ns.alias("launched_ns"),
        "start_ns",
        pl.col("kernel_id").cast(pl.Int64),
        code.alias("code"),
    ).sort("step_label", "launched_ns", "start_ns", "kernel_id")
    return [
        _Step(labels.get(group["step_label"][0], Label()), group["kernel_id"].to_numpy(), group["code"].to_numpy())
        for group in ordered.partition_by("step_label", maintain_order=True)
        if len(group)
    ]


def _counted(kernels: pl.DataFrame, codes: _Codes) -> Iterator[_Counted]:
    used = kernels["kernel"].unique()
    code = pl.col("kernel").replace_strict(used, codes.of(used), return_dtype=pl.Int64)
    for group in kernels.select("step", code.alias("code")).partition_by("step", maintain_order=True):
        if len(group):
            yield _Counted(group["step"][0], group["code"].to_numpy())


def _matches(steps: Sequence[_Step], counted: Sequence[_Counted]) -> list[_Match | None]:
    """For each step the counted step of its kind that agrees best, of equals the nearest by number."""
    align = memoized(align_kernels)
    kinds = [_kind(one, steps, alone=len(counted) == 1, align=align) for one in counted]

    def rank(step: _Step, match: _Match) -> tuple[float, int]:
        return match.pairs.share, -abs((step.label.step or 0) - (counted[match.counted].number or 0))

    found: list[_Match | None] = []
    for step in steps:
        alike = [i for i, kind in enumerate(kinds) if kind == step.kind]
        matches = [_Match(i, align(step.names, counted[i].names)) for i in alike]
        found.append(max(matches, key=partial(rank, step), default=None))
    return found


def _kind(one: _Counted, steps: Sequence[_Step], *, alone: bool, align: _Align) -> _Kind | None:
    """The kind of step that was counted, if that is known."""
    candidates = [step for step in steps if one.number is not None and step.label.step == one.number]
    if not candidates and alone:
        candidates = list(steps)
    kinds = {step.kind for step in candidates}
    if len(kinds) > 1:
        kinds = {step.kind for step in candidates if align(step.names, one.names).agree}
    return kinds.pop() if len(kinds) == 1 else None


def _file_rows(file: CounterFile, steps: Sequence[_Step], found: Sequence[_Match | None]) -> pl.DataFrame:
    """The file's values for the kernels of the steps that agree."""
    applied = [(step, match) for step, match in zip(steps, found, strict=True) if match and match.pairs.agree]
    kernels = pl.DataFrame(
        {
            "counted": _joined([np.full(len(match.pairs.ours), match.counted) for _, match in applied]),
            "position": _joined([match.pairs.theirs for _, match in applied]),
            "kernel_id": _joined([step.kernel_ids[match.pairs.ours] for step, match in applied]),
        }
    )
    launches = file.kernels.select(
        *KEYS,
        pl.col("step").rle_id().cast(pl.Int64).alias("counted"),
        pl.int_range(pl.len()).over("step").alias("position"),
    )
    values = file.values.join(launches, on=KEYS, nulls_equal=True, maintain_order="left")
    rows = kernels.join(values, on=["counted", "position"], maintain_order="left_right")
    return rows.select("kernel_id", "metric", "value", pl.lit(file.source).alias("source"))


def _joined(arrays: Sequence[Int64]) -> Int64:
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])


def _note(steps: Sequence[_Step], counted: Sequence[_Counted], found: Sequence[_Match | None]) -> str | None:
    """How many steps lack counters, with the first of them and its reason."""
    if not counted:
        return "holds no counters"
    if not steps:
        return "the trace has no kernels to give them to"
    lacking = [(step, match) for step, match in zip(steps, found, strict=True) if not match or match.pairs.share < 1]
    if not lacking:
        return None
    step, match = lacking[0]
    words = {"phase": step.label.phase, "kind": step.label.kind, "step": step.label.step}
    first = " ".join(f"{key}={value}" for key, value in words.items() if value is not None) or "the whole trace"
    return f"{len(lacking)} of {len(steps)} steps lack counters; {first}: {_reason(step, match, counted)}"


def _reason(step: _Step, match: _Match | None, counted: Sequence[_Counted]) -> str:
    if match is None:
        return "no counted step is known to be of its kind"
    here, there, share = len(step.names), len(counted[match.counted].names), match.pairs.share
    if match.pairs.agree:
        return f"{here - len(match.pairs.ours)} of its {here} kernels fit none of the {there} counted for certain"
    if max(here, there) > LONGEST_ALIGNED:
        return f"its {here} kernels are not the {there} counted, and more than {LONGEST_ALIGNED} are not aligned"
    return (
        f"at most {share:.1%} of its {here} kernels and the {there} counted agree in order and name,"
        f" expected {AGREEMENT:.0%}: it has none"
    )


def align_kernels(ours: Int64, theirs: Int64) -> Pairs:
    """Which positions are the same launch: all where the names are equal, else those with the same partner in every
    longest common subsequence. Where that cannot reach ``AGREEMENT`` it is not looked for.
    """
    if np.array_equal(ours, theirs):
        every = np.arange(len(ours))
        return Pairs(every, every, 1.0)
    longer = max(len(ours), len(theirs))
    most = _in_common(ours, theirs) / longer
    if most < AGREEMENT or longer > LONGEST_ALIGNED:
        none = np.zeros(0, dtype=np.int64)
        return Pairs(none, none, most if most < AGREEMENT else 0.0)
    mine, partners = _certain(ours, theirs)
    return Pairs(mine, partners, len(mine) / longer)


def _in_common(ours: Int64, theirs: Int64) -> int:
    """How many names the two share, in any order: no alignment has more pairs."""
    names, codes = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
    mine, other = (np.bincount(part, minlength=len(names)) for part in (codes[: len(ours)], codes[len(ours) :]))
    return int(np.minimum(mine, other).sum())


def _certain(ours: Int64, theirs: Int64) -> tuple[Int64, Int64]:
    """The pairs that every longest common subsequence has."""
    before = _common_lengths(ours, theirs)
    after = _common_lengths(ours[::-1], theirs[::-1])[::-1, ::-1]
    longest = before[-1, -1]
    pairs = (ours[:, None] == theirs) & (before[:-1, :-1] + 1 + after[1:, 1:] == longest)
    skipped = (before[:-1] + after[1:] == longest).any(axis=1)
    certain = np.flatnonzero((pairs.sum(axis=1) == 1) & ~skipped)
    return certain, pairs[certain].argmax(axis=1)


def _common_lengths(ours: Int64, theirs: Int64) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    """The length of the longest common subsequence of every two beginnings."""
    table = np.zeros((len(ours) + 1, len(theirs) + 1), dtype=np.int16)
    for i, name in enumerate(ours):
        row = np.maximum(table[i, 1:], table[i, :-1] + (theirs == name))
        np.maximum.accumulate(row, out=table[i + 1, 1:])
    return table
