"""Steps as data without torch: their labels in a trace, the steps of every decoding mode, and those to profile.

`recording` describes any program's steps by RecordedStep. `modes` runs steps of the type Step and `forecast` predicts
them.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.errors import ConfigError

Phase = Literal["prefill", "decode", "denoise"]
Kind = Literal["prefill", "decode", "denoise", "refresh", "reuse", "commit"]


class RecordedStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of any program. `phase` and `kind` are words of the program's own.

    `index` counts the steps of a generation from 0, or all steps where a program has no generations. For each sequence,
    `query` is the number of positions processed, `context` the number of positions attended to, and `tokens` the number
    of tokens committed; each is None where the program does not say. `facts` are other pairs of the label.
    """

    phase: str
    index: int = msgspec.field(name="step")
    kind: str
    query: int | None = None
    context: int | None = None
    tokens: int | None = None
    block: int | None = None
    facts: dict[str, str] = {}

    @property
    def label(self) -> str:
        """The step's name in a trace: `phase=denoise step=7 block=1 kind=reuse query=32 context=1152 tokens=1`."""
        pairs = {"phase": self.phase, "step": self.index, "block": self.block, "kind": self.kind}
        pairs |= {"query": self.query, "context": self.context, "tokens": self.tokens, **self.facts}
        return " ".join(f"{key}={value}" for key, value in pairs.items() if value is not None)

    @property
    def commits(self) -> bool:
        """Whether the step is known to commit tokens."""
        return bool(self.tokens)


class Step(RecordedStep, frozen=True, kw_only=True):
    """One forward and the token selection after it, in a decoding mode.

    `tokens` is None where the model's confidence decides it. `block` is None in autoregressive decoding. A step of kind
    `commit` writes the keys and values of a finished block.
    """

    phase: Phase
    kind: Kind
    query: int
    context: int
    tokens: int | None

    @property
    def commits(self) -> bool:
        """Whether the step may commit tokens: not a prefill that only fills a cache, nor a `commit`."""
        return self.tokens != 0


class StepGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive steps of one kind, block, query and context, as in `Step`.

    `tokens` has an entry for each step: the tokens it commits in each sequence, None where confidence decides.
    """

    kind: Kind
    query: int
    context: int
    tokens: Sequence[int | None]
    block: int | None = None


def schedule(point: Point, mode: str | None = None) -> list[Step]:
    """Return all steps of a generation in order, in the point's mode or in another built-in `mode`.

    Where confidence decides, it is the longest generation there can be: a step for each token of a block. Raises
    ConfigError for a mode that is not built in.
    """
    if mode is not None:
        point = msgspec.structs.replace(point, mode=mode)
    steps: list[Step] = []
    for group in step_groups(point):
        for tokens in group.tokens:
            steps.append(
                Step(
                    phase=group.kind if group.kind in ("prefill", "decode") else "denoise",
                    index=len(steps),
                    kind=group.kind,
                    query=group.query,
                    context=group.context,
                    tokens=tokens,
                    block=group.block,
                )
            )
    return steps


def step_groups(point: Point) -> Iterator[StepGroup]:
    """Yield the steps of a generation as groups of equal steps, in order. A group may be empty.

    Raises ConfigError for a mode that is not built in.
    """
    if not point.built_in:
        raise ConfigError(
            f"mode {point.mode} has no schedule; expected a static method schedule(point) that returns its steps: "
            "see capture/modes/README.md."
        )
    if point.mode != "ar" and point.block is None:
        raise ConfigError(f"mode {point.mode} has no block; expected block = a number of tokens.")
    prompt, length = point.prompt_tokens, point.length
    if point.mode in ("ar", "dlm_block_causal"):
        # Autoregressive prefill commits the first token. Block diffusion's prefill only fills the cache.
        yield StepGroup(kind="prefill", query=prompt, context=prompt, tokens=[int(point.mode == "ar")])
    if point.mode == "ar":
        for context in range(prompt + 1, length):
            yield StepGroup(kind="decode", query=1, context=context, tokens=[1])
        return
    assert point.block is not None
    tokens = tokens_per_step(point)
    for index in range(point.blocks):
        start = prompt + index * point.block
        end = start + point.block
        if point.mode == "dlm_full":  # Every step forwards every position.
            yield StepGroup(kind="denoise", block=index, query=length, context=length, tokens=tokens)
        elif point.mode == "dlm_semi_ar":  # No step forwards the positions after its block.
            yield StepGroup(kind="denoise", block=index, query=end, context=end, tokens=tokens)
        elif point.mode == "dlm_block_causal":
            yield StepGroup(kind="reuse", block=index, query=point.block, context=end, tokens=tokens)
            # One more forward caches the finished block, if another block will attend to it.
            yield StepGroup(kind="commit", block=index, query=point.block, context=end, tokens=[0][: end < length])
        else:
            # The first step of a block refreshes the cache of all positions. The others forward the block, and with a
            # prefix cache all positions after it as well.
            local = length - start if point.mode == "dlm_block_prefix" else point.block
            yield StepGroup(kind="refresh", block=index, query=length, context=length, tokens=tokens[:1])
            yield StepGroup(kind="reuse", block=index, query=local, context=length, tokens=tokens[1:])


def tokens_per_step(point: Point) -> list[int | None]:
    """Return how many tokens each step of a block commits; None for each step where confidence decides."""
    assert point.block is not None
    if point.schedule is not None:
        return list(point.schedule)
    if point.steps is None:
        return [None] * point.block
    # Each step commits an even share; the first ones commit the remainder as well.
    steps = point.steps // point.blocks
    each, remainder = divmod(point.block, steps)
    return [each + (index < remainder) for index in range(steps)]


def profiled_window(steps: Sequence[RecordedStep]) -> list[int]:
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
