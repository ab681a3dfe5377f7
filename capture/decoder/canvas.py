"""The tokens of a generation, and which of them are decided: all on the device, no step waits for a value."""

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.steps import Step


class Canvas:
    """`tokens` `[batch, length]`: a random prompt, then masks; `masked` `[batch, length]` says which are undecided.

    `masked` is kept apart from the mask id, since a model of random weights may well predict that id. `first` and
    `count` are scalars on the device: where the step's block begins and how many of its tokens it commits. Work that
    reads them there is the same work for every step, so a CUDA graph of it can be replayed.
    """

    def __init__(self, decoder: Decoder, point: Point, steps: list[Step]) -> None:
        self.prompt = point.prompt_tokens
        self.mask_id = decoder.shape.mask_id
        self.tokens = torch.empty((point.batch, point.length), dtype=torch.int64, device=decoder.device)
        self.masked = torch.empty_like(self.tokens, dtype=torch.bool)
        self._seed = point.seed
        generator = torch.Generator(decoder.device).manual_seed(point.seed)
        self.tokens.random_(0, self.mask_id, generator=generator)
        places = [(self._first(step, point), step.tokens or 0) for step in steps]
        self._places = torch.tensor(places, device=decoder.device)
        self._place = torch.zeros(2, dtype=torch.int64, device=decoder.device)
        self.reset()

    def _first(self, step: Step, point: Point) -> int:
        """The first position of a step's block; without blocks, of the step itself."""
        if step.block is None or point.block is None:
            return step.context - step.query
        return self.prompt + step.block * point.block

    @property
    def first(self) -> Tensor:
        """The first position of the placed step's block, int64, no dimensions."""
        return self._place[0]

    @property
    def count(self) -> Tensor:
        """How many tokens the placed step commits, int64, no dimensions."""
        return self._place[1]

    def reset(self) -> None:
        """Mask everything past the prompt, and begin the same random numbers again."""
        self.tokens[:, self.prompt :] = self.mask_id
        self.masked.fill_(False)
        self.masked[:, self.prompt :] = True
        torch.manual_seed(self._seed)

    def place(self, step: Step) -> None:
        """Put a step's block and count on the device: one small copy within it."""
        self._place.copy_(self._places[step.index])

    def read(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and whether they are undecided at `positions` `[query]`; both `[batch, query]`."""
        return self.tokens.index_select(1, positions), self.masked.index_select(1, positions)

    def write(self, positions: Tensor, tokens: Tensor, masked: Tensor) -> None:
        """Put back what `read` gave, `[batch, query]` each."""
        self.tokens.index_copy_(1, positions, tokens)
        self.masked.index_copy_(1, positions, masked)
