"""Operators for the kernels of graph replays, learned from an eager trace of the same steps, the twin.

A replay's kernels carry no operator, but they run in the order in which the same step launches them one by one. So the
kernels of each graph launch are aligned with a stretch of the twin, in order and by name, as a longest common
subsequence (LCS): kernels that are missing or extra on either side leave the others aligned. A matched kernel gets its
partner's operator, signature, module and share of the operator's cost; it keeps its own phase and step.

Labels narrow the choice where both sides have them. The kind of a step is its phase, its kind and its query length. Of
several twin steps of a kind, the nearest in context length is taken, then the one that matches best, then the nearest
by number. Without labels the whole twin is searched.

One stretch may serve many launches. The launches of a step follow each other in the twin's step: each takes the next
stretch that matches it, and after the twin's last one the first again. So the graphs of layers with equal kernels get
the modules of their own layers, and three replays of a step that the twin has once all get that one.

A launch learns nothing if less than ``AGREEMENT`` of its kernels match (of the twin's, where the twin is shorter), or
less than ``LEAST`` of its own: the twin is one of something else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from ridgeline.analyze.attribution.alignment import MOST_CELLS, Pairs, align_names, common_length
from ridgeline.analyze.attribution.autograd import forward_operators
from ridgeline.analyze.attribution.labels import NOTHING, Label
from ridgeline.analyze.attribution.modules import add_modules
from ridgeline.analyze.attribution.operators import attribute, build_tree, parse_labels, step_labels
from ridgeline.analyze.attribution.origins import find_origins
from ridgeline.analyze.attribution.spans import ROOT, Int64
from ridgeline.analyze.pricing.completed_signatures import assign
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.trace import assemble
from ridgeline.analyze.replays.sequences import Piece, Step, comparable, replayed_steps, steps
from ridgeline.analyze.replays.stretches import stretches
from ridgeline.analyze.replays.teaching import LEARNED, Annotated, Partners, Pricing, teach

AGREEMENT = 0.8
"""The share of the shorter sequence that must match. Steps of the same model in another mode reach two thirds."""
LEAST = 0.5
"""The share of a launch's own kernels that must match."""
_ALIKE = (0.6, 1.25)
"""Lengths of a step in lengths of the twin's step between which the two are aligned as a whole."""
_GAIN = 1.05
"""How many more kernels must match to prefer an alignment that may scatter over one of compact stretches."""
_NONE = np.zeros(0, dtype=np.int64)
_NOTHING = Pairs(_NONE, _NONE)


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
        by_names: dict[bytes, _Alignments] = {}
        self.whole = whole, _Alignments(whole.names, is_step=False)
        self.steps = [
            (step, by_names.setdefault(step.names.tobytes(), _Alignments(step.names, is_step=True)))
            for step in labelled
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
        best, best_matches, most = self.whole[0], [_NOTHING] * len(pieces), 0
        for group in self._candidates(label):
            tried = set()
            for step, alignments in group:
                if alignments not in tried:
                    tried.add(alignments)
                    matches = alignments.of(pieces)
                    if _count(matches) > most:
                        best, best_matches, most = step, matches, _count(matches)
                if most == total:
                    break
            if most >= AGREEMENT * total:
                break
        return best, best_matches

    def _candidates(self, label: Label | None) -> list[list[tuple[Step, _Alignments]]]:
        """Return the twin steps of the label's kind in groups, the nearest in context first; in a group, in number.

        Steps are of one kind unless both labels have a phase, a kind or a query length that differ.
        """
        if label is None or not self.steps:
            return [[self.whole]]
        groups: dict[int, list[tuple[int, tuple[Step, _Alignments]]]] = defaultdict(list)
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


class _Alignments:
    """Alignments of replayed steps with one sequence of the twin's; each is computed once, since replays repeat."""

    def __init__(self, names: Int64, *, is_step: bool) -> None:
        self.names = names
        self.is_step = is_step
        self._of_steps: dict[tuple[tuple[bytes, bool], ...], list[Pairs]] = {}
        self._of_pieces: dict[tuple[bytes, int], Pairs] = {}
        self._stretches: dict[bytes, Int64] = {}

    def of(self, pieces: list[Piece]) -> list[Pairs]:
        """Return for each piece its matches: positions in it, and in the twin's sequence; none where it is refused."""
        key = tuple((piece.names.tobytes(), piece.is_replay) for piece in pieces)
        if key not in self._of_steps:
            self._of_steps[key] = self._align(pieces)
        return self._of_steps[key]

    def _align(self, pieces: list[Piece]) -> list[Pairs]:
        length = sum(len(piece.names) for piece in pieces)
        ratio = length / max(len(self.names), 1)
        fits = ratio <= _ALIKE[1] and length * len(self.names) <= MOST_CELLS
        if self.is_step and ratio >= _ALIKE[0] and fits:
            whole = self._as_a_whole(pieces)
            could_match = (common_length(piece.names, self.names) for piece in pieces if piece.is_replay)
            did_match = (len(pairs.first) for pairs, piece in zip(whole, pieces, strict=True) if piece.is_replay)
            if all(did >= AGREEMENT * could for did, could in zip(did_match, could_match, strict=True)):
                return whole
            return max(whole, self._one_by_one(pieces), key=_count)
        compact = self._one_by_one(pieces)
        if fits and _count(compact) < sum(len(piece.names) for piece in pieces if piece.is_replay):
            whole = self._as_a_whole(pieces)
            return whole if _count(whole) > _GAIN * _count(compact) else compact
        return compact

    def _as_a_whole(self, pieces: list[Piece]) -> list[Pairs]:
        """Return the matches by an LCS of all pieces together, where kernels between the graphs hold their places."""
        first, second = align_names(np.concatenate([piece.names for piece in pieces]), self.names)
        starts = np.cumsum([0, *(len(piece.names) for piece in pieces)])
        cuts = np.searchsorted(first, starts)
        matches = []
        for piece, start, a, b in zip(pieces, starts, cuts, cuts[1:], strict=False):
            matches.append(self._agreed(piece, Pairs(first[a:b] - start, second[a:b])))
        return matches

    def _one_by_one(self, pieces: list[Piece]) -> list[Pairs]:
        """Return the matches of each replay with the next stretch that it matches best, and with the first after that.

        Kernels between the graphs move the place where the next stretch may begin, as far as the twin has them too.
        """
        matches, cursor = [], 0
        for piece in pieces:
            pairs = _NOTHING
            if piece.is_replay:
                key = piece.names.tobytes()
                if key not in self._stretches:
                    self._stretches[key] = stretches(piece.names, self.names)
                cuts = self._stretches[key]
                if len(cuts):
                    # a stretch that is not equal may begin a little before the cursor
                    is_equal = np.array_equal(piece.names, self.names[slice(*cuts[0])])
                    slack = 0 if is_equal else len(piece.names) // 4
                    # the first stretch past the cursor, else the first
                    cut = cuts[np.searchsorted(cuts[:, 0], cursor - slack) % len(cuts)]
                    start, stop = map(int, cut)
                    if (key, start) not in self._of_pieces:
                        first, second = align_names(piece.names, self.names[start:stop])
                        self._of_pieces[key, start] = self._agreed(piece, Pairs(first, second + start))
                    pairs = self._of_pieces[key, start]
                    cursor = int(pairs.second[-1]) + 1 if len(pairs.second) else cursor
            else:
                following = self.names[cursor : cursor + len(piece.names)]
                differs = np.flatnonzero(following != piece.names[: len(following)])
                cursor += int(differs[0]) if len(differs) else len(following)
            matches.append(pairs)
        return matches

    def _agreed(self, piece: Piece, pairs: Pairs) -> Pairs:
        """Return the matches of a replay if there are enough of them."""
        least = max(AGREEMENT * min(len(piece.names), len(self.names)), LEAST * len(piece.names))
        return pairs if piece.is_replay and len(pairs.first) >= least else _NOTHING


def _count(matches: Iterable[Pairs]) -> int:
    return sum(len(pairs.first) for pairs in matches)
