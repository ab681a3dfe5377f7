"""Autoregressive decoding: one causal prefill, then one token per step with a key and value cache."""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.generation import Generation
from ridgeline.capture.steps import Kind


class Autoregressive(Generation):
    """A generation in mode `ar`. It ignores end-of-sequence tokens, so that every run has the configured length."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels)
        self._cache = decoder.cache(batch=point.batch, capacity=point.length)
        self.cache_bytes = self._cache.nbytes
        self._logits_rows = point.batch  # a step has logits of the last position of every sequence only

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Forward the step's positions and commit the token after the last one."""
        positions = offsets + self.canvas.first  # on the device: the host passes only lengths
        logits = self.logits(kind, positions, visible)
        with self.labels.range("module=sampling"):
            chosen = self.sampler.draw(logits)
            undecided = self.canvas.masked.new_zeros(chosen.shape)
            self.canvas.write(positions[-1:] + 1, chosen, undecided)

    def logits(self, kind: Kind, positions: Tensor, visible: Tensor) -> Tensor:
        """Return the logits `[batch, 1, vocabulary]` of the step's last position."""
        tokens, _ = self.canvas.read(positions)
        view = Cached(self._cache, positions, visible.shape[0], causal=kind == "prefill")
        return self.decoder.forward(tokens, positions, view, last=True)
