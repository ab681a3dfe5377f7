"""The tokens of a generation and which of them are undecided, kept on the device so that no step waits for a value."""

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point, prompts_of
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.steps import Step


class Canvas:
    """Tokens `[batch, length]`, prompts and then masks, and `masked` `[batch, length]`, true where undecided.

    The prompts are the point's, or random. `masked` is separate from the mask id, since a model of random weights may
    predict that id. `first` and `count` are scalars on the device: the first position of the step's block, and the
    number of tokens the step commits. Work that reads them there is the same for every step, so a CUDA graph of it can
    be replayed.
    """

    def __init__(self, decoder: Decoder, point: Point, steps: list[Step]) -> None:
        self.prompt = point.prompt_tokens
        self.mask_id = decoder.shape.mask_id
        self.tokens = torch.empty((point.batch, point.length), dtype=torch.int64, device=decoder.device)
        self.masked = torch.empty_like(self.tokens, dtype=torch.bool)
        self._seed = point.seed
        generator = torch.Generator(decoder.device).manual_seed(point.seed)
        self.tokens.random_(0, self.mask_id, generator=generator)
        if (prompts := prompts_of(point)) is not None:
            self.tokens[:, : self.prompt] = torch.tensor(prompts)
        places = []
        for step in steps:
            first = step.context - step.query
            if step.block is not None and point.block is not None:
                first = self.prompt + step.block * point.block
            places.append((first, step.tokens or 0))
        self._places = torch.tensor(places, device=decoder.device)
        self._place = torch.zeros(2, dtype=torch.int64, device=decoder.device)
        self.reset()

    @property
    def first(self) -> Tensor:
        """The first position of the placed step's block, or of the step where there are no blocks: an int64 scalar."""
        return self._place[0]

    @property
    def count(self) -> Tensor:
        """The number of tokens that the placed step commits: an int64 scalar."""
        return self._place[1]

    def reset(self) -> None:
        """Mask everything past the prompt, and restart the random numbers."""
        self.tokens[:, self.prompt :] = self.mask_id
        self.masked.fill_(False)
        self.masked[:, self.prompt :] = True
        torch.manual_seed(self._seed)

    def place(self, step: Step) -> None:
        """Put the step's first position and count into `first` and `count`, by one small copy on the device."""
        self._place.copy_(self._places[step.index])

    def read(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens at `positions` `[query]`, and whether they are undecided; both `[batch, query]`."""
        return self.tokens.index_select(1, positions), self.masked.index_select(1, positions)

    def write(self, positions: Tensor, tokens: Tensor, masked: Tensor) -> None:
        """Store what `read` returns, `[batch, query]` each, at `positions` `[query]`."""
        self.tokens.index_copy_(1, positions, tokens)
        self.masked.index_copy_(1, positions, masked)
