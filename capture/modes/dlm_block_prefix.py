"""Block-wise diffusion decoding with a prefix cache (Fast-dLLM).

Each block starts with a refresh: a full forward that writes the keys and values of every position. The other steps of
the block forward the block and all positions after it, overwrite their keys and values, and attend to all slots.
"""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.labels import Labels
from ridgeline.capture.modes.denoising import Denoising
from ridgeline.capture.steps import Kind


class PrefixCacheDiffusion(Denoising):
    """A generation in mode `dlm_block_prefix`."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels)
        self._cache = decoder.cache(batch=self._sequences, capacity=point.length)
        self.cache_bytes = self._cache.nbytes

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Return a view of all slots: the refreshed prefix, and the positions that the step itself writes."""
        del kind
        return Cached(self._cache, positions, visible.shape[0])

    def of_block(self, logits: Tensor) -> Tensor:
        """Return the block's rows, which are the first ones."""
        # Not a slice: where the block is all that is left, it would be the whole tensor, and torch.compile would
        # specialize on that.
        return logits.index_select(1, self._decoder.positions[: self._block])
