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

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.alignment import memoized
from ridgeline.analyze.attribution.labels import Label, parse
from ridgeline.analyze.attribution.operators import CATEGORIES
from ridgeline.analyze.attribution.spans import Int64
from ridgeline.analyze.attribution.steps import WHOLE_TRACE
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


_Counted = tuple[int | None, Int64]
"""The number of a step of a file, and its kernels' names as codes."""
_Match = tuple[int, Alignment]
"""The counted step, by its position in the file, that fits a step of the trace best."""


def counter_rows(
    trace: Trace, activities: pl.DataFrame, labels: dict[int, Label], files: Sequence[CounterFile]
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
    if not files:
        return frames[0], []
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
        numbers: dict[str, int] = {}
        coded = kernels.with_columns(code=_numbered(kernels["name"], file.comparable, numbers, trace.names))
        steps = [
            _Step(labels.get(group["step_label"][0], Label()), group["kernel_id"].to_numpy(), group["code"].to_numpy())
            for group in coded.partition_by("step_label", maintain_order=True)
            if len(group)
        ]
        coded = file.kernels.select("step", code=_numbered(file.kernels["kernel"], file.comparable, numbers))
        groups = coded.partition_by("step", maintain_order=True)
        counted = [(group["step"][0], group["code"].to_numpy()) for group in groups if len(group)]
        matches = _matches(steps, counted)
        frames.append(_file_rows(file, steps, matches))
        if message := _message(steps, counted, matches):
            messages.append(f"{file.name}: {message}")
    return pl.concat(frames), messages


def _numbered(
    names: pl.Series, comparable: Callable[[str], str], numbers: dict[str, int], texts: Sequence[str] | None = None
) -> pl.Series:
    """A number for each name, equal where ``comparable`` makes names equal; new ones are added to ``numbers``.

    ``names`` may be codes into ``texts``.
    """
    used = names.unique()
    codes = [numbers.setdefault(comparable(texts[name] if texts else name), len(numbers)) for name in used]
    return names.replace_strict(used, pl.Series(codes, dtype=pl.Int64), return_dtype=pl.Int64)


def _matches(steps: Sequence[_Step], counted: Sequence[_Counted]) -> list[_Match | None]:
    """For each step the counted step of its kind with the largest share, then with the nearest number."""
    align = memoized(align_kernels)
    kinds: list[_Kind | None] = []
    for number, names in counted:
        # the trace's step with the counted step's number, else all steps if the file has one
        candidates = [step for step in steps if number is not None and step.label.step == number]
        if not candidates and len(counted) == 1:
            candidates = list(steps)
        of_candidates = {step.kind for step in candidates}
        if len(of_candidates) > 1:  # only those with the same kernels
            of_candidates = {step.kind for step in candidates if align(step.names, names).agrees}
        kinds.append(of_candidates.pop() if len(of_candidates) == 1 else None)

    best: list[_Match | None] = []
    for step in steps:
        of_kind = [(i, align(step.names, counted[i][1])) for i, kind in enumerate(kinds) if kind == step.kind]
        # larger shares first, then nearer numbers; max keeps the first of equals
        distance = [abs((step.label.step or 0) - (number or 0)) for number, _ in counted]
        best.append(max(of_kind, key=lambda match: (match[1].share, -distance[match[0]]), default=None))
    return best


def _file_rows(file: CounterFile, steps: Sequence[_Step], matches: Sequence[_Match | None]) -> pl.DataFrame:
    """The file's values for the kernels of the steps that agree."""
    applied = [
        pl.DataFrame({"kernel_id": step.kernel_ids[match[1].kernels], "position": match[1].counted}).with_columns(
            counted=pl.lit(match[0], dtype=pl.Int64)
        )
        for step, match in zip(steps, matches, strict=True)
        if match and match[1].agrees
    ]
    schema = dict.fromkeys(("kernel_id", "position", "counted"), pl.Int64)
    kernels = pl.concat([pl.DataFrame(schema=schema), *applied])
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
    lacking = [(step, match) for step, match in pairs if not match or match[1].share < 1]
    if not lacking:
        return None
    step, match = lacking[0]
    position, alignment = match or (0, None)
    here, there = len(step.names), len(counted[position][1])
    if alignment is None:
        reason = "no counted step has its kind"
    elif alignment.agrees:
        unmatched = here - len(alignment.kernels)
        reason = f"{unmatched} of its {here} kernels fit none of the {there} counted for certain"
    elif max(here, there) > LONGEST_ALIGNED:
        reason = f"its {here} kernels are not the {there} counted, and more than {LONGEST_ALIGNED} are not aligned"
    else:
        reason = (
            f"at most {alignment.share:.1%} of its {here} kernels and the {there} counted agree in order and"
            f" name, expected {AGREEMENT:.0%}: it has none"
        )
    words = {"phase": step.label.phase, "kind": step.label.kind, "step": step.label.step}
    first = " ".join(f"{key}={value}" for key, value in words.items() if value is not None)
    first = "the whole trace" if step.label in (Label(), parse(WHOLE_TRACE)) else first
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
