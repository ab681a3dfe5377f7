"""Decoding modes, one module each: a schedule of labelled steps, and what one step runs."""

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
    """The tokens of a generation on its device: `tokens` `[batch, length]`, `masked` of that shape the undecided."""

    tokens: Tensor
    masked: Tensor


class Generation(Protocol):
    """One generation under way: its steps to run in order, and its tokens on the device.

    `adaptive` generations skip the steps that `finished` says are not needed; `learn`, at a step's end, waits for the
    device to know.
    """

    steps: list[Step]
    adaptive: bool

    @property
    def canvas(self) -> Tokens:
        """The tokens."""

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values kept between steps."""

    @property
    def logits_bytes(self) -> int:
        """Bytes of the largest logits of a step."""

    def reset(self) -> None:
        """Go back to the prompt, keeping all memory."""

    def place(self, step: Step) -> None:
        """Tell the device which step comes. Steps go in order."""

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Issue the placed step's work; never waits for the device unless the mode's definition demands it.

        `offsets` `[query]` and `visible` `[context]` count from 0: their lengths are the step's, and nothing else
        about a step is known to the host here, so that the same work serves every step of the same shape.
        """

    def learn(self, step: Step) -> None:
        """Where confidence decides, learn what a step that was issued decided. Waits for the device then."""

    def finished(self, step: Step) -> bool:
        """Whether a step is not needed any more, by what was learnt."""


class Start(Protocol):
    """How a mode begins: state for a point on a decoder's device."""

    def __call__(self, decoder: Any, point: Point, labels: Labels) -> Generation: ...


MODES: dict[str, Start] = {
    "ar": ar.Autoregressive,
    "dlm_full": dlm_full.FullDiffusion,
    "dlm_semi_ar": dlm_semi_ar.SemiAutoregressive,
    "dlm_block_prefix": dlm_block_prefix.PrefixCacheDiffusion,
    "dlm_block_dual": dlm_block_dual.DualCacheDiffusion,
    "dlm_block_causal": dlm_block_causal.BlockCausalDiffusion,
}
"""Every mode that `mode = "..."` may name."""


def start(decoder: Any, point: Point, labels: Labels) -> Generation:
    """A point's generation on a decoder. A model that diffuses a canvas of its own does so in `dlm_block_causal`."""
    if decoder.shape.layout == "diffusion_gemma":
        return dlm_canvas.CanvasDiffusion(decoder, point, labels)
    return MODES[point.mode](decoder, point, labels)
