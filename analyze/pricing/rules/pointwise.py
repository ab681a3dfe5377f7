"""Elementwise arithmetic, by the operations of an output element; 0 if the result is not floating point.

Activations of inference engines multiply one half of their input by the activated other: an element of the result
takes the operations of the activation and one for the product.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Flops, Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor, tensors_of


def per_element(operations: int) -> Flops:
    """``operations`` for every floating-point element of the results, or of the operand that is changed in place."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        written = outputs or tensors_of(bound.arguments.get("self") or bound.arguments.get("input"))
        return operations * sum(tensor.elements for tensor in written if tensor.floating)

    return flops


ONE = (
    "add", "sub", "rsub", "mul", "div", "true_divide", "neg", "abs", "pow", "sqrt", "rsqrt", "square", "reciprocal",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "erf", "atan2",
    "remainder", "fmod", "floor", "ceil", "round", "trunc", "floor_divide",
)  # fmt: skip

RULES = (
    # drawing the mask of a dropout is free, scaling the rest is not
    Rule((*ONE, "_prelu_kernel", "native_dropout", "_fused_dropout", "native_dropout_backward"), per_element(1)),
    # a scale, a product or quotient, a sum
    Rule(("addcmul", "addcdiv", "lerp", "polar"), per_element(3)),
    # y · (1 − y) times the gradient
    Rule(("sigmoid_backward", "tanh_backward"), per_element(3)),
    # x / (1 + exp(-x)) and its kin
    Rule(("sigmoid", "silu", "hardswish"), per_element(4)),
    # a sigmoid and a product; x/2 · (1 + erf(x/√2)); exponential, logarithm, sum, scale and its inverse
    Rule(("glu", "gelu", "softplus", "mish"), per_element(5)),
    # the activation again, its derivative, and the product with the gradient
    Rule(("silu_backward", "gelu_backward", "mish_backward"), per_element(8)),
    Rule(
        (
            "relu", "leaky_relu", "hardtanh", "threshold", "clamp", "clamp_min", "clamp_max", "maximum", "minimum",
            "where", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "logical_xor",
            "bitwise_and", "bitwise_or", "bitwise_not", "bitwise_xor", "isnan", "isinf", "isfinite", "masked_fill",
            "sign", "threshold_backward", "leaky_relu_backward", "hardtanh_backward",
        ),
        no_flops,
    ),
    Rule(
        (
            "copy", "fill", "zero",
            "random", "uniform", "normal", "exponential", "bernoulli", "geometric", "cauchy", "log_normal",
        ),
        no_flops, overwrites=True,
    ),
)  # fmt: skip
