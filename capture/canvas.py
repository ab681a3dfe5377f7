"""The tokens of a generation, and how they are committed: all on the device, no step waits for a value."""

import torch
from torch import Tensor

from capture.config import Point
from capture.models import Decoder


class Canvas:
    """`tokens` `[batch, length]`: a random prompt, then masks; `masked` `[batch, length]` says which are undecided.

    `masked` is kept apart from the mask id, since a model of random weights may well predict that id.
    """

    def __init__(self, decoder: Decoder, point: Point) -> None:
        self.prompt = point.prompt_tokens
        self._mask_id = decoder.shape.mask_id
        self.tokens = torch.empty((point.batch, point.length), dtype=torch.int64, device=decoder.device)
        self.masked = torch.empty_like(self.tokens, dtype=torch.bool)
        generator = torch.Generator(decoder.device).manual_seed(point.seed)
        self.tokens.random_(0, self._mask_id, generator=generator)
        self.reset()

    def reset(self) -> None:
        """Mask everything past the prompt."""
        self.tokens[:, self.prompt :] = self._mask_id
        self.masked.fill_(False)
        self.masked[:, self.prompt :] = True

    def append(self, position: int, chosen: Tensor) -> None:
        """Commit `chosen` `[batch]` at one position, in order: no choice depends on `masked`, which stays."""
        self.tokens[:, position] = chosen

    def commit(self, start: int, confidence: Tensor, chosen: Tensor, count: int) -> None:
        """Commit the `count` most confident masked positions of a block that begins at `start`.

        `confidence` and `chosen` are `[batch, block]`. The count is known beforehand, so nothing asks the device.
        """
        stop = start + confidence.shape[1]
        masked = self.masked[:, start:stop]
        candidates = torch.where(masked, confidence, -torch.inf)
        best = candidates.topk(count, dim=-1).indices
        self.tokens[:, start:stop].scatter_(1, best, chosen.gather(1, best))
        masked.scatter_(1, best, False)


def confidence(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax probability of each position's best token, float32, and that token.

    `logits` is `[batch, query, vocabulary]`, both results `[batch, query]`. Of equal tokens the first wins.
    """
    probability, token = torch.softmax(logits, dim=-1, dtype=torch.float32).max(dim=-1)
    return probability, token
