"""Elementwise arithmetic, by the operations of an output element; 0 if the result is not floating point.

Activations of inference engines multiply one half of their input by the activated other: an element of the result
takes the operations of the activation and one for the product.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules.rule import Flops, Rule, contiguous, no_flops
from ridgeline.analyze.pricing.signature import Tensor, tensors_of

_COMPLEX = {"mul": 6, "square": 6, "div": 11, "true_divide": 11, "reciprocal": 11, "abs": 4, "angle": 4}
"""Operations for an element of complex numbers, of operators that take one for real numbers; 2 for all others.

A quotient multiplies by the conjugate and divides both parts by the squared size, of 3 operations.
"""
_OF_COMPLEX = 4
"""Operations for each of several: products of 6 and sums of 2."""


def per_element(operations: int) -> Flops:
    """``operations`` for every floating-point element of the results, or of the operand that is changed in place."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        operand = tensors_of(bound.arguments.get("self") or bound.arguments.get("input"))
        elements = sum(tensor.elements for tensor in outputs or operand if tensor.floating)
        if not any(tensor.precision.startswith("complex") for tensor in (*outputs, *operand)):
            return operations * elements
        name = base_name(bound.full_name).removeprefix("_foreach_")
        other = bound.arguments.get("other")
        if isinstance(other, str) and "j" not in other:  # a real number
            return 2 * elements
        return elements * (_COMPLEX.get(name, 2) if operations == 1 else _OF_COMPLEX * operations)

    return flops


ONE = (
    "add", "sub", "rsub", "mul", "div", "true_divide", "neg", "abs", "pow", "sqrt", "rsqrt", "square", "reciprocal",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "erf", "atan2",
    "remainder", "fmod", "floor", "ceil", "trunc", "floor_divide",
)  # fmt: skip

_VIEWS = (
    "alias", "as_strided", "detach", "diagonal", "expand", "narrow", "permute", "select", "slice", "split",
    "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view", "view_as_complex",
    "view_as_real", "lift_fresh", "_reshape_alias",
)  # fmt: skip

RULES = (
    # a number of decimals is never asked of PyTorch
    Rule(("round",), per_element(1), otherwise=lambda bound: bound.tensors("self")),
    # drawing the mask of a dropout is free, scaling the rest is not
    Rule((*ONE, "_prelu_kernel", "native_dropout", "_fused_dropout", "native_dropout_backward"), per_element(1)),
    # a scale, a product or quotient, a sum
    Rule(("addcmul", "addcdiv", "lerp", "polar"), per_element(3)),
    # y · (1 − y) times the gradient
    Rule(
        ("sigmoid_backward", "tanh_backward", "hardswish_backward", "hardsigmoid_backward", "elu_backward",
         "logit_backward"),
        per_element(3),
    ),
    # z = exp(βx), z / (z + 1) times the gradient; a minimum less log(1 + exp(−|x|))
    Rule(("softplus_backward", "log_sigmoid_forward", "log_sigmoid_backward"), per_element(5)),
    # the gradients of the input and of the weight
    Rule(("_prelu_kernel_backward", "rrelu_with_noise", "rrelu_with_noise_backward"), per_element(1)),
    # a sigmoid, and the product's two gradients
    Rule(("glu_backward",), per_element(4)),
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
            "sign", "threshold_backward", "leaky_relu_backward", "hardtanh_backward", "complex", "isneginf",
            "hardshrink_backward", "softshrink_backward", "tril", "triu", "_unsafe_masked_index",
        ),
        no_flops,
    ),
    Rule(
        ("copy", "fill", "zero", "random", "uniform", "normal", "exponential", "geometric", "cauchy", "log_normal"),
        no_flops, overwrites=True, ignores=("self",),
    ),
    # out of place the probabilities are read
    Rule(("bernoulli",), no_flops, overwrites=True),
    # of a template only the size matters
    Rule(
        (
            "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like", "new_zeros", "new_ones",
            "new_full",
        ),
        no_flops, ignores=("self",),
    ),
    # views whose elements are copied
    Rule(tuple(f"{name}_copy" for name in _VIEWS), no_flops),
    Rule(
        (
            "as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter", "select_backward",
            "slice_backward", "diagonal_backward", "_chunk_cat", "rot90",
        ),
        no_flops,
    ),
    Rule(("unfold_backward",), lambda bound, outputs: bound.needed("grad_in").elements,
         otherwise=lambda bound: [contiguous(tuple(bound.numbers("input_sizes") or ()), bound.needed("grad_in"))]),
)  # fmt: skip
