"""Semi-autoregressive diffusion without a cache: a step forwards the prompt and the blocks so far, and no suffix."""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View, Whole
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.labels import Labels
from ridgeline.capture.modes.denoising import Denoising, denoising_steps
from ridgeline.capture.steps import Kind, Step


def schedule(point: Point) -> list[Step]:
    """Blocks in order; a step processes all positions up to the end of its block."""
    assert point.block is not None
    steps = []
    for index, (block, _, tokens) in enumerate(denoising_steps(point)):
        end = point.prompt_tokens + (block + 1) * point.block
        steps.append(
            Step(phase="denoise", index=index, block=block, kind="denoise", query=end, context=end, tokens=tokens)
        )
    return steps


class SemiAutoregressive(Denoising):
    """A generation in mode `dlm_semi_ar`. With one block it is `dlm_full`."""

    confident_everywhere = True

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels, schedule(point))

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Everything so far sees everything so far."""
        del kind, positions, visible
        return Whole()
