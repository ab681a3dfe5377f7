"""Block diffusion (SDAR, LLaDA 2, Fast-dLLM v2): causal across blocks, bidirectional inside, with an exact cache.

The prompt is cut into blocks as well, backwards from its end. A finished block is forwarded once more, as it was
decided, and its keys and values stay: no refresh, since nothing before a block ever sees it.
"""

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.labels import Labels
from ridgeline.capture.modes.denoising import Denoising, blocks, denoising_steps
from ridgeline.capture.steps import Kind, Step


def schedule(point: Point) -> list[Step]:
    """A prefill, then for each block its denoising steps and, unless nothing follows, the step that caches it."""
    assert point.block is not None
    prompt, block_tokens = point.prompt_tokens, point.block
    steps = [Step(phase="prefill", index=0, kind="prefill", query=prompt, context=prompt, tokens=0)]

    def add(kind: Kind, block: int, tokens: int | None) -> None:
        context = prompt + (block + 1) * block_tokens
        steps.append(
            Step(
                phase="denoise",
                index=len(steps),
                block=block,
                kind=kind,
                query=block_tokens,
                context=context,
                tokens=tokens,
            )
        )

    for block, first, tokens in denoising_steps(point):
        if first and block:
            add("commit", block - 1, 0)
        add("reuse", block, tokens)
    return steps


def block_causal(length: int, end: int, block: int, device: torch.device) -> Tensor | None:
    """Who sees whom among `length` positions cut into blocks that fit `end`: `[length, length]`, None for everyone."""
    numbers = (torch.arange(length, device=device) - end) // block
    if length <= block:
        return None
    return numbers[None, :] <= numbers[:, None]


class BlockCausalDiffusion(Denoising):
    """A generation in mode `dlm_block_causal`."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels, schedule(point))
        assert len({step.block for step in self.steps}) == blocks(point) + 1
        # A slot more than is ever seen: what is seen is then always a part, and compiled code has one case.
        self._cache = decoder.cache(batch=self._sequences, capacity=point.length + 1)
        self.cache_bytes = self._cache.nbytes
        self._mask = block_causal(point.prompt_tokens, point.prompt_tokens, self._block, decoder.device)

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Denoising steps commit tokens; the others only write keys and values, and need no logits.

        Where logits are shifted, the last of a prefill or a finished block are those of the next block's first token.
        """
        if kind == "reuse":
            super().work(kind, offsets, visible)
            return
        positions = offsets + self.canvas.first if kind in self.local else offsets
        view = self.view(kind, positions, visible)
        if self._leading is not None:
            self._leading.copy_(self.forward(positions, view, last=True))
        else:
            self._decoder.hidden(self.inputs(positions), positions, view)

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """All slots up to the end of the block; in the prompt, those of the query's block and of blocks before it."""
        mask = self._mask if kind == "prefill" else None
        return Cached(self._cache, positions, visible.shape[0], mask=mask)
