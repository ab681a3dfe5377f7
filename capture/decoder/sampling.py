"""From logits to committed tokens: which token a position would take, how sure of it, and which positions commit."""

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point

WIDTH = 4096
"""The longest part of a row of logits that is reduced at once."""

PRECISIONS = {"fp32": torch.float32, "fp64": torch.float64}


class Sampler:
    """The rules of a point, applied on the device.

    Gumbel noise and random remasking draw from PyTorch's default generator of the device, which CUDA graphs advance.

    Softmax, confidence and noise are of the precision that `sampling` says. LLaDA's published code draws its noise in
    float64; that is `fp64`. In `fp32` a random number has 24 bits, so that the rarest draws, one in 2^24, are cut off,
    and it moves half the bytes; in `model`, of bf16, 8 bits.
    """

    def __init__(self, point: Point, dtype: torch.dtype) -> None:
        self._dtype = PRECISIONS.get(point.sampling, dtype)
        self._temperature, self._remasking = point.temperature, point.remasking
        self._threshold, self._factor = point.threshold, point.factor

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence in each position's token, and the token, from `[batch, query, vocabulary]`: `[batch, query]` each.

        The confidence is the token's softmax probability, or with random remasking a random number. At a temperature
        the token is drawn by Gumbel noise, as LLaDA's published code does; else it is the likeliest, the first of
        equals, whose probability is one over the sum of all exp(logit - its logit).
        """
        wide = logits.to(self._dtype)
        if self._temperature == 0:
            top, tokens = largest(logits)
            confidence = _exponentials(wide, top).reciprocal()
        else:
            tokens = self.draw(logits)
            confidence = _exponentials(wide, wide.gather(-1, tokens[..., None])[..., 0]).reciprocal()
        if self._remasking == "random":
            confidence = torch.rand_like(confidence)
        return confidence, tokens

    def draw(self, logits: Tensor) -> Tensor:
        """A token for each position of `[batch, query, vocabulary]`: `[batch, query]`."""
        if self._temperature == 0:
            return largest(logits)[1]
        wide = logits.to(self._dtype)
        noise = (-torch.rand_like(wide).log()) ** self._temperature
        return (wide.exp() / noise).argmax(-1)

    def accept(self, confidence: Tensor, masked: Tensor, count: Tensor) -> Tensor:
        """Which undecided positions commit, `[batch, block]`; `masked` says which are undecided.

        - By count: the `count` most confident.
        - By threshold: all at least that confident, and the most confident in any case.
        - By factor, as Fast-dLLM's published code has it: from the most confident down, as long as the n-th confidence
          is at least 1 - factor / (n + 1); the first in any case, and the last if all before it are.
        """
        candidates = torch.where(masked, confidence, -torch.inf)
        ordered, order = candidates.sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(ordered.shape[-1], device=ordered.device)
        if self._threshold is not None:
            taken = (ordered >= self._threshold) | (rank == 0)
        elif self._factor is not None:
            fails = (ordered < 1 - self._factor / (rank.double() + 2)) & (rank > 0)
            sure = (fails.cumsum(-1) == 0).sum(-1, keepdim=True)
            taken = rank < sure + (sure == masked.sum(-1, keepdim=True) - 1)
        else:
            taken = rank < count
        taken = taken & (ordered > -torch.inf)
        return torch.zeros_like(masked).scatter(-1, order, taken)


def guided(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: `[2 * batch, ...]`, conditioned half first, to `[batch, ...]`."""
    conditioned, unconditioned = logits.chunk(2)
    return unconditioned + (1 + scale) * (conditioned - unconditioned)


def largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of `[..., vocabulary]` and where it is, the first of equals: `[...]` each.

    Found in parts of a row, then among the parts: one row of a hundred thousand would leave most of a device idle.
    """
    values, places = _parts(logits).max(-1)
    top, part = values.max(-1)
    width = logits.shape[-1] // values.shape[-1]
    return top, part * width + places.gather(-1, part[..., None])[..., 0]


def _exponentials(logits: Tensor, reference: Tensor) -> Tensor:
    """The sum of exp(logit - reference) over the vocabulary: `[..., vocabulary]` and `[...]` to `[...]`."""
    return _parts((logits - reference[..., None]).exp_()).sum(-1).sum(-1)


def _parts(rows: Tensor) -> Tensor:
    """Rows cut into equal parts of at most WIDTH: `[..., vocabulary]` to `[..., parts, width]`, a view."""
    width = next(width for width in range(min(WIDTH, rows.shape[-1]), 0, -1) if rows.shape[-1] % width == 0)
    return rows.view(*rows.shape[:-1], rows.shape[-1] // width, width)
