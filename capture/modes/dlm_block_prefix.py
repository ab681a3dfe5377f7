"""Block-wise diffusion decoding with a prefix cache (Fast-dLLM).

Each block starts with a refresh: a full forward that writes keys and values of every position. The block's later steps
forward the block and all that follows it, write theirs in place, and attend to the cached prefix and to themselves.
"""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.labels import Labels
from ridgeline.capture.modes.denoising import Denoising, denoising_steps
from ridgeline.capture.steps import Kind, Step


def schedule(point: Point) -> list[Step]:
    """Of a block's steps, the first processes all positions, the others those from the block's first."""
    assert point.block is not None
    steps = []
    for index, (block, first, tokens) in enumerate(denoising_steps(point)):
        before = point.prompt_tokens + block * point.block
        steps.append(
            Step(
                phase="denoise",
                index=index,
                block=block,
                kind="refresh" if first else "reuse",
                query=point.length if first else point.length - before,
                context=point.length,
                tokens=tokens,
            )
        )
    return steps


class PrefixCacheDiffusion(Denoising):
    """A generation in mode `dlm_block_prefix`."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels, schedule(point))
        self._cache = decoder.cache(batch=self._sequences, capacity=point.length)
        self.cache_bytes = self._cache.nbytes

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """All slots: the prefix as the refresh left it, the rest as it is now."""
        del kind
        return Cached(self._cache, positions, visible.shape[0])

    def of_block(self, logits: Tensor) -> Tensor:
        """The first of them, copied: a slice of all of them would be another case for a compiler than one of some."""
        return logits.index_select(1, self._decoder.positions[: self._block])
