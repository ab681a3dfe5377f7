"""Block-wise diffusion decoding with a dual cache (Fast-dLLM), without what its published code pays on top.

Each block starts with a refresh: a full forward that writes keys and values of every position. The block's later steps
forward its own positions only, write theirs in place, and attend to all slots, the stale ones after the block included.
Keys are cached after rotation, confidence is one fused softmax over the block, and no step waits for the device.
"""

from torch import Tensor

from capture.canvas import Canvas, confidence
from capture.config import Point
from capture.labels import Labels
from capture.models import Decoder
from capture.modes import dlm_full
from capture.steps import Step


def schedule(point: Point) -> list[Step]:
    """The steps of `dlm_full`, of which only each block's first processes more than the block."""
    assert point.block is not None
    seen: set[int | None] = set()
    steps = []
    for step in dlm_full.schedule(point):
        first = step.block not in seen
        seen.add(step.block)
        steps.append(
            Step(
                phase="denoise",
                index=step.index,
                block=step.block,
                kind="refresh" if first else "reuse",
                query=point.length if first else point.block,
                context=point.length,
                tokens=step.tokens,
            )
        )
    return steps


class DualCacheDiffusion:
    """A generation in mode `dlm_block_dual`."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        assert point.block is not None
        self.steps = schedule(point)
        self.canvas = Canvas(decoder, point)
        self._decoder, self._labels = decoder, labels
        self._block, self._length = point.block, point.length
        self._cache = decoder.cache(batch=point.batch, capacity=point.length)

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values kept between steps."""
        return self._cache.nbytes

    def reset(self) -> None:
        """Go back to the prompt; the first refresh writes every slot."""
        self.canvas.reset()

    def run(self, step: Step) -> None:
        """Issue one step."""
        start = self._block_start(step)
        logits = self.forward(step)
        with self._labels.range("module=sampling"):
            if step.kind == "refresh":
                logits = logits[:, start : start + self._block]
            probability, token = confidence(logits)
            self.canvas.commit(start, probability, token, step.tokens)

    def forward(self, step: Step) -> Tensor:
        """Logits `[batch, query, vocabulary]`: of every position in a refresh, of the block's in a reuse."""
        start = 0 if step.kind == "refresh" else self._block_start(step)
        tokens = self.canvas.tokens[:, start : start + step.query]
        return self._decoder.forward(tokens, start=start, context=self._length, cache=self._cache)

    def _block_start(self, step: Step) -> int:
        """The first position of a step's block."""
        assert step.block is not None
        return self.canvas.prompt + step.block * self._block
