"""The stretches of a long sequence of names that match a short one best."""

from __future__ import annotations

from functools import cache

import numpy as np

from ridgeline.analyze.attribution.alignment import common_length
from ridgeline.analyze.attribution.spans import Int64

_GRAM = 16
"""Names that must be equal before a whole stretch is compared."""
_MOST_STARTS = 4096
"""A sequence shorter than ``_GRAM`` is only searched for among more starts than this if it occurs unchanged."""
_MOST_PEAKS = 16
_MOVES = ((0, 0), (-1, -1), (1, 1), (-1, 0), (1, 0), (0, -1), (0, 1))
Cut = tuple[int, int]
"""The first index of a stretch, and the index after its last."""


def stretches(names: Int64, whole: Int64) -> list[Cut]:
    """Return the stretches of ``whole`` that equal ``names``, in order; if there are none, those that match best."""
    if len(names) >= len(whole):
        return [(0, len(whole))]
    count = len(whole) - len(names) + 1
    # compare the first few names at every start at once, then the whole stretch at the few starts left
    is_start = np.ones(count, dtype=bool)
    for k in range(min(_GRAM, len(names))):
        is_start &= whole[k : k + count] == names[k]
    cuts = [(start, start + len(names)) for start in np.flatnonzero(is_start).tolist()]
    cuts = [cut for cut in cuts if np.array_equal(names, whole[slice(*cut)])]
    if not cuts and (len(names) >= _GRAM or count <= _MOST_STARTS):
        cuts = sorted(_best(names, whole))
    return cuts


def _best(names: Int64, whole: Int64) -> list[Cut]:
    """Return the stretches with the most matches for their length, within 2 % of the best.

    The search scores a grid of stretches and climbs from its peaks. Of stretches that overlap by half, only the best is
    returned.
    """

    @cache
    def score(cut: Cut) -> int:
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
    best: list[Cut] = []
    for cut in ranked:
        is_apart = all(abs(sum(cut) - sum(other)) > len(names) for other in best)
        if is_apart and score(cut) >= score(ranked[0]) - len(names) // 50:
            best.append(cut)
    return best
