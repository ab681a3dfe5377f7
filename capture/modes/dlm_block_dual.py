"""Block-wise diffusion decoding with a dual cache (Fast-dLLM), clean or with the costs of its published code.

Each block starts with a refresh: a full forward that writes keys and values of every position. The block's later steps
forward its own positions only, write theirs in place, and attend to all slots, the stale ones after the block included.

- `clean`: keys are cached after rotation, confidence is one softmax over the block, and no step waits for the device.
- `unrotated`: keys are cached before rotation, so each step rotates all of them again, in float32.
- `synchronous`: the slots to write are found on the device, layer by layer, while the host waits.
- `faithful`: both, and a float64 softmax, as published.
"""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.cache import Cached, Published
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.labels import Labels
from ridgeline.capture.modes.denoising import Denoising, denoising_steps
from ridgeline.capture.steps import Kind, Step


def schedule(point: Point) -> list[Step]:
    """Of a block's steps, the first processes all positions, the others the block's."""
    assert point.block is not None
    return [
        Step(
            phase="denoise",
            index=index,
            block=block,
            kind="refresh" if first else "reuse",
            query=point.length if first else point.block,
            context=point.length,
            tokens=tokens,
        )
        for index, (block, first, tokens) in enumerate(denoising_steps(point))
    ]


class DualCacheDiffusion(Denoising):
    """A generation in mode `dlm_block_dual`."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels, schedule(point))
        self._cache = decoder.cache(batch=self._sequences, capacity=point.length)
        self.cache_bytes = self._cache.nbytes
        self._unrotated = point.variant in ("unrotated", "faithful")
        self._synchronous = point.variant in ("synchronous", "faithful")

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """All slots, whatever their age."""
        if not self._unrotated and (not self._synchronous or kind == "refresh"):
            return Cached(self._cache, positions, visible.shape[0])
        return Published(
            self._cache,
            positions,
            self._decoder.rotary(visible),
            unrotated=self._unrotated,
            synchronous=self._synchronous and kind == "reuse",
        )
