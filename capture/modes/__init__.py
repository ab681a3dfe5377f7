"""Decoding modes, one module each: what a step of `steps.schedule` runs on the device."""

from typing import Any, cast

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import (
    ar,
    dlm_block_causal,
    dlm_block_dual,
    dlm_block_prefix,
    dlm_canvas,
    dlm_full,
    dlm_semi_ar,
    own,
)
from ridgeline.capture.modes.generation import Generation

MODES: dict[str, type[Generation]] = {
    "ar": ar.Autoregressive,
    "dlm_full": dlm_full.FullDiffusion,
    "dlm_semi_ar": dlm_semi_ar.SemiAutoregressive,
    "dlm_block_prefix": dlm_block_prefix.PrefixCacheDiffusion,
    "dlm_block_dual": dlm_block_dual.DualCacheDiffusion,
    "dlm_block_causal": dlm_block_causal.BlockCausalDiffusion,
}
"""The built-in modes of a configuration's key `mode`."""


def start(decoder: Any, point: Point, labels: Labels) -> Generation:
    """Return a generation of `point` on `decoder`. DiffusionGemma has a class of its own for `dlm_block_causal`.

    Raises ConfigError for a mode of one's own that cannot be loaded or offers no generation.
    """
    if not point.built_in:
        return cast(Generation, own.begin(decoder, point, labels))
    if decoder.shape.layout == "diffusion_gemma":
        return dlm_canvas.CanvasDiffusion(decoder, point, labels)
    return MODES[point.mode](decoder, point, labels)
