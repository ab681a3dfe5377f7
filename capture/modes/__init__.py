"""Decoding modes, one module each: what a step of `steps.schedule` runs on the device."""

from typing import Any, Protocol

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.labels import Labels
from ridgeline.capture.modes import (
    ar,
    dlm_block_causal,
    dlm_block_dual,
    dlm_block_prefix,
    dlm_canvas,
    dlm_full,
    dlm_semi_ar,
)
from ridgeline.capture.steps import Kind, Step


class Tokens(Protocol):
    """The tokens of a generation on its device: `tokens` `[batch, length]`, and where they are undecided, `masked`."""

    tokens: Tensor
    masked: Tensor


class Generation(Protocol):
    """A generation in progress: its steps, to be run in order, and its tokens on the device.

    In an `adaptive` generation the caller skips a step if `finished` is true for it, and calls `learn` after each step,
    which waits for the device.
    """

    steps: list[Step]
    adaptive: bool

    @property
    def canvas(self) -> Tokens:
        """The tokens and which of them are undecided."""

    @property
    def cache_bytes(self) -> int:
        """Bytes of the key and value cache."""

    @property
    def logits_bytes(self) -> int:
        """Bytes of the largest logits of a step."""

    def reset(self) -> None:
        """Return to the prompt and keep all allocated memory."""

    def place(self, step: Step) -> None:
        """Copy what differs between steps of a shape to the device, before `work`. Steps run in order."""

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Issue the work of the placed step, without waiting for the device unless the mode is defined to wait.

        `offsets` `[query]` and `visible` `[context]` count from 0. The host passes only their lengths, so that one
        CUDA graph serves every step of the same shape.
        """

    def learn(self, step: Step) -> None:
        """In adaptive generations, wait for the device and record whether the block of `step` is decided."""

    def finished(self, step: Step) -> bool:
        """Whether `step` can be skipped, as far as `learn` has recorded."""


class Start(Protocol):
    """Constructor of a mode's generation on the device of `decoder`."""

    def __call__(self, decoder: Any, point: Point, labels: Labels) -> Generation: ...


MODES: dict[str, Start] = {
    "ar": ar.Autoregressive,
    "dlm_full": dlm_full.FullDiffusion,
    "dlm_semi_ar": dlm_semi_ar.SemiAutoregressive,
    "dlm_block_prefix": dlm_block_prefix.PrefixCacheDiffusion,
    "dlm_block_dual": dlm_block_dual.DualCacheDiffusion,
    "dlm_block_causal": dlm_block_causal.BlockCausalDiffusion,
}
"""The modes of a configuration's key `mode`."""


def start(decoder: Any, point: Point, labels: Labels) -> Generation:
    """Return a generation of `point` on `decoder`. DiffusionGemma has a class of its own for `dlm_block_causal`."""
    if decoder.shape.layout == "diffusion_gemma":
        return dlm_canvas.CanvasDiffusion(decoder, point, labels)
    return MODES[point.mode](decoder, point, labels)
