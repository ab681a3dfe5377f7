"""From logits to committed tokens: the token of each position, its confidence, and the positions that commit."""

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point

WIDTH = 4096
"""The most logits of a row that one reduction takes."""

PRECISIONS = {"fp32": torch.float32, "fp64": torch.float64}


class Sampler:
    """The sampling rules of a point, applied on the device.

    Gumbel noise and random remasking draw from PyTorch's default generator of the device, which CUDA graphs advance.

    `point.sampling` sets the precision of softmax, confidence and noise. LLaDA's published code draws its noise in
    float64 (`fp64`). `fp32` moves half the bytes; its random numbers have 24 bits, so draws rarer than 2^-24 never
    occur. With `model` and bf16 they have 8 bits.
    """

    def __init__(self, point: Point, dtype: torch.dtype) -> None:
        self._dtype = PRECISIONS.get(point.sampling, dtype)
        self._temperature, self._remasking = point.temperature, point.remasking
        self._threshold, self._factor = point.threshold, point.factor

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence and token of each position, `[batch, query]` each, from `logits` `[batch, query, vocabulary]`.

        The confidence is the token's softmax probability, or a random number with random remasking. The token is the
        likeliest one, the first of equals, or with a temperature a draw by Gumbel noise, as in LLaDA's published code.
        """
        wide = logits.to(self._dtype)
        if self._temperature == 0:
            chosen, tokens = largest(logits)
        else:
            tokens = self.draw(logits)
            chosen = wide.gather(-1, tokens[..., None])[..., 0]
        # The token's softmax probability is 1 / sum of exp(logit - the token's logit), summed by parts as in `largest`.
        confidence = _parts((wide - chosen[..., None]).exp_()).sum(-1).sum(-1).reciprocal()
        if self._remasking == "random":
            confidence = torch.rand_like(confidence)
        return confidence, tokens

    def draw(self, logits: Tensor) -> Tensor:
        """One token `[batch, query]` for each position of `logits` `[batch, query, vocabulary]`."""
        if self._temperature == 0:
            return largest(logits)[1]
        wide = logits.to(self._dtype)
        # exp(logit) / (-log u)^T has its maximum where logit / T + Gumbel noise has it.
        noise = (-torch.rand_like(wide).log()) ** self._temperature
        return (wide.exp() / noise).argmax(-1)

    def accept(self, confidence: Tensor, masked: Tensor, count: Tensor) -> Tensor:
        """Which positions commit, `[batch, block]`, of those that `masked` `[batch, block]` calls undecided.

        - By count: the `count` most confident.
        - By threshold: every position whose confidence reaches the threshold, and always the most confident one.
        - By factor, as in Fast-dLLM's published code: from the most confident down, while the n-th confidence is at
          least 1 - factor / (n + 1); always the first, and the last one if all before it commit.
        """
        candidates = torch.where(masked, confidence, -torch.inf)
        ordered, order = candidates.sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(ordered.shape[-1], device=ordered.device)
        # Below, row r of `accepted` refers to the r-th most confident position; scatter returns it to its place.
        if self._threshold is not None:
            accepted = (ordered >= self._threshold) | (rank == 0)
        elif self._factor is not None:
            fails = (ordered < 1 - self._factor / (rank.double() + 2)) & (rank > 0)
            sure = (fails.cumsum(-1) == 0).sum(-1, keepdim=True)  # ranks before the first failure
            accepted = rank < sure + (sure == masked.sum(-1, keepdim=True) - 1)
        else:
            accepted = rank < count
        accepted = accepted & (ordered > -torch.inf)  # decided positions, which sort last
        return torch.zeros_like(masked).scatter(-1, order, accepted)


def guided(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: logits `[2 * batch, ...]`, the conditioned half first, to `[batch, ...]`."""
    conditioned, unconditioned = logits.chunk(2)
    return unconditioned + (1 + scale) * (conditioned - unconditioned)


def largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest logit of each row `[..., vocabulary]` and its index, the first of equals: `[...]` each.

    Two steps, within parts of a row and then among the parts, keep the device busy: a plain reduction of one row of a
    hundred thousand uses few of its processors.
    """
    values, places = _parts(logits).max(-1)
    top, part = values.max(-1)
    width = logits.shape[-1] // values.shape[-1]
    return top, part * width + places.gather(-1, part[..., None])[..., 0]


def _parts(rows: Tensor) -> Tensor:
    """A view of rows `[..., vocabulary]` as equal parts `[..., parts, width]`, with the largest width up to WIDTH."""
    width = next(width for width in range(min(WIDTH, rows.shape[-1]), 0, -1) if rows.shape[-1] % width == 0)
    return rows.view(*rows.shape[:-1], rows.shape[-1] // width, width)
