"""Block-wise diffusion decoding with a prefix cache (Fast-dLLM).

Each block starts with a refresh: a full forward that writes the keys and values of every position. The other steps of
the block forward the block and all positions after it, overwrite their keys and values, and attend to all slots.
"""

from torch import Tensor

from ridgeline.capture.modes.denoising import CachedDenoising


class PrefixCacheDiffusion(CachedDenoising):
    """A generation in mode `dlm_block_prefix`."""

    def of_block(self, logits: Tensor) -> Tensor:
        """Return the block's rows, which are the first ones."""
        # Not a slice: where the block is all that is left, it would be the whole tensor, and torch.compile would
        # specialize on that.
        return logits.index_select(1, self.decoder.positions[: self._block])
