"""Decoding modes, one module each: a schedule of labelled steps, and what one step runs."""

from typing import Protocol

from capture.canvas import Canvas
from capture.config import Point
from capture.labels import Labels
from capture.models import Decoder
from capture.modes import ar, dlm_block_dual, dlm_full
from capture.steps import Step


class Generation(Protocol):
    """One generation under way: its steps to run in order, and its tokens on the device."""

    steps: list[Step]
    canvas: Canvas

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values kept between steps."""

    def reset(self) -> None:
        """Go back to the prompt, keeping all memory."""

    def run(self, step: Step) -> None:
        """Issue one step's work. Steps go in order, and none waits for the device."""


class Start(Protocol):
    """How a mode begins: state for a point on a decoder's device."""

    def __call__(self, decoder: Decoder, point: Point, labels: Labels) -> Generation: ...


MODES: dict[str, Start] = {
    "ar": ar.Autoregressive,
    "dlm_full": dlm_full.FullDiffusion,
    "dlm_block_dual": dlm_block_dual.DualCacheDiffusion,
}
"""Every mode that `mode = "..."` may name."""
