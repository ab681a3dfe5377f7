"""Windows over images: pooling, resampling, padding and their gradients.

A gradient is added to every element that its window or its neighbours had. The gradient of a pooled, padded or
resampled tensor reads the incoming gradient and, of a maximum, the positions; the tensor itself gives only its sizes.
"""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Flops, Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor, total_bytes

_BILINEAR, _NEAREST = 0, 1
"""Modes of ``grid_sampler``."""


def _per_gradient(operations: int, per_result: int = 0) -> Flops:
    """``operations`` for every element of the incoming gradient, and more for every one of the result."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        return operations * bound.needed("grad_output").elements + per_result * sum(t.elements for t in outputs)

    return flops


def _per_result(operations: int) -> Flops:
    return lambda bound, outputs: operations * outputs[0].elements


def _window(bound: Bound) -> int:
    """Elements of a window; one size holds for all dimensions."""
    sizes = bound.numbers("kernel_size") or [bound.number("kernel_size") or 1]
    dimensions = 3 if "3d" in bound.full_name else 1 if "1d" in bound.full_name else 2
    return math.prod(sizes if len(sizes) > 1 else sizes * dimensions)


def _antialiased(support: int) -> Flops:
    """A product and a sum for each neighbour, as many as the filter covers of the larger image (``UpSample.cuh``)."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        backward = bound.tensor("grad_output")
        large = bound.numbers("input_size") if backward else list(bound.needed("self").shape)
        small = backward.shape if backward else outputs[0].shape
        if not large:
            raise ValueError("the size of the image is not recorded")
        scales = (max(n / max(m, 1), 1) for n, m in zip(large[-2:], small[-2:], strict=True))
        neighbours = math.prod(2 * math.ceil(support * scale) + 1 for scale in scales)
        return 2 * neighbours * math.prod(small)

    return flops


def _sampled(bound: Bound, outputs: list[Tensor]) -> int:
    """Neighbours weighted and added; of the gradients, that of the grid takes a product and a sum more for each."""
    source = bound.needed("input")
    cube, mode = len(source.shape) == 5, bound.number("interpolation_mode")
    neighbours = 0 if mode == _NEAREST else 2 ** (3 if cube else 2) if mode == _BILINEAR else 16
    gradient = bound.tensor("grad_output")
    if gradient is None:
        return max(2 * neighbours - 1, 0) * outputs[0].elements
    return 2 * neighbours * gradient.elements * (2 if len(outputs) > 1 else 1)


def _sampled_bytes(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """At most the neighbours of every position are read, or all of the image."""
    source, gradient = bound.needed("input"), bound.tensor("grad_output")
    positions = (gradient or outputs[0]).elements
    read = min(source.distinct_bytes, 8 * positions * source.item_bytes)
    return read + total_bytes(bound.tensors("grid", "grad_output")), total_bytes(outputs)


_RESAMPLED = {"linear1d": 2, "bilinear2d": 4, "trilinear3d": 8}
"""Neighbours by name."""

RULES = (
    Rule(
        tuple(f"{name}_backward" for name in (
            "max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool3d",
            "fractional_max_pool2d", "fractional_max_pool3d", "reflection_pad1d", "reflection_pad2d",
            "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "max_pool2d",
        )),
        _per_gradient(1), ignores=("self",),
    ),
    # an addition for every element of a window, and a division
    Rule(
        ("avg_pool2d_backward", "avg_pool3d_backward"),
        lambda bound, outputs: bound.needed("grad_output").elements * (_window(bound) + 1), ignores=("self",),
    ),
    Rule(
        ("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"), _per_gradient(1, per_result=1),
        ignores=("self",),
    ),
    Rule(("avg_pool1d", "avg_pool2d", "avg_pool3d"), lambda bound, outputs: outputs[0].elements * _window(bound)),
    Rule(
        (
            "max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool3d",
            "fractional_max_pool2d", "fractional_max_pool3d", "max_unpool2d", "max_unpool3d",
            "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
            "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "im2col", "channel_shuffle",
            "native_channel_shuffle", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
            "replication_pad2d", "replication_pad3d",
        ),
        no_flops,
    ),
    Rule(
        tuple(f"{name}{n}d_backward" for name in ("upsample_nearest", "_upsample_nearest_exact") for n in (1, 2, 3)),
        _per_gradient(1),
    ),
    *(Rule((f"upsample_{name}",), _per_result(2 * count - 1)) for name, count in _RESAMPLED.items()),
    *(Rule((f"upsample_{name}_backward",), _per_gradient(2 * count)) for name, count in _RESAMPLED.items()),
    # four rows of four neighbours, and the four results
    Rule(("upsample_bicubic2d",), _per_result(35)),
    Rule(("upsample_bicubic2d_backward",), _per_gradient(32)),
    Rule(("_upsample_bilinear2d_aa", "_upsample_bilinear2d_aa_backward"), _antialiased(1)),
    Rule(("_upsample_bicubic2d_aa", "_upsample_bicubic2d_aa_backward"), _antialiased(2)),
    # of overlapping columns every element is added
    Rule(("col2im",), lambda bound, outputs: bound.needed("self").elements),
    Rule(
        ("grid_sampler_2d", "grid_sampler_3d", "grid_sampler_2d_backward", "grid_sampler_3d_backward"), _sampled,
        bytes=_sampled_bytes,
    ),
)  # fmt: skip
