"""Naive diffusion decoding (LLaDA): every step forwards all positions, bidirectional, with logits for all."""

from torch import Tensor

from capture.canvas import Canvas, confidence
from capture.config import Point
from capture.labels import Labels
from capture.models import Decoder
from capture.steps import Step, share


def schedule(point: Point) -> list[Step]:
    """Blocks in order, an equal number of steps each; every step processes all positions.

    `point.block` and `point.steps` must be set, as a validated point of a diffusion mode has them.
    """
    assert point.block is not None
    assert point.steps is not None
    blocks = point.generated_tokens // point.block
    counts = [(block, tokens) for block in range(blocks) for tokens in share(point.block, point.steps // blocks)]
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
        for index, (block, tokens) in enumerate(counts)
    ]


class FullDiffusion:
    """A generation in mode `dlm_full`: no cache; confidence for all positions, as the published code computes it."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        assert point.block is not None
        self.steps = schedule(point)
        self.canvas = Canvas(decoder, point)
        self._decoder, self._labels = decoder, labels
        self._block = point.block

    @property
    def cache_bytes(self) -> int:
        """Nothing is kept between steps."""
        return 0

    def reset(self) -> None:
        """Go back to the prompt."""
        self.canvas.reset()

    def run(self, step: Step) -> None:
        """Issue one step."""
        assert step.block is not None
        logits = self.forward(step)
        with self._labels.range("module=sampling"):
            probability, token = confidence(logits)
            start = self.canvas.prompt + step.block * self._block
            block = slice(start, start + self._block)
            self.canvas.commit(start, probability[:, block], token[:, block], step.tokens)

    def forward(self, step: Step) -> Tensor:
        """Logits `[batch, length, vocabulary]` of every position."""
        del step  # Every step is alike.
        return self._decoder.forward(self.canvas.tokens)
