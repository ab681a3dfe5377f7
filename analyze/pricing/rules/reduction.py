"""Reductions, by the operations of an input element; comparisons are free."""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Flops, Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor


def _per_input(operations: int, per_output: int = 0) -> Flops:
    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        tensor = bound.tensor("self") or bound.tensor("input")
        if tensor is None or not outputs or not outputs[0].floating:
            return 0
        # a sum of complex numbers is two, a product six
        parts = 1 if not tensor.precision.startswith("complex") else 6 if "prod" in bound.full_name else 2
        return parts * (operations * tensor.elements + per_output * outputs[0].elements)

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
    # subtract the maximum, exponentiate, add up, divide
    Rule(("_softmax", "_safe_softmax", "_log_softmax", "softmax", "log_softmax"), _per_input(4)),
    # subtract the maximum, exponentiate, add; a logarithm of every result
    Rule(("logsumexp",), _per_input(3, per_output=1)),
    Rule(
        (
            "amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "all", "any", "count_nonzero", "topk", "sort",
            "argsort", "kthvalue", "median", "mode", "cummax", "cummin", "searchsorted", "bucketize",
            "isin", "histc", "bincount", "nanmedian", "hash_tensor",
        ),
        no_flops,
    ),
    # answers that the host waits for
    Rule(("equal", "is_nonzero", "item", "_local_scalar_dense", "_assert_async"), no_flops, outputs=lambda bound: []),
    Rule(("_cummax_helper", "_cummin_helper"), no_flops, outputs=lambda bound: [], overwrites=True),
    # subtract, square, add in each dimension
    Rule(("_cdist_forward",), lambda bound, outputs: 3 * outputs[0].elements * bound.needed("x1").shape[-1]),
    Rule(("_pdist_forward",), lambda bound, outputs: 3 * outputs[0].elements * bound.needed("self").shape[-1]),
    Rule(("dist",), _per_input(3)),
    # exponentiate, add, a logarithm
    Rule(("logcumsumexp",), _per_input(4)),
    Rule(("trace",), lambda bound, outputs: min(bound.needed("self").shape)),
    # a norm of every slice, and its scale
    Rule(("renorm",), _per_input(3)),
)  # fmt: skip
