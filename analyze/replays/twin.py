"""Operators for the kernels of graph replays, learned from an eager trace of the same steps, the twin.

A replay's kernels carry no operator, but they run in the order in which the same step launches them one by one. So the
kernels of each graph launch are aligned with a stretch of the twin, in order and by name, as a longest common
subsequence (LCS): kernels that are missing or extra on either side leave the others aligned. A matched kernel gets its
partner's operator, signature, module and share of the operator's cost; it keeps its own phase and step.

Labels narrow the choice where both sides have them. The kind of a step is its phase, its kind and its query length. Of
several twin steps of a kind, the nearest in context length is taken, then the one that matches best, then the nearest
by number. Without labels the whole twin is searched.

One stretch may serve many launches. The launches of a step follow each other in the twin's step, and after its end from
its start again (:mod:`ridgeline.analyze.replays.alignments`). So the graphs of layers with equal kernels get the
modules of their own layers, and three replays of a step that the twin has once all get that one.

A launch learns nothing if less than 80 % of its kernels match (of the twin's, where the twin is shorter), or less than
50 % of its own: the twin is one of something else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from ridgeline.analyze.attribution.alignment import Pairs
from ridgeline.analyze.attribution.attributed import attributed
from ridgeline.analyze.attribution.labels import NOTHING, Label
from ridgeline.analyze.attribution.operators import attribute, step_labels
from ridgeline.analyze.attribution.spans import ROOT, Int64
from ridgeline.analyze.pricing.completed_signatures import assign
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.trace import assemble
from ridgeline.analyze.replays.alignments import AGREEMENT, NO_MATCHES, Alignments
from ridgeline.analyze.replays.sequences import Piece, Step, comparable, replayed_steps, steps
from ridgeline.analyze.replays.teaching import LEARNED, Annotated, Partners, Pricing, teach

_NONE = np.zeros(0, dtype=np.int64)


def read_twin(parts: Sequence[Columns], path: Path, step: re.Pattern[str] | None = None) -> Annotated:
    """Return the decoded twin at ``path``, attributed; ``step`` is the pattern of ``--step``.

    Raises :class:`TraceError`.
    """
    trace = assemble(parts, path)
    found = attributed(trace, step, lambda trace, tree: assign(trace, attribute(trace, tree)))
    return Annotated(
        trace, found.activities, step_labels(trace, found.tree, found.labels), found.parents, found.modules
    )


def learn(run: Annotated, twin: Annotated, price: Pricing) -> tuple[Annotated, dict[int, Record]]:
    """Return the run with what its replays learn from the twin, and the prices of all signatures of both.

    A kernel that learned from its graph's capture keeps that.
    """
    codes, twin_codes = comparable(run, twin)
    whole, twin_steps = steps(twin, twin_codes)
    library = _Library(whole, twin_steps)
    pairs = library.partners(replayed_steps(run, codes, by_node=True))
    if len(pairs.rows) < run.activities["replay"].sum() and run.activities["graph_node_id"].count():
        # nodes may not be in the order of the launches, so the order in time must not match better
        pairs = max(library.partners(replayed_steps(run, codes, by_node=False)), pairs, key=lambda p: len(p.rows))
    is_new = ~run.activities["attribution"].is_in(LEARNED).to_numpy()[pairs.rows]
    return teach(run, twin, Partners(*(column[is_new] for column in pairs)), price, "graph_twin")


class _Library:
    """The steps of a twin, to find the partners of replays in."""

    def __init__(self, whole: Step, labelled: Sequence[Step]) -> None:
        # steps with the same names share their alignments
        by_names: dict[bytes, Alignments] = {}
        self.whole = whole, Alignments(whole.names, is_step=False)
        self.steps = [
            (step, by_names.setdefault(step.names.tobytes(), Alignments(step.names, is_step=True))) for step in labelled
        ]

    def partners(self, replayed: Iterable[tuple[Label | None, list[Piece]]]) -> Partners:
        """Return the partners of all replays that match a part of the twin."""
        columns: list[tuple[Int64, Int64, Int64]] = [(_NONE, _NONE, _NONE)]
        number = 0
        for label, pieces in replayed:
            step, matches = self._best(label, pieces)
            for piece, pairs in zip(pieces, matches, strict=True):
                rows, partners = piece.rows[pairs.first], step.rows[pairs.second]
                ran = rows != ROOT
                columns.append((rows[ran], partners[ran], np.full(int(ran.sum()), number, dtype=np.int64)))
                number += 1
        return Partners(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def _best(self, label: Label | None, pieces: list[Piece]) -> tuple[Step, list[Pairs]]:
        """Return the twin step that serves a replayed step, and the matches of each piece."""
        total = sum(len(piece.names) for piece in pieces if piece.is_replay)
        best, best_matches, most = self.whole[0], [NO_MATCHES] * len(pieces), 0
        for group in self._candidates(label):
            tried = set()
            for step, alignments in group:
                if alignments not in tried:
                    tried.add(alignments)
                    aligned = alignments.of(pieces)
                    if aligned.matched > most:
                        best, best_matches, most = step, aligned.matches, aligned.matched
                if most == total:
                    break
            if most >= AGREEMENT * total:
                break
        return best, best_matches

    def _candidates(self, label: Label | None) -> list[list[tuple[Step, Alignments]]]:
        """Return the twin steps of the label's kind in groups, the nearest in context first; in a group, in number.

        Steps are of one kind unless both labels have a phase, a kind or a query length that differ.
        """
        if label is None or not self.steps:
            return [[self.whole]]
        groups: dict[int, list[tuple[int, tuple[Step, Alignments]]]] = defaultdict(list)
        for step in self.steps:
            other = step[0].label or NOTHING
            fields = zip((label.phase, label.kind, label.query), (other.phase, other.kind, other.query), strict=True)
            if all(one is None or two is None or one == two for one, two in fields):
                context, number = (
                    0 if one is None or two is None else abs(one - two)
                    for one, two in ((label.context, other.context), (label.step, other.step))
                )
                groups[context].append((number, step))
        nearest = [[step for _, step in sorted(groups[context], key=itemgetter(0))] for context in sorted(groups)]
        # a bare number of a step tells nothing of its kind
        is_bare = label.phase is None and label.kind is None and label.query is None
        return [*nearest, [self.whole]] if is_bare else nearest
