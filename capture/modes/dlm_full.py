"""Naive diffusion decoding (LLaDA): every step forwards all positions with bidirectional attention, without a cache."""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.block_sparse import block_mask
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.denoising import Denoising
from ridgeline.capture.steps import Kind


class FullDiffusion(Denoising):
    """A generation in mode `dlm_full`. Like the published code, it computes confidence for all positions."""

    confident_everywhere = True

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels)
        # All layers and steps share one block mask.
        self._mask = None if point.window is None else block_mask(point.length, point.window, decoder.device)

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Return a view of all positions, limited to the point's window if it has one."""
        del kind, positions, visible
        return View(mask=self._mask)
