"""Operators for the kernels of graph replays, learned from an eager trace of the same steps, the twin.

A replay's kernels carry no operator, but they run in the order in which the same step launches them one by one. So the
activities of a replayed step are aligned with those of the twin's step of the same kind, in order and by name, as a
longest common subsequence: kernels that are missing or extra on either side leave the others aligned. A matched
activity gets its partner's operator, signature, module and share of the operator's cost; it keeps its own phase and
step.

The kind of a step is its phase, its kind and its query length, as labelled. Of several twin steps of a kind, the
nearest in context length is taken, then the one that matches best, then the nearest by number. Without labels on either
side, a replay is aligned with the stretch of the twin that it matches best; of equal stretches, with the next one after
the stretch of the replay before. If less than ``AGREEMENT`` of the shorter sequence matches, the twin is one of
something else, and nothing is learned.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.alignment import Pairs, align_names, common_length, memoized
from ridgeline.analyze.attribution.autograd import forward_operators
from ridgeline.analyze.attribution.labels import NOTHING, Label
from ridgeline.analyze.attribution.modules import add_modules
from ridgeline.analyze.attribution.operators import attribute, build_tree, parse_labels, step_labels
from ridgeline.analyze.attribution.origins import find_origins
from ridgeline.analyze.attribution.spans import Int64, take
from ridgeline.analyze.pricing.completed_signatures import assign
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.trace import assemble
from ridgeline.analyze.replays.teaching import Annotated, Partners, Pricing, filled, teach

AGREEMENT = 0.5
"""The share of the shorter sequence that must match. Steps of the same model in another mode reach two thirds."""
_GRAM = 16
"""Names that must be equal before a whole stretch is compared."""
_MOST_PEAKS = 16
_MOVES = ((0, 0), (-1, -1), (1, 1), (-1, 0), (1, 0), (0, -1), (0, 1))
_NONE = np.zeros(0, dtype=np.int64)


class _Sequence(NamedTuple):
    """Activities in order: their positions in the frame, and their names as codes."""

    label: Label | None
    rows: Int64
    names: Int64


_Cut = tuple[int, int]
"""The first index of a stretch, and the index after its last."""
_Align = Callable[[Int64, Int64], Pairs]


def read_twin(parts: Sequence[Columns], path: Path, step: re.Pattern[str] | None = None) -> Annotated:
    """Return the decoded twin at ``path``, attributed; ``step`` is the pattern of ``--step``.

    Raises :class:`TraceError`.
    """
    trace = assemble(parts, path)
    labels = parse_labels(trace, step)
    tree = build_tree(trace, labels)
    activities = assign(trace, attribute(trace, tree))
    parents = tree.operator_parent()
    origins = find_origins(trace, tree, activities, forward_operators(trace, parents))
    activities, modules = add_modules(trace, labels, origins, activities)
    return Annotated(trace, activities, step_labels(trace, tree, labels), parents, modules)


def learn(run: Annotated, twin: Annotated, price: Pricing) -> tuple[Annotated, dict[int, Record]]:
    """Return the run with what its replays learn from the twin, and the prices of all signatures of both."""
    return teach(run, twin, _pair(run, twin), price, "graph_twin")


def _pair(run: Annotated, twin: Annotated) -> Partners:
    """Align every replayed step, or graph launch outside a step, with its part of the twin."""
    # the place of a copy's memory is not always known to a graph, so only compare its kind: `Memcpy DtoD`
    names = [
        [name.partition(" (")[0] if name.startswith(("Memcpy ", "Memset ")) else name for name in side.trace.names]
        for side in (run, twin)
    ]
    numbers = {name: number for number, name in enumerate(sorted({*names[0], *names[1]}))}
    ordered, twin_ordered = (
        _in_order(side, take(np.array([numbers[name] for name in table], np.int64), filled(side.activities["name"])))
        for side, table in zip((run, twin), names, strict=True)
    )
    in_step = pl.col("step_label").is_not_null()
    is_replayed = (in_step & pl.col("replay").any().over("step_label")) | pl.col("replay")
    twin_steps = _sequences(twin, twin_ordered.filter(in_step))
    whole = _Sequence(None, twin_ordered["at"].to_numpy(), twin_ordered["code"].to_numpy())
    position = np.argsort(whole.rows)
    is_replay = run.activities["replay"].to_numpy()
    align, stretches = memoized(align_names), memoized(_stretches)
    pairs, cursor = [Partners(_NONE, _NONE, _NONE)], 0
    for number, replayed in enumerate(_sequences(run, ordered.filter(is_replayed))):
        if replayed.label and twin_steps:
            rows, partners = _partners(replayed, _steps_of_kind(replayed.label, twin_steps), align)
        else:
            stretch = whole
            if len(replayed.names) < len(whole.names):
                cuts = stretches(replayed.names, whole.names)
                # the first one whose middle is past the cursor, else the first
                start, stop = min(cuts, key=lambda cut: (sum(cut) < 2 * cursor, cut))
                stretch = _Sequence(None, whole.rows[start:stop], whole.names[start:stop])
            rows, partners = _partners(replayed, [[stretch]], align)
            cursor = int(position[partners[-1]]) + 1 if len(partners) else cursor
        inside = is_replay[rows]  # a replayed step may also launch kernels without a graph
        step = np.full(int(inside.sum()), number, dtype=np.int64)
        pairs.append(Partners(rows[inside], partners[inside], step))
    return Partners(*(np.concatenate(column) for column in zip(*pairs, strict=True)))


def _in_order(side: Annotated, codes: Int64) -> pl.DataFrame:
    """Return the activities in the order of their launches; those of one launch in the order in which they ran."""
    return (
        side.activities.with_columns(
            at=pl.int_range(pl.len(), dtype=pl.Int64),
            code=pl.Series(codes, dtype=pl.Int64),
            launched_ns=pl.coalesce("launch_ns", "start_ns"),
            launched_by=pl.when(pl.col("step_label").is_null()).then("correlation"),
        )
        .sort("launched_ns", "start_ns", "device", "stream", "code", "duration_ns", "at")
        .select("at", "code", "step_label", "launched_by", "replay")
    )


def _sequences(side: Annotated, ordered: pl.DataFrame) -> list[_Sequence]:
    """Return the activities of each step, and of each launch outside a step, in order of the first launch."""
    groups = ordered.partition_by("step_label", "launched_by", maintain_order=True) if len(ordered) else []
    return [
        _Sequence(side.steps.get(group["step_label"][0]), group["at"].to_numpy(), group["code"].to_numpy())
        for group in groups
    ]


def _steps_of_kind(label: Label, steps: Iterable[_Sequence]) -> list[list[_Sequence]]:
    """Return the steps of the label's kind in groups, the nearest in context first; in a group, the nearest in number.

    Steps are of one kind unless both labels have a phase, a kind or a query length that differ.
    """
    groups: dict[int, list[tuple[int, _Sequence]]] = defaultdict(list)
    for step in steps:
        other = step.label or NOTHING
        fields = zip((label.phase, label.kind, label.query), (other.phase, other.kind, other.query), strict=True)
        if all(one is None or two is None or one == two for one, two in fields):
            context, number = (
                0 if one is None or two is None else abs(one - two)
                for one, two in ((label.context, other.context), (label.step, other.step))
            )
            groups[context].append((number, step))
    return [[step for _, step in sorted(groups[context], key=itemgetter(0))] for context in sorted(groups)]


def _partners(replayed: _Sequence, groups: Iterable[Sequence[_Sequence]], align: _Align) -> tuple[Int64, Int64]:
    """Return the positions of replayed activities that match, and of their partners in the first group that fits."""
    for group in groups:
        best, candidate = Pairs(_NONE, _NONE), replayed
        for other in group:
            pairs = align(replayed.names, other.names)
            if len(pairs.first) > len(best.first):
                best, candidate = pairs, other
            if len(best.first) == len(replayed.names):
                break
        if len(best.first) and len(best.first) >= AGREEMENT * min(len(replayed.names), len(candidate.names)):
            return replayed.rows[best.first], candidate.rows[best.second]
    return _NONE, _NONE


def _stretches(names: Int64, whole: Int64) -> list[_Cut]:
    """Return the stretches of the longer ``whole`` that equal ``names``; if there are none, those that match best."""
    count = len(whole) - len(names) + 1
    # compare the first few names at every start at once, then the whole stretch at the few starts left
    is_start = np.ones(count, dtype=bool)
    for k in range(min(_GRAM, len(names))):
        is_start &= whole[k : k + count] == names[k]
    cuts = [(start, start + len(names)) for start in np.flatnonzero(is_start).tolist()]
    return [cut for cut in cuts if np.array_equal(names, whole[slice(*cut)])] or _best_stretches(names, whole)


def _best_stretches(names: Int64, whole: Int64) -> list[_Cut]:
    """Return the stretches with the most matches for their length, within 2 % of the best.

    The search scores a grid of stretches and climbs from its peaks. Of stretches that overlap by half, only the best is
    returned.
    """

    @cache
    def score(cut: _Cut) -> int:
        start, stop = cut
        if not 0 <= start < stop <= len(whole):
            return -len(whole)
        return 2 * common_length(names, whole[start:stop]) - (stop - start)

    step, last = max(1, len(names) // 8), len(whole) - len(names)
    grid = [(start, start + len(names)) for start in (*range(0, last, step), last)]
    scores = np.array([-len(whole), *map(score, grid), -len(whole)])
    is_peak = (scores[1:-1] >= scores[:-2]) & (scores[1:-1] > scores[2:])
    peaks = sorted((grid[i] for i in np.flatnonzero(is_peak)), key=score, reverse=True)
    climbed = set()
    for cut in peaks[:_MOST_PEAKS]:
        # move one end or both, in strides of half the length each, until no move is better
        reached = None
        while cut != reached:
            reached = cut
            for stride in (step >> k for k in range(step.bit_length())):
                cut = max(((cut[0] + a * stride, cut[1] + b * stride) for a, b in _MOVES), key=score)
        climbed.add(cut)
    ranked = sorted(climbed, key=score, reverse=True)
    best: list[_Cut] = []
    for cut in ranked:
        is_apart = all(abs(sum(cut) - sum(other)) > len(names) for other in best)
        if is_apart and score(cut) >= score(ranked[0]) - len(names) // 50:
            best.append(cut)
    return best
