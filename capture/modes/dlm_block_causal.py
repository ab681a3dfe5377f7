"""Block diffusion (SDAR, LLaDA 2, Fast-dLLM v2): causal across blocks, bidirectional inside, with an exact cache.

The prompt is cut into blocks as well, backwards from its end. A finished block is forwarded once more with its final
tokens, and its keys and values stay valid without refreshes: no position ever attends to a later block.
"""

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.denoising import CachedDenoising
from ridgeline.capture.steps import Kind


def block_causal(length: int, end: int, block: int, device: torch.device) -> Tensor | None:
    """Return the mask `[length, length]` (query, key) of positions cut into blocks of which one ends at `end`.

    None if all positions fit one block and therefore see each other.
    """
    # Block numbers count from `end`: negative ones in the prompt, whose first block may be shorter.
    numbers = (torch.arange(length, device=device) - end) // block
    if length <= block:
        return None
    return numbers[None, :] <= numbers[:, None]


class BlockCausalDiffusion(CachedDenoising):
    """A generation in mode `dlm_block_causal`."""

    # One slot is never visible, so that the visible slots are always a part of the cache: torch.compile would
    # specialize on the case in which they are the whole cache.
    spare = 1

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels)
        self._mask = block_causal(point.prompt_tokens, point.prompt_tokens, self._block, decoder.device)

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Commit tokens in a denoising step. A prefill or commit only writes keys and values and needs no logits.

        The exception is shifted logits: the last ones of a prefill or commit are those of the next block's first token.
        """
        if kind == "reuse":
            super().work(kind, offsets, visible)
            return
        positions = offsets + self.canvas.first if kind in self.local else offsets
        view = self.view(kind, positions, visible)
        if self._leading is not None:
            self._leading.copy_(self.forward(positions, view, last=True))
        else:
            self.decoder.hidden(self.inputs(positions), positions, view)

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Return a view of all slots up to the end of the block; a prefill attends block by block."""
        mask = self._mask if kind == "prefill" else None
        return Cached(self._cache, positions, visible.shape[0], mask=mask)
