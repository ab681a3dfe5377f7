"""Elementwise arithmetic, by the operations of an output element; 0 if the result is not floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ridgeline.analyze.pricing.rules.rule import Flops, Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.meta import Bound


def _per_element(operations: int) -> Flops:
    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        written = outputs or [t for name in ("self", "input") if (t := bound.tensor(name))]
        return operations * written[0].elements if written and written[0].floating else 0

    return flops


def _of_lists(operations: int) -> Flops:
    """``operations`` for every element of every tensor in the computed list."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        listed = bound.arguments.get("self")
        tensors = outputs or (listed if isinstance(listed, list) else [])
        return operations * sum(t.elements for t in tensors if t.floating)

    return flops


ONE = (
    "add", "sub", "rsub", "mul", "div", "true_divide", "neg", "abs", "pow", "sqrt", "rsqrt", "square", "reciprocal",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "erf", "atan2",
    "remainder", "fmod", "floor", "ceil", "round", "trunc", "floor_divide",
)  # fmt: skip

RULES = (
    Rule(ONE, _per_element(1)),
    # a scale, a product or quotient, a sum
    Rule(("addcmul", "addcdiv", "lerp", "polar"), _per_element(3)),
    # a sigmoid and a product
    Rule(("glu",), _per_element(5)),
    Rule(("_prelu_kernel",), _per_element(1)),
    # the activation again, its derivative, and the product with the gradient
    Rule(("silu_backward", "gelu_backward", "mish_backward"), _per_element(8)),
    # y · (1 − y) times the gradient
    Rule(("sigmoid_backward", "tanh_backward"), _per_element(3)),
    Rule(("threshold_backward", "leaky_relu_backward", "hardtanh_backward"), no_flops),
    # drawing the mask is free, scaling the rest is not
    Rule(("native_dropout", "_fused_dropout", "native_dropout_backward"), _per_element(1)),
    # x / (1 + exp(-x)) and its kin
    Rule(("sigmoid", "silu", "hardswish"), _per_element(4)),
    # x/2 · (1 + erf(x/√2))
    Rule(("gelu",), _per_element(5)),
    # exponential, logarithm, sum, scale and its inverse
    Rule(("softplus", "mish"), _per_element(5)),
    Rule(
        (
            "relu", "leaky_relu", "hardtanh", "threshold", "clamp", "clamp_min", "clamp_max", "maximum", "minimum",
            "where", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "logical_xor",
            "bitwise_and", "bitwise_or", "bitwise_not", "bitwise_xor", "isnan", "isinf", "isfinite",
            "masked_fill", "sign",
        ),
        no_flops,
    ),
    Rule(("copy", "fill", "zero", "_foreach_copy", "_foreach_zero"), no_flops, overwrites=True),
    Rule(
        ("random", "uniform", "normal", "exponential", "bernoulli", "geometric", "cauchy", "log_normal"),
        no_flops,
        overwrites=True,
    ),
    Rule(tuple(f"_foreach_{name}" for name in ONE), _of_lists(1)),
    Rule(("_foreach_addcmul", "_foreach_addcdiv", "_foreach_lerp"), _of_lists(3)),
)  # fmt: skip
