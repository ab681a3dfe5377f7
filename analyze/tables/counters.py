"""Rows of the table ``counters``: hardware counters beside a trace, joined to its kernels in launch order by name.

Ridgeline's files (``X.counters.csv``) hold steps by number, with kernel names as in the trace. Nsight Compute's raw CSV
(``X.ncu.csv``) holds one step with shortened names, so only the function's own name is compared. Copies and fills are
not counted. A counted step applies to every step of the trace that has its kind and its kernels. Its kind is that of
the trace's step with its number. The single step of a file without a matching number has the kind of all steps that
have its kernels, if they are of one kind.

Where kernel names differ, a kernel gets counters only if it has the same partner in every longest common subsequence
(LCS), and only if such kernels are at least ``AGREEMENT`` of the longer step. Otherwise the step gets no counters, and
the run's message says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
"""Kernels of the longest step that is aligned; longer steps must have all kernels equal."""
_KERNEL = CATEGORIES.index("kernel")


class Alignment(NamedTuple):
    """Positions of the same launches in a step and in a counted step, and their share of the longer of the two."""

    kernels: Int64
    counted: Int64
    share: float

    @property
    def agrees(self) -> bool:
        return self.share >= AGREEMENT


_Align = Callable[[Int64, Int64], Alignment]
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
    alignment: Alignment


class _Codes:
    """Numbers for names; names that the file's ``comparable`` makes equal have the same number."""

    def __init__(self, comparable: Callable[[str], str]) -> None:
        self._comparable = comparable
        self._codes: dict[str, int] = {}

    def of(self, names: Iterable[str]) -> pl.Series:
        codes = [self._codes.setdefault(self._comparable(name), len(self._codes)) for name in names]
        return pl.Series(codes, dtype=pl.Int64)


def counter_rows(
    trace: Trace, activities: pl.DataFrame, labels: dict[int, Label], files: Iterable[CounterFile]
) -> tuple[pl.DataFrame, list[str]]:
    """Rows of ``counters``, and a message for each file that leaves steps without counters.

    ``activities`` are in the order of the run's ``kernel_id``; ``labels`` are those of the annotations that mark steps.
    """
    # Ranges of the profiler, which stand in for kernels, bring counters of their own.
    ranges = activities.with_row_index("kernel_id").filter(pl.col("attribution") == "profiler_range")
    of_ranges = trace.counters.join(
        ranges.select(pl.col("row", "kernel_id").cast(pl.Int64)), on="row", how="inner", maintain_order="left"
    )
    frames = [of_ranges.select("kernel_id", "metric", "value", pl.lit("cuda_profiler_range").alias("source"))]
    # The kernels of steps in launch order, or all kernels as one step if none is labelled.
    kernels = activities.with_row_index("kernel_id").filter(pl.col("category") == _KERNEL)
    if kernels["step_label"].count():
        kernels = kernels.filter(pl.col("step_label").is_not_null())
    kernels = kernels.select(
        "step_label",
        pl.coalesce("launch_ns", "start_ns").alias("launched_ns"),
        "start_ns",
        pl.col("kernel_id").cast(pl.Int64),
        "name",
    ).sort("step_label", "launched_ns", "start_ns", "kernel_id")
    messages = []
    for file in files:
        # Names compare by numbers, which are the same in the trace and in the file.
        codes = _Codes(file.comparable)
        used = kernels["name"].unique()
        code = pl.col("name").replace_strict(used, codes.of(trace.names[name] for name in used), return_dtype=pl.Int64)
        groups = kernels.with_columns(code=code).partition_by("step_label", maintain_order=True)
        steps = [
            _Step(labels.get(group["step_label"][0], Label()), group["kernel_id"].to_numpy(), group["code"].to_numpy())
            for group in groups
            if len(group)
        ]
        used = file.kernels["kernel"].unique()
        code = pl.col("kernel").replace_strict(used, codes.of(used), return_dtype=pl.Int64)
        groups = file.kernels.select("step", code.alias("code")).partition_by("step", maintain_order=True)
        counted = [_Counted(group["step"][0], group["code"].to_numpy()) for group in groups if len(group)]
        matches = _matches(steps, counted)
        frames.append(_file_rows(file, steps, matches))
        if message := _message(steps, counted, matches):
            messages.append(f"{file.name}: {message}")
    return pl.concat(frames), messages


def _matches(steps: Sequence[_Step], counted: Sequence[_Counted]) -> list[_Match | None]:
    """For each step the counted step of its kind with the largest share, then with the nearest number."""
    align = memoized(align_kernels)
    kinds: list[_Kind | None] = []
    for each in counted:
        # the trace's step with the counted step's number, else all steps if the file has one
        candidates = [step for step in steps if each.number is not None and step.label.step == each.number]
        if not candidates and len(counted) == 1:
            candidates = list(steps)
        of_candidates = {step.kind for step in candidates}
        if len(of_candidates) > 1:  # only those with the same kernels
            of_candidates = {step.kind for step in candidates if align(step.names, each.names).agrees}
        kinds.append(of_candidates.pop() if len(of_candidates) == 1 else None)

    best: list[_Match | None] = []
    for step in steps:
        same_kind = [i for i, kind in enumerate(kinds) if kind == step.kind]
        # larger shares first, then nearer numbers; max keeps the first of equals
        ranked = [
            (match.alignment.share, -abs((step.label.step or 0) - (counted[match.counted].number or 0)), match)
            for match in (_Match(i, align(step.names, counted[i].names)) for i in same_kind)
        ]
        best.append(max(ranked, key=lambda entry: entry[:2])[2] if ranked else None)
    return best


