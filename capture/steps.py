"""A step of decoding as data: what one forward processes, and how its label reads in a trace."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

Phase = Literal["prefill", "decode", "denoise"]
Kind = Literal["prefill", "decode", "denoise", "refresh", "reuse", "commit"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One forward and the token selection after it.

    `index` counts a generation's steps from 0. `query` is the positions processed and `context` the positions attended
    to, for each sequence; `tokens` is how many the step commits for each, None where the model's confidence decides.
    `block` is None outside of diffusion. A step of kind `commit` writes a finished block's keys and values.
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
        block = "" if self.block is None else f" block={self.block}"
        tokens = "" if self.tokens is None else f" tokens={self.tokens}"
        return (
            f"phase={self.phase} step={self.index}{block} kind={self.kind} "
            f"query={self.query} context={self.context}{tokens}"
        )


def share(tokens: int, steps: int) -> Iterator[int]:
    """How many tokens each of a block's steps commits: an even share, the remainder first."""
    each, remainder = divmod(tokens, steps)
    for index in range(steps):
        yield each + (index < remainder)


def profiled_window(steps: Sequence[Step]) -> list[int]:
    """The places of the steps to profile: every kind once and the commonest twice, from the shortest run with both.

    What such a run has beyond that is left out: a step's work does not depend on whether all before it were run. Of
    several, those that begin as the generation does come first (a refresh and the steps that live on it), then the
    one nearest the middle, where lengths are typical. A generation too short for two of the commonest kind gives what
    it has.
    """
    kinds = [step.kind for step in steps]
    commonest = max(dict.fromkeys(kinds), key=kinds.count)
    need = dict.fromkeys(kinds, 1) | {commonest: min(2, kinds.count(commonest))}
    fitting = [
        range(start, stop) for start in range(len(kinds)) if (stop := _first_stop(kinds, start, need)) is not None
    ]
    middle = len(kinds) / 2

    def rank(window: range) -> tuple[int, bool, float]:
        return len(window), kinds[window.start] != kinds[0], abs((window.start + window.stop) / 2 - middle)

    chosen = min(fitting, key=rank)
    left = dict(need)
    return [place for place in chosen if _take(left, kinds[place])]


def _take(left: dict[Kind, int], kind: Kind) -> bool:
    """Whether one more of a kind is needed; it is taken then."""
    left[kind] -= 1
    return left[kind] >= 0


def _first_stop(kinds: Sequence[Kind], start: int, need: dict[Kind, int]) -> int | None:
    """Where a window from `start` first has all it needs, or None."""
    left = dict(need)
    for position in range(start, len(kinds)):
        left[kinds[position]] -= 1
        if all(count <= 0 for count in left.values()):
            return position + 1
    return None
