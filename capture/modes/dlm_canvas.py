"""Block diffusion over a canvas (DiffusionGemma): random tokens, denoised against a cache of all decided tokens.

The model has no mask token. Undecided positions of a canvas hold random tokens, drawn again after each step, and the
logits of a step condition the next step on the same canvas. A finished canvas is encoded into the cache.
"""

from typing import Any, cast

import torch
from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.diffusion_gemma import GemmaDecoder
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.denoising import Denoising
from ridgeline.capture.steps import Kind


class CanvasDiffusion(Denoising):
    """A generation in mode `dlm_block_causal` of a model that denoises a canvas, without guidance.

    The first step on a canvas has no logits to be conditioned on. The library skips the product with the embeddings
    then; here a mask on the device zeroes it, so that one CUDA graph serves all steps of a canvas.
    """

    def __init__(self, decoder: GemmaDecoder, point: Point, labels: Labels) -> None:
        self._gemma, self._vocabulary = decoder, decoder.shape.vocabulary
        super().__init__(cast(Any, decoder), point, labels)
        self._cache = decoder.cache(batch=point.batch, capacity=point.length)
        self.cache_bytes = self._cache.nbytes
        size = (point.batch, self._block, self._vocabulary)
        self._previous = torch.zeros(size, dtype=decoder.dtype, device=decoder.device)
        self._conditioned = torch.zeros(point.batch, dtype=torch.bool, device=decoder.device)
        self.reset()

    @property
    def logits_bytes(self) -> int:
        """Bytes of a denoising step's logits, which the library returns in float32."""
        return self._previous.numel() * torch.float32.itemsize

    def reset(self) -> None:
        """Return to the prompt, with the same noise after it every time, and keep all allocated memory."""
        super().reset()
        self.canvas.tokens[:, self.canvas.prompt :].random_(0, self._vocabulary)

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Encode decided tokens into the cache; or denoise the canvas, commit tokens and draw the others again."""
        # Queries are always the last visible positions, of a prompt or of a canvas.
        positions = visible[visible.shape[0] - offsets.shape[0] :]
        if kind != "reuse":
            self._gemma.encode(self.inputs(positions), visible, self._cache)
            self._conditioned.fill_(False)  # the next canvas has no logits yet
            return
        logits = self.logits(kind, positions, visible)
        with self.labels.range("module=sampling"):
            confidence, chosen = self.sampler.choose(logits)
            tokens, masked = self.canvas.read(positions)
            accepted = self.sampler.accept(confidence, masked, self.canvas.count)
            undecided = masked & ~accepted
            noise = torch.randint_like(tokens, self._vocabulary)
            decided = torch.where(accepted, chosen, tokens)
            self.canvas.write(positions, torch.where(undecided, noise, decided), undecided)
        # In place: a CUDA graph reads the same memory in the next step.
        self._previous.copy_(logits)
        self._conditioned.fill_(True)

    def logits(self, kind: Kind, positions: Tensor, visible: Tensor) -> Tensor:
        """Return the logits `[batch, block, vocabulary]` of the canvas."""
        del kind  # Only denoising steps have logits.
        return self._gemma.denoise(self.inputs(positions), visible, self._cache, self._previous, self._conditioned)
