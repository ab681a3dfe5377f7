"""Reductions, by the operations of an input element; comparisons are free."""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Flops, Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor


def _per_input(operations: int, per_output: int = 0) -> Flops:
    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        tensor = bound.tensor("self") or bound.tensor("input")
        if tensor is None or not outputs or not outputs[0].floating:
            return 0
        return operations * tensor.elements + per_output * outputs[0].elements

    return flops


RULES = (
    # an addition or product of every element
    Rule(("sum", "nansum", "prod", "cumsum", "cumprod"), _per_input(1)),
    # a division of every result; a mean of windows adds every element once
    Rule(("mean", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d"), _per_input(1, per_output=1)),
    # square, add; a root of every result
    Rule(("norm", "linalg_vector_norm"), _per_input(2, per_output=1)),
    # mean: add; variance: subtract, square, add; a division of every result
    Rule(("var", "std", "var_mean", "std_mean"), _per_input(4, per_output=1)),
    # a product and a sum, then a difference and a product
    Rule(("_softmax_backward_data", "_log_softmax_backward_data"), lambda bound, outputs: 4 * outputs[0].elements),
    # the elements of each window; one size holds for two dimensions
    Rule(
        ("avg_pool2d", "avg_pool3d"),
        lambda bound, outputs: outputs[0].elements
        * math.prod(sizes if len(sizes := bound.numbers("kernel_size") or [1]) > 1 else sizes * 2),
    ),
    Rule(("nll_loss_forward", "nll_loss2d_forward"), _per_input(0, per_output=1)),
    # subtract the maximum, exponentiate, add up, divide
    Rule(("_softmax", "_safe_softmax", "_log_softmax"), _per_input(4)),
    # subtract the maximum, exponentiate, add; a logarithm of every result
    Rule(("logsumexp",), _per_input(3, per_output=1)),
    Rule(
        (
            "amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "all", "any", "count_nonzero", "topk", "sort",
            "argsort", "kthvalue", "median", "mode", "cummax", "cummin", "searchsorted", "bucketize",
            "max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d", "isin", "histc", "bincount",
            "nll_loss_backward", "nll_loss2d_backward",
            "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
        ),
        no_flops,
    ),
    # answers that the host waits for
    Rule(("equal", "is_nonzero", "item", "_local_scalar_dense", "_assert_async"), no_flops, outputs=lambda bound: []),
    Rule(("_cummax_helper", "_cummin_helper"), no_flops, outputs=lambda bound: [], overwrites=True),
    # subtract, square, add; a distance does so in each dimension
    Rule(("mse_loss",), lambda bound, outputs: 3 * bound.needed("self").elements),
    Rule(("_cdist_forward",), lambda bound, outputs: 3 * outputs[0].elements * bound.needed("x1").shape[-1]),
    # four neighbours weighted and added, in each of two directions
    Rule(("upsample_bilinear2d",), lambda bound, outputs: 7 * outputs[0].elements),
)  # fmt: skip
