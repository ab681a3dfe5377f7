"""How much memory a point will need, from its shape alone: for `--dry-run`, and so that a sweep can be sized first."""

import msgspec

from capture.config import ITEM_BYTES, Point
from capture.presets import PRESETS


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted bytes on the device. Weights and cache are exact; activations an estimate."""

    weights_bytes: int
    cache_bytes: int
    activations_bytes: int

    @property
    def total_bytes(self) -> int:
        """What the device must hold at once."""
        return self.weights_bytes + self.cache_bytes + self.activations_bytes


def predict(point: Point) -> Footprint:
    """The memory a point needs, without the framework's own context."""
    shape, item = PRESETS[point.model], ITEM_BYTES[point.dtype]
    cached = 0 if point.mode == "dlm_full" else point.length
    return Footprint(
        weights_bytes=shape.parameters * item,
        cache_bytes=shape.cache_elements(cached) * point.batch * item,
        activations_bytes=_activations_bytes(point),
    )


def _activations_bytes(point: Point) -> int:
    """The larger of the two peaks of a forward: inside a feed-forward block, and at token selection.

    A feed-forward block holds the residual stream and its normalized copy beside three activations of its width.
    Selection holds the logits and their float32 softmax: of one position a sequence in `ar`, of all in `dlm_full`, of
    all and of one block in `dlm_block_dual`.
    """
    shape, item = PRESETS[point.model], ITEM_BYTES[point.dtype]
    causal = point.mode == "ar"
    rows = point.batch * (point.prompt_tokens if causal else point.length)
    logits = point.batch if causal else rows
    softmax = {"ar": 0, "dlm_full": rows, "dlm_block_dual": point.batch * (point.block or 0)}[point.mode]
    feed_forward = rows * (2 * shape.hidden + 3 * shape.ffn) * item
    selection = rows * 2 * shape.hidden * item + (logits * item + softmax * 4) * shape.vocabulary
    return max(feed_forward, selection)
