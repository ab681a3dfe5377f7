"""What the diffusion modes share: guided forwards, logits of a block, and the commitment of confident tokens."""

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.cache import Cached
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.decoder.sampling import guided
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.generation import Generation
from ridgeline.capture.steps import Kind, Step


class Denoising(Generation):
    """A generation of a diffusion mode. A subclass defines by `view` what the queries of a step attend to.

    `work` is a function of shapes only: `offsets` `[query]` and `visible` `[context]` are the first integers, and
    everything else is on the device already. So one CUDA graph or one compiled function serves all steps of a shape.
    """

    local: frozenset[Kind] = frozenset({"reuse", "commit"})
    """Kinds of steps that forward positions from the block's first on. Other kinds start at position 0."""

    confident_everywhere = False
    """Whether confidence is computed for every forwarded position, or for the block only."""

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels)
        assert point.block is not None
        self.adaptive, self._guidance, self._block = point.adaptive, point.guidance, point.block
        self._decided_block: int | None = None
        size = (point.batch, 1, decoder.shape.vocabulary)
        # With shifted logits, the logits of a block's first token come from the position before the block, which a
        # local step does not forward. The last step that forwarded that position leaves them here.
        self._leading = decoder.positions.new_zeros(size, dtype=decoder.dtype) if decoder.shape.shifted else None

    def reset(self) -> None:
        """Return to the prompt and keep all allocated memory."""
        self._decided_block = None
        super().reset()

    def learn(self, step: Step) -> None:
        """In adaptive generations, wait for the device and record whether the block of `step` is fully decided.

        Published implementations of threshold decoding synchronize after every step in the same way.
        """
        if not self.adaptive or step.kind == "commit" or step.block is None:
            return
        start = self.canvas.prompt + step.block * self._block
        with self.labels.range("module=sampling"):
            # bool() copies to the host, and so waits for the step.
            undecided = bool(self.canvas.masked[:, start : start + self._block].any())
        if not undecided:
            self._decided_block = step.block

    def finished(self, step: Step) -> bool:
        """Whether `step` can be skipped because its block is already decided."""
        return step.kind != "commit" and step.block is not None and step.block == self._decided_block

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Forward the positions, choose tokens and commit the most confident ones of the block."""
        positions = offsets + self.canvas.first if kind in self.local else offsets
        logits = self.logits(kind, positions, visible)
        with self.labels.range("module=sampling"):
            block = self.decoder.positions[: self._block] + self.canvas.first
            # The costs of a mode include its softmax: over the block only, or over all positions as in LLaDA's code.
            if kind in self.local:
                confidence, chosen = self.sampler.choose(self.of_block(logits))
            elif self.confident_everywhere:
                confidence, chosen = (part.index_select(1, block) for part in self.sampler.choose(logits))
            else:
                confidence, chosen = self.sampler.choose(logits.index_select(1, block))
            tokens, masked = self.canvas.read(block)
            accepted = self.sampler.accept(confidence, masked, self.canvas.count)
            # Every step writes the whole block, whatever it commits: no shape depends on values.
            self.canvas.write(block, torch.where(accepted, chosen, tokens), masked & ~accepted)

    def logits(self, kind: Kind, positions: Tensor, visible: Tensor) -> Tensor:
        """Return the logits `[batch, query, vocabulary]` of a step's positions."""
        logits = self.forward(positions, self.view(kind, positions, visible))
        if self._leading is None:
            return logits
        # See __init__: a local step takes its first logits from the last step that forwarded the position before.
        if kind in self.local:
            return torch.cat([self._leading, logits[:, 1:]], 1)
        self._leading.copy_(logits.index_select(1, self.canvas.first[None]))
        return logits

    def forward(self, positions: Tensor, view: View, *, last: bool = False) -> Tensor:
        """Return the logits of `positions`, or of the last position only; guided if the point asks for guidance."""
        logits = self.decoder.forward(self.inputs(positions), positions, view, last=last)
        return guided(logits, self._guidance) if self._guidance else logits

    def inputs(self, positions: Tensor) -> Tensor:
        """Return the tokens, `[batch, query]`; with guidance `[2 * batch, query]`, half with a masked prompt."""
        tokens, _ = self.canvas.read(positions)
        if not self._guidance:
            return tokens
        unconditioned = torch.where(positions < self.canvas.prompt, self.canvas.mask_id, tokens)
        return torch.cat([tokens, unconditioned])

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Return what the queries of a step attend to."""
        raise NotImplementedError

    def of_block(self, logits: Tensor) -> Tensor:
        """Return the block's rows `[batch, block, vocabulary]` of the logits of a local step."""
        return logits


class CachedDenoising(Denoising):
    """A generation with a key and value cache of all its positions, and `spare` slots more."""

    spare = 0

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        super().__init__(decoder, point, labels)
        self._cache = decoder.cache(batch=point.sequences, capacity=point.length + self.spare)
        self.cache_bytes = self._cache.nbytes

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Return a view of all visible slots, stale ones included; the step writes its own positions first."""
        del kind
        return Cached(self._cache, positions, visible.shape[0])
