"""One decoding step as data: the work of one forward, its label in a trace, and the choice of steps to profile."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

Phase = Literal["prefill", "decode", "denoise"]
Kind = Literal["prefill", "decode", "denoise", "refresh", "reuse", "commit"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One forward and the token selection after it.

    `index` counts the steps of a generation from 0. For each sequence, `query` is the number of positions processed,
    `context` the number of positions attended to and `tokens` the number of tokens committed, None where the model's
    confidence decides it. `block` is None in autoregressive decoding. A step of kind `commit` writes the keys and
    values of a finished block.
    """

    phase: Phase
    index: int = msgspec.field(name="step")
    kind: Kind
    query: int
    context: int
    tokens: int | None
    block: int | None = None

    @property
    def label(self) -> str:
        """The step's name in a trace: `phase=denoise step=7 block=1 kind=reuse query=32 context=1152 tokens=1`."""
        pairs = {"phase": self.phase, "step": self.index, "block": self.block, "kind": self.kind}
        pairs |= {"query": self.query, "context": self.context, "tokens": self.tokens}
        return " ".join(f"{key}={value}" for key, value in pairs.items() if value is not None)


def share(tokens: int, steps: int) -> Iterator[int]:
    """The number of tokens that each of a block's `steps` commits: an even share, the remainder in the first steps."""
    each, remainder = divmod(tokens, steps)
    for index in range(steps):
        yield each + (index < remainder)


def profiled_window(steps: Sequence[Step]) -> list[int]:
    """The indices of the steps to profile: one step of every kind, and two of the commonest kind.

    The window is the shortest run of steps that contains them; the run's other steps are left out, since the work of a
    step does not depend on them. Of equally short windows, one that begins with the generation's first kind wins (a
    refresh and the steps that reuse its cache), then the one nearest the middle, where lengths are typical. A
    generation with one step of the commonest kind gives one.
    """
    kinds = [step.kind for step in steps]
    counts = Counter(kinds)
    commonest = max(counts, key=counts.__getitem__)
    required = {kind: min(2 if kind == commonest else 1, count) for kind, count in counts.items()}
    places = {kind: [place for place, other in enumerate(kinds) if other == kind] for kind in counts}

    # From every start, each kind contributes its next required steps; a start too near the end lacks some.
    windows = []
    for start in range(len(kinds)):
        window = []
        for kind, number in required.items():
            at = bisect_left(places[kind], start)
            window += places[kind][at : at + number]
        if len(window) == sum(required.values()):
            windows.append(sorted(window))

    def rank(window: list[int]) -> tuple[int, bool, float]:
        first, end = window[0], window[-1] + 1
        return end - first, kinds[first] != kinds[0], abs((first + end) / 2 - len(kinds) / 2)

    return min(windows, key=rank)
