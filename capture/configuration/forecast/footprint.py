"""A point's predicted memory and least time, from its shape alone, for `--dry-run`."""

from collections.abc import Sequence

import msgspec

from ridgeline.capture.configuration.forecast.forwards import (
    Forward,
    dram_bytes,
    flops,
    forwards,
    linear_flops,
    weights_bytes,
)
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.configuration.point import ITEM_BYTES, Point
from ridgeline.capture.configuration.presets import shape_of
from ridgeline.capture.steps import Step

CACHELESS = frozenset({"dlm_full", "dlm_semi_ar"})
SAMPLING_BYTES = {"fp32": 4, "fp64": 16}
"""Bytes of softmax per logit. In float64 the logits are converted first. `model` uses the dtype of the weights."""

NOISE_COPIES = 4
"""Copies of the logits, in the precision of the softmax, that Gumbel noise adds."""

WARM_UP_S = 1.0
"""The time limit of a warm-up, in seconds."""


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted bytes on the device. Weights and cache are exact, the others estimates.

    `activations_bytes` is the peak inside a layer. `logits_bytes` is the peak at token selection, when the layers'
    activations are free again. `static_bytes` is what CUDA graphs keep for their replays in addition to the eager twin.
    `making_bytes` is needed while weights are made: 8-bit weights are converted from weights of the model's dtype.
    """

    weights_bytes: int
    cache_bytes: int
    activations_bytes: int
    logits_bytes: int
    static_bytes: int = 0
    making_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Bytes that the device must hold at once."""
        working = max(self.activations_bytes, self.logits_bytes)
        return max(self.weights_bytes + self.cache_bytes + working + self.static_bytes, self.making_bytes)


def predict(point: Point, steps: Sequence[Step] = ()) -> Footprint:
    """Return the memory that a point needs, without the CUDA context.

    Of a mode of one's own it includes weights, and the activations and logits of `steps`; its cache is unknown.
    """
    shape, item = shape_of(point), ITEM_BYTES[point.dtype]
    # The cache of `dlm_block_causal` has one slot that is never visible.
    spare = point.mode == "dlm_block_causal" and shape.layout != "diffusion_gemma"
    cached = 0 if point.mode in CACHELESS or not point.built_in else point.length + spare
    # A feed-forward block holds the residual stream, its normalized copy and three activations of its own width.
    width = 2 * shape.hidden + 3 * shape.ffn
    forwarded = forwards(point, steps)
    activations = max((point.sequences * each.query * width * item for each in forwarded), default=0)
    logits = max((_logits_bytes(each, point) for each in forwarded), default=0)
    return Footprint(
        weights_bytes=weights_bytes(point),
        cache_bytes=shape.cache_elements(cached) * point.sequences * item,
        activations_bytes=activations,
        logits_bytes=logits,
        static_bytes=0 if point.execution == "eager" or point.device == "cpu" else max(activations, logits),
        making_bytes=shape.parameters * item,
    )


def predict_time(point: Point, roofs: Roofs, steps: Sequence[Step] = ()) -> float:
    """Return the seconds that a capture takes if every forward meets its roof, which is a lower bound.

    `steps` are those of a mode of one's own.

    Counted are `repeats` timed generations, a warm-up and a profiled generation; the last two for at most WARM_UP_S
    each, since they are cut short. Making weights, compilation and writing files are not counted. At a batch of 1 most
    eager steps take several times as long as at the roof.
    """
    generation = sum(step.count * forward_seconds(step, point, roofs) for step in forwards(point, steps))
    return point.repeats * generation + 2 * min(generation, WARM_UP_S)


def forward_seconds(step: Forward, point: Point, roofs: Roofs) -> float:
    """Return the seconds of one forward at the roof: those of its FLOPs or of its bytes, whichever is longer."""
    eight_bit = 0 if point.linear == "model" else linear_flops(step, point)
    computing = (flops(step, point) - eight_bit) / roofs.flops_per_s(point.dtype)
    computing += eight_bit / roofs.flops_per_s(point.linear)
    return max(computing, dram_bytes(step, point) / roofs.bytes_per_s)


def _logits_bytes(step: Forward, point: Point) -> int:
    """Return the bytes at token selection: residual stream, logits and their copies, softmax and noise."""
    shape, item = shape_of(point), ITEM_BYTES[point.dtype]
    # Shifting concatenates the logits into a second tensor. Guidance makes three tensors of a batch's logits.
    copies = point.sequences * (2 if shape.shifted and point.mode != "ar" else 1)
    copies += 3 * point.batch if point.guidance else 0
    width = SAMPLING_BYTES.get(point.sampling, item)
    noisy = step.logits if point.mode == "ar" else step.confident
    softmax = step.confident * width + (noisy * NOISE_COPIES * width if point.temperature else 0)
    residual = point.sequences * step.query * 2 * shape.hidden * item
    return residual + (step.logits * copies * item + softmax * point.batch) * shape.vocabulary
