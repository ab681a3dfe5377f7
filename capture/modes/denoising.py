"""What the diffusion modes share: blocks and their steps, guided forwards, and the commitment of confident tokens."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.canvas import Canvas
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.decoder.sampling import Sampler, guided
from ridgeline.capture.labels import Labels
from ridgeline.capture.steps import Kind, Step, share


def blocks(point: Point) -> int:
    """How many blocks a generation has."""
    assert point.block is not None
    return point.generated_tokens // point.block


def counts(point: Point) -> list[int | None]:
    """How many tokens each step of a block commits; None for each step it may take where confidence decides."""
    assert point.block is not None
    if point.schedule is not None:
        return list(point.schedule)
    if point.steps is None:
        return [None] * point.block
    return list(share(point.block, point.steps // blocks(point)))


def denoising_steps(point: Point) -> Iterator[tuple[int, bool, int | None]]:
    """Block, whether it is the block's first step, and its tokens: every denoising step in order."""
    for block in range(blocks(point)):
        for number, tokens in enumerate(counts(point)):
            yield block, number == 0, tokens


class Denoising:
    """A generation of a diffusion mode. A mode says which steps there are, and what a step's queries see.

    `work` is a step's work as a function of shapes: `offsets` `[query]` and `visible` `[context]` are the first
    integers, and everything else is on the device already.
    """

    local: frozenset[Kind] = frozenset({"reuse", "commit"})
    """Kinds of steps whose queries begin at the block; those of other kinds begin with the sequence."""

    confident_everywhere = False
    """Whether confidence is computed for all positions processed, or for the block's alone."""

    cache_bytes = 0

    def __init__(self, decoder: Decoder, point: Point, labels: Labels, steps: list[Step]) -> None:
        assert point.block is not None
        self.steps = steps
        self.canvas = Canvas(decoder, point, steps)
        self.adaptive = point.threshold is not None or point.factor is not None
        self._decoder, self._labels, self._guidance = decoder, labels, point.guidance
        self._sampler = Sampler(point, decoder.dtype)
        self._block = point.block
        self._decided: int | None = None
        """The last block that is known to be decided."""
        self._sequences = point.sequences
        size = (point.batch, 1, decoder.shape.vocabulary)
        self._leading = decoder.positions.new_zeros(size, dtype=decoder.dtype) if decoder.shape.shifted else None
        """Of a model with shifted logits, those of the block's first position, which the one before it gives."""

    @property
    def logits_bytes(self) -> int:
        """Bytes of the largest logits of a step."""
        rows = self._sequences * max(step.query for step in self.steps)
        return rows * self._decoder.shape.vocabulary * self._decoder.dtype.itemsize

    def reset(self) -> None:
        """Go back to the prompt, keeping all memory."""
        self._decided = None
        self.canvas.reset()

    def place(self, step: Step) -> None:
        """Tell the device which step comes."""
        self.canvas.place(step)

    def learn(self, step: Step) -> None:
        """Where confidence decides, learn whether the step's block is decided, as published code does: it waits."""
        if not self.adaptive or step.kind == "commit" or step.block is None:
            return
        start = self.canvas.prompt + step.block * self._block
        with self._labels.range("module=sampling"):
            undecided = bool(self.canvas.masked[:, start : start + self._block].any())
        if not undecided:
            self._decided = step.block

    def finished(self, step: Step) -> bool:
        """Whether a step is not needed since its block is known to be decided."""
        return step.kind != "commit" and step.block is not None and step.block == self._decided

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Forward, choose and commit."""
        positions = offsets + self.canvas.first if kind in self.local else offsets
        logits = self.logits(kind, positions, visible)
        with self._labels.range("module=sampling"):
            self._select(kind, logits)

    def logits(self, kind: Kind, positions: Tensor, visible: Tensor) -> Tensor:
        """Logits `[batch, query, vocabulary]` of a step's positions."""
        logits = self.forward(positions, self.view(kind, positions, visible))
        if self._leading is None:
            return logits
        if kind in self.local:
            return torch.cat([self._leading, logits[:, 1:]], 1)
        self._leading.copy_(logits.index_select(1, self.canvas.first[None]))
        return logits

    def forward(self, positions: Tensor, view: View, *, last: bool = False) -> Tensor:
        """Logits of `positions`, or of the last of them alone, guided where the point says so."""
        logits = self._decoder.forward(self.inputs(positions), positions, view, last=last)
        return guided(logits, self._guidance) if self._guidance else logits

    def inputs(self, positions: Tensor) -> Tensor:
        """Tokens to process, `[batch, query]`; guided, once more without the prompt: `[2 * batch, query]`."""
        tokens, _ = self.canvas.read(positions)
        if not self._guidance:
            return tokens
        unconditioned = torch.where(positions < self.canvas.prompt, self.canvas.mask_id, tokens)
        return torch.cat([tokens, unconditioned])

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """What the queries of a step see."""
        raise NotImplementedError

    def of_block(self, logits: Tensor) -> Tensor:
        """Of the logits of a step that begins at the block, the block's: `[batch, block, vocabulary]`."""
        return logits

    def _select(self, kind: Kind, logits: Tensor) -> None:
        """Commit the block's most confident tokens."""
        positions = self._decoder.positions[: self._block] + self.canvas.first
        if kind in self.local:
            confidence, chosen = self._sampler.choose(self.of_block(logits))
        elif self.confident_everywhere:
            confidence, chosen = (part.index_select(1, positions) for part in self._sampler.choose(logits))
        else:
            confidence, chosen = self._sampler.choose(logits.index_select(1, positions))
        tokens, masked = self.canvas.read(positions)
        accepted = self._sampler.accept(confidence, masked, self.canvas.count)
        self.canvas.write(positions, torch.where(accepted, chosen, tokens), masked & ~accepted)
