"""Autoregressive decoding, greedy: one causal prefill, then one token a step against a key and value cache."""

from torch import Tensor

from capture.canvas import Canvas
from capture.config import Point
from capture.labels import Labels
from capture.models import Decoder
from capture.steps import Step


def schedule(point: Point) -> list[Step]:
    """Prefill commits the first token; each of the others takes a decoding step, which attends to itself as well."""
    prompt = point.prompt_tokens
    prefill = Step(phase="prefill", index=0, kind="prefill", query=prompt, context=prompt, tokens=1)
    decode = [
        Step(phase="decode", index=index, kind="decode", query=1, context=prompt + index, tokens=1)
        for index in range(1, point.generated_tokens)
    ]
    return [prefill, *decode]


class Autoregressive:
    """A generation in mode `ar`. End-of-sequence tokens are ignored, so that every run has the length it asks for."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        self.steps = schedule(point)
        self.canvas = Canvas(decoder, point)
        self._decoder, self._labels = decoder, labels
        self._cache = decoder.cache(batch=point.batch, capacity=point.length)

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values kept between steps."""
        return self._cache.nbytes

    def reset(self) -> None:
        """Go back to the prompt; slots past it are written before they are read."""
        self.canvas.reset()

    def run(self, step: Step) -> None:
        """Issue one step."""
        logits = self.forward(step)
        with self._labels.range("module=sampling"):
            self.canvas.append(step.context, logits[:, -1].argmax(-1))

    def forward(self, step: Step) -> Tensor:
        """Logits `[batch, 1, vocabulary]` of the step's last position."""
        start = step.context - step.query
        tokens = self.canvas.tokens[:, start : step.context]
        return self._decoder.forward(tokens, start=start, cache=self._cache, causal=step.kind == "prefill", last=True)
