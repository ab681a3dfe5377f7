"""The alignment of a replayed step's pieces with one sequence of the twin's, which may serve several rounds of replays.

Two alignments are compared. One places graph launch by graph launch: each takes a compact stretch, the next in order
where several match. It is right where launches are long or match exactly, and one launch more or less disturbs nothing.
The other is an LCS of all pieces together with the twin's sequence repeated as often as the pieces go round. It is
right where launches are short and alike, such as those of layers, and some of the twin's kernels differ: it keeps the
count of layers, which the first loses when it passes over a layer that does not match.

The better one has more matches on less of the twin's sequence, with fewer jumps from one launch to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ridgeline.analyze.attribution.alignment import MOST_CELLS, Pairs, align_names, common_length
from ridgeline.analyze.attribution.spans import Int64
from ridgeline.analyze.replays.sequences import Piece
from ridgeline.analyze.replays.stretches import Cut, stretches

AGREEMENT = 0.8
"""The share of the shorter sequence that must match. Steps of the same model in another mode reach two thirds."""
LEAST = 0.5
"""The share of a launch's own kernels that must match."""
_ALIKE = (0.6, 1.25)
"""Lengths of a step in lengths of the twin's step between which the two are aligned as a whole."""
_GAIN = 1.05
"""How many more kernels must match to prefer an alignment that is less compact."""
_JUMP, _JUMP_SHARE = 2, 0.1
"""The cost of a jump in matches: a constant, and a share of the launch's length if that is more."""
_CHUNK = 1 << 14
"""Kernels that are aligned with the repeated sequence at once, which bounds the memory."""
NO_MATCHES = Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
Bools = NDArray[np.bool_]


class Aligned(NamedTuple):
    """For each piece its matches: positions in it and in the twin's sequence. ``score`` compares two alignments."""

    matches: list[Pairs]
    score: float

    @property
    def matched(self) -> int:
        """The number of kernels that match."""
        return sum(len(pairs.first) for pairs in self.matches)


class _Stretches(NamedTuple):
    """Stretches that match a launch, whether they equal it, and their starts."""

    cuts: list[Cut]
    is_equal: bool
    starts: Int64


