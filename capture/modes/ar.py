"""Autoregressive decoding: one causal prefill, then one token a step against a key and value cache."""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.canvas import Canvas
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.decoder.sampling import Sampler
from ridgeline.capture.labels import Labels
from ridgeline.capture.steps import Kind, Step


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

    adaptive = False

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        self.steps = schedule(point)
        self.canvas = Canvas(decoder, point, self.steps)
        self._decoder, self._labels = decoder, labels
        self._sampler = Sampler(point, decoder.dtype)
        self._cache = decoder.cache(batch=point.batch, capacity=point.length)

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values kept between steps."""
        return self._cache.nbytes

    @property
    def logits_bytes(self) -> int:
        """Bytes of a step's logits: the last position's of every sequence."""
        return len(self.canvas.tokens) * self._decoder.shape.vocabulary * self._decoder.dtype.itemsize

    def reset(self) -> None:
        """Go back to the prompt; slots past it are written before they are read."""
        self.canvas.reset()

    def place(self, step: Step) -> None:
        """Tell the device which step comes."""
        self.canvas.place(step)

    def learn(self, step: Step) -> None:
        """Nothing: every position takes a step."""

    def finished(self, step: Step) -> bool:
        """Never: every position takes a step."""
        del step
        return False

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Forward the positions from the step's first, and commit the token after the last."""
        positions = offsets + self.canvas.first
        logits = self.logits(kind, positions, visible)
        with self._labels.range("module=sampling"):
            chosen = self._sampler.draw(logits)
            undecided = self.canvas.masked.new_zeros(chosen.shape)
            self.canvas.write(positions[-1:] + 1, chosen, undecided)

    def logits(self, kind: Kind, positions: Tensor, visible: Tensor) -> Tensor:
        """Logits `[batch, 1, vocabulary]` of the step's last position."""
        tokens, _ = self.canvas.read(positions)
        view = Cached(self._cache, positions, visible.shape[0], causal=kind == "prefill")
        return self._decoder.forward(tokens, positions, view, last=True)
