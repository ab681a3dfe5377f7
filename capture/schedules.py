"""The steps of every decoding mode, in order, without torch: `modes` runs them, `forecast` predicts them."""

from collections.abc import Iterator, Sequence

import msgspec

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.steps import Kind, Step, share


class StepGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive steps of one kind, block, query and context, as in `steps.Step`.

    `tokens` has an entry for each step: the tokens it commits in each sequence, None where confidence decides.
    """

    kind: Kind
    query: int
    context: int
    tokens: Sequence[int | None]
    block: int | None = None


def schedule(point: Point) -> list[Step]:
    """Return all steps of a generation in order. Where confidence decides, it is the longest generation there can be:
    a step for each token of a block.
    """
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
    """Yield the steps of a generation as groups of equal steps, in order. A group may be empty."""
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
    return list(share(point.block, point.steps // point.blocks))