class Alignments:
    """Alignments with one sequence of the twin's; each is computed once, since replays repeat."""

    def __init__(self, names: Int64, *, is_step: bool) -> None:
        self.names = names
        self._is_step = is_step
        self._of_steps: dict[tuple[tuple[bytes, bool], ...], Aligned] = {}
        self._of_pieces: dict[tuple[bytes, Cut], Pairs] = {}
        self._stretches: dict[bytes, _Stretches] = {}

    def of(self, pieces: list[Piece]) -> Aligned:
        """Return the better alignment; launches that are refused have no matches, nor have the pieces between them."""
        key = tuple((piece.names.tobytes(), piece.is_replay) for piece in pieces)
        if key not in self._of_steps:
            self._of_steps[key] = self._align(pieces)
        return self._of_steps[key]

    def _align(self, pieces: list[Piece]) -> Aligned:
        """Compare the alignments; a step as long as the twin's is first aligned with it as a whole."""
        if not len(self.names):
            return Aligned([NO_MATCHES] * len(pieces), 0)
        replays = [piece for piece in pieces if piece.is_replay]
        total = sum(len(piece.names) for piece in replays)
        is_replayed = np.isin(self.names, np.concatenate([piece.names for piece in replays]))
        length = sum(len(piece.names) for piece in pieces)
        is_alike = _ALIKE[0] <= length / len(self.names) <= _ALIKE[1]
        if self._is_step and is_alike and length * len(self.names) <= MOST_CELLS:
            whole = self._repeated(pieces, 0, len(self.names), is_replayed)
            # launches that are equal have equal lengths in common with the sequence
            distinct = {piece.names.tobytes(): piece.names for piece in replays}
            least = {key: AGREEMENT * common_length(names, self.names) for key, names in distinct.items()}
            counts = ((piece, len(pairs.first)) for piece, pairs in zip(pieces, whole.matches, strict=True))
            if all(count >= least[piece.names.tobytes()] for piece, count in counts if piece.is_replay):
                return whole
        compact = self._one_by_one(pieces, is_replayed)
        if compact.score == total:  # all match exactly, without a jump
            return compact
        rounds = self._in_rounds(pieces, is_replayed)
        return rounds if rounds.score > compact.score or rounds.matched > _GAIN * compact.matched else compact

    def _one_by_one(self, pieces: list[Piece], is_replayed: Bools) -> Aligned:
        """Place each launch on the stretch that matches best after the shortest jump, around the end too.

        Kernels between the launches move the place where the next stretch may begin, as far as the twin has them too.
        """
        placing = _Placing(is_replayed)
        matches = []
        for piece in pieces:
            pairs = NO_MATCHES
            if not piece.is_replay:
                following = self.names[placing.cursor : placing.cursor + len(piece.names)]
                differs = np.flatnonzero(following != piece.names[: len(following)])
                placing.cursor += int(differs[0]) if len(differs) else len(following)
            elif cut := self._next_stretch(piece.names, placing):
                pairs = self._agreed(piece, self._pairs(piece.names, cut))
                placing.place(pairs, len(piece.names))
            matches.append(pairs)
        return Aligned(matches, placing.score)

    def _next_stretch(self, names: Int64, placing: _Placing) -> Cut | None:
        """Return the start and the end of the stretch for a launch, None if nothing matches it."""
        key = names.tobytes()
        if key not in self._stretches:
            found = stretches(names, self.names)
            is_equal = len(found) > 0 and np.array_equal(names, self.names[slice(*found[0])])
            self._stretches[key] = _Stretches(found, is_equal, np.array([start for start, _ in found], dtype=np.int64))
        cuts, is_equal, starts = self._stretches[key]
        if not cuts:
            return None
        if is_equal:  # the first past the cursor, else the first
            return cuts[int(np.searchsorted(starts, placing.cursor)) % len(cuts)]
        ahead = placing.ahead(starts, len(names))
        lengths = np.array([2 * len(self._pairs(names, cut).first) - (cut[1] - cut[0]) for cut in cuts])
        return cuts[int(np.lexsort((ahead, placing.cost(ahead, len(names)) - lengths))[0])]

    def _pairs(self, names: Int64, cut: Cut) -> Pairs:
        key = names.tobytes(), cut
        if key not in self._of_pieces:
            first, second = align_names(names, self.names[slice(*cut)])
            self._of_pieces[key] = Pairs(first, second + cut[0])
        return self._of_pieces[key]

    def _in_rounds(self, pieces: list[Piece], is_replayed: Bools) -> Aligned:
        """Align all pieces together with the sequence, repeated as often as the pieces go round."""
        matches: list[Pairs] = []
        score, cursor = 0.0, 0
        for chunk in _chunks(pieces):
            names = np.concatenate([piece.names for piece in chunk])
            rounds = np.isin(names, self.names).sum() / max(int(np.isin(self.names, names).sum()), 1)
            best = Aligned([NO_MATCHES] * len(chunk), 0)
            for length in {max(1.0, rounds), max(1, math.ceil(rounds))}:
                if len(names) * len(self.names) * length <= MOST_CELLS:
                    aligned = self._repeated(chunk, cursor, round(length * len(self.names)), is_replayed)
                    best = aligned if aligned.score > best.score or not best.matched else best
            matches += best.matches
            score += best.score
            ends = [int(pairs.second[-1]) + 1 for pairs in best.matches if len(pairs.second)]
            cursor = ends[-1] % len(self.names) if ends else cursor
        return Aligned(matches, score)

    def _repeated(self, pieces: list[Piece], cursor: int, length: int, is_replayed: Bools) -> Aligned:
        """Align pieces with ``length`` names of the sequence from the cursor on, around its end too."""
        around = (np.arange(length) + cursor) % len(self.names)
        first, second = align_names(np.concatenate([piece.names for piece in pieces]), self.names[around])
        placing = _Placing(is_replayed[around])
        starts = np.cumsum([0, *(len(piece.names) for piece in pieces)])
        matches = []
        for piece, start, (a, b) in zip(pieces, starts, pairwise(np.searchsorted(first, starts)), strict=False):
            pairs = NO_MATCHES
            if piece.is_replay:
                # also a launch that is refused keeps its place
                placing.place(Pairs(first[a:b], second[a:b]), len(piece.names))
                pairs = self._agreed(piece, Pairs(first[a:b] - start, around[second[a:b]]))
            matches.append(pairs)
        return Aligned(matches, placing.score)

    def _agreed(self, piece: Piece, pairs: Pairs) -> Pairs:
        """Return the matches of a launch if there are enough of them."""
        least = max(AGREEMENT * min(len(piece.names), len(self.names)), LEAST * len(piece.names))
        return pairs if len(pairs.first) >= least else NO_MATCHES


class _Placing:
    """Where launches were placed in a sequence so far, and what that is worth."""

    def __init__(self, is_replayed: Bools) -> None:
        self._before = np.concatenate([[0], np.cumsum(is_replayed)])
        self._is_first = True
        self.cursor = 0
        self.score = 0.0

    def place(self, pairs: Pairs, length: int) -> None:
        """Place a launch of ``length`` kernels at its matches."""
        if len(pairs.second):
            start, stop = int(pairs.second[0]), int(pairs.second[-1]) + 1
            jump = self.cost(self.ahead(np.array([start]), length), length)[0]
            self.score += 2 * len(pairs.first) - (stop - start) - float(jump)
            self.cursor, self._is_first = stop, False

    def ahead(self, starts: Int64, length: int) -> Int64:
        """Return how many kernels that replays have lie between the cursor and each start, around the end too."""
        ahead = self._before[starts] - self._before[self.cursor]
        # stretches that are not equal may overlap a little
        ahead = np.where((ahead < 0) & (ahead >= -(length // 4)), 0, ahead)
        return np.where(ahead < 0, ahead + self._before[-1], ahead)

    def cost(self, ahead: Int64, length: int) -> NDArray[np.float64]:
        """Return the cost of jumps over so many kernels; the first launch may stand anywhere."""
        return np.minimum(ahead, 0.0 if self._is_first else max(_JUMP, _JUMP_SHARE * length))


def _chunks(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces in groups of about ``_CHUNK`` kernels."""
    chunk: list[Piece] = []
    size = 0
    for piece in pieces:
        chunk.append(piece)
        size += len(piece.names)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
