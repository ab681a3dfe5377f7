"""What a point will need, from its shape alone: memory, and at least how much time. For `--dry-run`."""

import msgspec

from ridgeline.capture.configuration.point import ITEM_BYTES, Point
from ridgeline.capture.configuration.presets import shape_of
from ridgeline.capture.forecast.forwards import Forward, dram_bytes, flops, forwards, linear_flops, weights_bytes
from ridgeline.capture.forecast.roofs import Roofs

CACHELESS = frozenset({"dlm_full", "dlm_semi_ar"})
SAMPLING_BYTES = {"fp32": 4, "fp64": 16}
"""Bytes of a logit's softmax; in float64 the logits are converted first. `model` takes those of the dtype."""

NOISE_COPIES = 4
"""Further copies of the logits, in the softmax's precision, that Gumbel noise makes."""

WARM_UP_S = 1.0


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted bytes on the device. Weights and cache are exact, the others estimates.

    `activations_bytes` is the peak inside a layer and `logits_bytes` the peak at token selection, which follows it and
    takes its place. `static_bytes` is what CUDA graphs keep for their replays beside the eager steps they are compared
    with. `making_bytes` is what weights need while they are made: 8-bit ones are made of others, which come first.
    """

    weights_bytes: int
    cache_bytes: int
    activations_bytes: int
    logits_bytes: int
    static_bytes: int = 0
    making_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """What the device must hold at once."""
        working = max(self.activations_bytes, self.logits_bytes)
        return max(self.weights_bytes + self.cache_bytes + working + self.static_bytes, self.making_bytes)


def predict(point: Point) -> Footprint:
    """The memory a point needs, without the framework's own context."""
    shape, item = shape_of(point), ITEM_BYTES[point.dtype]
    # The block-causal cache has a slot more than is ever seen.
    spare = point.mode == "dlm_block_causal" and shape.layout != "diffusion_gemma"
    cached = 0 if point.mode in CACHELESS else point.length + spare
    steps = forwards(point)
    activations = max(_activations_bytes(step, point) for step in steps)
    logits = max(_logits_bytes(step, point) for step in steps)
    return Footprint(
        weights_bytes=weights_bytes(point),
        cache_bytes=shape.cache_elements(cached) * point.sequences * item,
        activations_bytes=activations,
        logits_bytes=logits,
        static_bytes=0 if point.execution == "eager" or point.device == "cpu" else max(activations, logits),
        making_bytes=shape.parameters * item,
    )


def predict_time(point: Point, roofs: Roofs) -> float:
    """Seconds to capture a point if every forward met its roof: a lower bound.

    That is `repeats` generations, one to warm up and one under the profiler; neither of these two is counted for more
    than the seconds that warming up is cut off at. Making weights, compiling and writing files come on top, and at a
    batch of 1 most eager steps take several times as long as at the roof.
    """
    generation = sum(step.count * forward_seconds(step, point, roofs) for step in forwards(point))
    return point.repeats * generation + 2 * min(generation, WARM_UP_S)


def forward_seconds(step: Forward, point: Point, roofs: Roofs) -> float:
    """The time of one forward at the roof: of its FLOPs or of its bytes, whichever is longer."""
    narrow = 0 if point.linear == "model" else linear_flops(step, point)
    computing = (flops(step, point) - narrow) / roofs.flops_per_s(point.dtype) + narrow / roofs.flops_per_s(
        point.linear
    )
    return max(computing, dram_bytes(step, point) / roofs.bytes_per_s)


def _activations_bytes(step: Forward, point: Point) -> int:
    """Inside a feed-forward block: the residual stream, its normalized copy, and three activations of its width."""
    shape = shape_of(point)
    return point.sequences * step.query * (2 * shape.hidden + 3 * shape.ffn) * ITEM_BYTES[point.dtype]


def _logits_bytes(step: Forward, point: Point) -> int:
    """At token selection: the residual stream, the logits with the copies that guidance and shifting make, softmax."""
    shape, item = shape_of(point), ITEM_BYTES[point.dtype]
    copies = point.sequences * (2 if shape.shifted and point.mode != "ar" else 1) + (
        3 * point.batch if point.guidance else 0
    )
    width = SAMPLING_BYTES.get(point.sampling, item)
    noisy = step.logits if point.mode == "ar" else step.confident
    softmax = step.confident * width + (noisy * NOISE_COPIES * width if point.temperature else 0)
    residual = point.sequences * step.query * 2 * shape.hidden * item
    return residual + (step.logits * copies * item + softmax * point.batch) * shape.vocabulary
