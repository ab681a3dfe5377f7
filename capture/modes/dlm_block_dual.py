"""Block-wise diffusion decoding with a dual cache (Fast-dLLM), clean or with the costs of its published code.

Each block starts with a refresh: a full forward that writes the keys and values of every position. The other steps of
the block forward only its own positions, overwrite their keys and values, and attend to all slots, including the stale
ones after the block. The variants:

- `clean`: keys are cached after rotation, confidence is one softmax over the block, and no step waits for the device.
- `unrotated`: keys are cached before rotation, so each step rotates all of them again, in float32.
- `synchronous`: in each layer the host waits for the device to find the slots to write.
- `faithful`: both of these and a float64 softmax, as published.
"""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.cache import Published
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.denoising import CachedDenoising
from ridgeline.capture.steps import Kind


class DualCacheDiffusion(CachedDenoising):
    """A generation in mode `dlm_block_dual`."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels)
        self._unrotated = point.variant in ("unrotated", "faithful")
        self._synchronous = point.variant in ("synchronous", "faithful")

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Return a view of all slots, stale ones included."""
        # A refresh writes every slot, so it need not find out which: only `unrotated` changes its costs.
        if not self._unrotated and (not self._synchronous or kind == "refresh"):
            return super().view(kind, positions, visible)
        return Published(
            self._cache,
            positions,
            self.decoder.rotary(visible),
            unrotated=self._unrotated,
            synchronous=self._synchronous and kind == "reuse",
        )