def _file_rows(file: CounterFile, steps: Sequence[_Step], matches: Sequence[_Match | None]) -> pl.DataFrame:
    """The file's values for the kernels of the steps that agree."""
    applied = [(step, match) for step, match in zip(steps, matches, strict=True) if match and match.alignment.agrees]
    none = np.zeros(0, dtype=np.int64)
    kernels = pl.DataFrame(
        {
            "counted": np.concatenate(
                [none, *(np.full(len(match.alignment.kernels), match.counted) for _, match in applied)]
            ),
            "position": np.concatenate([none, *(match.alignment.counted for _, match in applied)]),
            "kernel_id": np.concatenate([none, *(step.kernel_ids[match.alignment.kernels] for step, match in applied)]),
        }
    )
    # number the steps of the file, and the launches in each
    launches = file.kernels.select(
        *KEYS,
        pl.col("step").rle_id().cast(pl.Int64).alias("counted"),
        pl.int_range(pl.len()).over("step").alias("position"),
    )
    values = file.values.join(launches, on=KEYS, nulls_equal=True, maintain_order="left")
    rows = kernels.join(values, on=["counted", "position"], maintain_order="left_right")
    return rows.select("kernel_id", "metric", "value", pl.lit(file.source).alias("source"))


def _message(steps: Sequence[_Step], counted: Sequence[_Counted], matches: Sequence[_Match | None]) -> str | None:
    """How many steps lack counters, the first of them and the reason; None if all steps have counters."""
    if not counted:
        return "holds no counters"
    if not steps:
        return "the trace has no kernels to give them to"
    pairs = zip(steps, matches, strict=True)
    lacking = [(step, match) for step, match in pairs if not match or match.alignment.share < 1]
    if not lacking:
        return None
    step, match = lacking[0]
    here, there = len(step.names), len(counted[match.counted].names) if match else 0
    if match is None:
        reason = "no counted step has its kind"
    elif match.alignment.agrees:
        unmatched = here - len(match.alignment.kernels)
        reason = f"{unmatched} of its {here} kernels fit none of the {there} counted for certain"
    elif max(here, there) > LONGEST_ALIGNED:
        reason = f"its {here} kernels are not the {there} counted, and more than {LONGEST_ALIGNED} are not aligned"
    else:
        reason = (
            f"at most {match.alignment.share:.1%} of its {here} kernels and the {there} counted agree in order and"
            f" name, expected {AGREEMENT:.0%}: it has none"
        )
    words = {"phase": step.label.phase, "kind": step.label.kind, "step": step.label.step}
    first = " ".join(f"{key}={value}" for key, value in words.items() if value is not None) or "the whole trace"
    return f"{len(lacking)} of {len(steps)} steps lack counters; {first}: {reason}"


def align_kernels(kernels: Int64, counted: Int64) -> Alignment:
    """The positions of the same launches: all where the names are equal, else the pairs that every LCS has.

    Steps that cannot reach ``AGREEMENT`` are not aligned; their share is an upper bound.
    """
    if np.array_equal(kernels, counted):
        every = np.arange(len(kernels))
        return Alignment(every, every, 1.0)
    # No alignment has more pairs than the names in common, in any order.
    longer = max(len(kernels), len(counted))
    names, codes = np.unique(np.concatenate([kernels, counted]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(names)) for part in np.split(codes, [len(kernels)])]
    upper = int(np.minimum(*counts).sum()) / longer
    if upper < AGREEMENT or longer > LONGEST_ALIGNED:
        none = np.zeros(0, dtype=np.int64)
        return Alignment(none, none, upper if upper < AGREEMENT else 0.0)

    # A pair lies on an LCS if the LCS before it, the pair and the LCS after it add up to the whole. rapidfuzz gives one
    # LCS; which pairs all of them share takes the lengths of every prefix and suffix.
    before = _prefix_lengths(kernels, counted)
    after = _prefix_lengths(kernels[::-1], counted[::-1])[::-1, ::-1]
    longest = before[-1, -1]
    on_lcs = (kernels[:, None] == counted) & (before[:-1, :-1] + 1 + after[1:, 1:] == longest)
    skipped = (before[:-1] + after[1:] == longest).any(axis=1)  # an LCS does without this kernel
    certain = np.flatnonzero((on_lcs.sum(axis=1) == 1) & ~skipped)
    return Alignment(certain, on_lcs[certain].argmax(axis=1), len(certain) / longer)


def _prefix_lengths(first: Int64, second: Int64) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    """``lengths[i, j]``: the length of the LCS of ``first[:i]`` and ``second[:j]``."""
    lengths = np.zeros((len(first) + 1, len(second) + 1), dtype=np.int16)
    for i, name in enumerate(first):
        row = np.maximum(lengths[i, 1:], lengths[i, :-1] + (second == name))
        np.maximum.accumulate(row, out=lengths[i + 1, 1:])
    return lengths
