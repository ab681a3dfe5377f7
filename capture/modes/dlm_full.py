"""Naive diffusion decoding (LLaDA): every step forwards all positions, bidirectional, with logits for all."""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View, Whole
from ridgeline.capture.decoder.block_sparse import block_mask
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.labels import Labels
from ridgeline.capture.modes.denoising import Denoising, denoising_steps
from ridgeline.capture.steps import Kind, Step


def schedule(point: Point) -> list[Step]:
    """Blocks in order; every step processes all positions."""
    return [
        Step(
            phase="denoise",
            index=index,
            block=block,
            kind="denoise",
            query=point.length,
            context=point.length,
            tokens=tokens,
        )
        for index, (block, _, tokens) in enumerate(denoising_steps(point))
    ]


class FullDiffusion(Denoising):
    """A generation in mode `dlm_full`: no cache; confidence for all positions, as the published code computes it."""

    confident_everywhere = True

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels, schedule(point))
        # Made once, since it is that of all layers and steps.
        self._mask = None if point.window is None else block_mask(point.length, point.window, decoder.device)

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Everything sees everything, or what the point's window lets see."""
        del kind, positions, visible
        return Whole(mask=self._mask)
