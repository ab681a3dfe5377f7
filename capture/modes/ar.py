"""Autoregressive decoding: one causal prefill, then one token per step with a key and value cache."""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.canvas import Canvas
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.decoder.sampling import Sampler
from ridgeline.capture.labels import Labels
from ridgeline.capture.steps import Kind, Step, schedule


class Autoregressive:
    """A generation in mode `ar`. It ignores end-of-sequence tokens, so that every run has the configured length."""

    adaptive = False

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        self.steps = schedule(point)
        self.canvas = Canvas(decoder, point, self.steps)
        self._decoder, self._labels = decoder, labels
        self._sampler = Sampler(point, decoder.dtype)
        self._cache = decoder.cache(batch=point.batch, capacity=point.length)

    @property
    def cache_bytes(self) -> int:
        """Bytes of the key and value cache."""
        return self._cache.nbytes

    @property
    def logits_bytes(self) -> int:
        """Bytes of a step's logits, which are those of the last position of every sequence."""
        return len(self.canvas.tokens) * self._decoder.shape.vocabulary * self._decoder.dtype.itemsize

    def reset(self) -> None:
        """Return to the prompt. The cache stays as it is: every slot is written before it is read."""
        self.canvas.reset()

    def place(self, step: Step) -> None:
        """Copy the first position of `step` to where the work reads it."""
        self.canvas.place(step)

    def learn(self, step: Step) -> None:
        """Do nothing: no step is ever skipped."""

    def finished(self, step: Step) -> bool:
        """Return False: no step is ever skipped."""
        del step
        return False

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Forward the step's positions and commit the token after the last one."""
        positions = offsets + self.canvas.first  # on the device: the host passes only lengths
        logits = self.logits(kind, positions, visible)
        with self._labels.range("module=sampling"):
            chosen = self._sampler.draw(logits)
            undecided = self.canvas.masked.new_zeros(chosen.shape)
            self.canvas.write(positions[-1:] + 1, chosen, undecided)

    def logits(self, kind: Kind, positions: Tensor, visible: Tensor) -> Tensor:
        """Return the logits `[batch, 1, vocabulary]` of the step's last position."""
        tokens, _ = self.canvas.read(positions)
        view = Cached(self._cache, positions, visible.shape[0], causal=kind == "prefill")
        return self._decoder.forward(tokens, positions, view, last=True)
