"""Pointwise operators: operands broadcast, and their types are promoted."""

from __future__ import annotations

from collections.abc import Callable

from ridgeline.analyze.pricing.outputs.calls import (
    ITEM_BYTES,
    OutputRule,
    Result,
    broadcast,
    check,
    dense,
    like,
    like_first,
    preserved,
    same_as,
    table,
    unchanged,
    unknown,
)
from ridgeline.analyze.pricing.outputs.dtypes import (
    category,
    result_type,
    to_complex,
    to_floating,
    to_real,
)
from ridgeline.analyze.pricing.signature import Arguments, Tensor, Unrecorded, dense_strides

_NEEDED = frozenset({"self", "other", "exponent", "condition"})
"""Operands without which PyTorch does not answer."""
_FLOATING = category("fp16")
_SCALARS = ("self", "other", "exponent", "min", "max", "x", "n")
"""Numbers that take part in type promotion."""


def operands(call: Arguments) -> tuple[list[Tensor], list[str]]:
    """The tensors, and the numbers that take part in type promotion. Raises ValueError if one is not recorded."""
    tensors, scalars = [], []
    for name, value in call.arguments.items():
        if isinstance(value, Tensor):
            tensors.append(value)
        elif value is None:
            if name in _NEEDED:
                raise ValueError(f"the argument {name} is not recorded")
        elif isinstance(value, str) and name in _SCALARS:
            scalars.append(value)
    check(bool(tensors))
    return tensors, scalars


def combined(tensors: list[Tensor], precision: str) -> Tensor:
    """The result of operands that broadcast, in the memory format of the first that has the result's shape."""
    first = tensors[0]
    shape = first.shape if len(tensors) == 1 else broadcast(*(tensor.shape for tensor in tensors))
    for tensor in tensors:
        if tensor.shape == shape:
            return Tensor(shape, preserved(tensor), precision, ITEM_BYTES[precision])
    return Tensor(shape, dense_strides(shape), precision, ITEM_BYTES[precision])


def promoted(change: Callable[[str], str] = lambda precision: precision) -> OutputRule:
    """A result of the operands' common type, or of what ``change`` makes of it."""

    def outputs(call: Arguments) -> Result:
        tensors, scalars = operands(call)
        precision = result_type(tensors, scalars)
        if category(precision) < _FLOATING and any(isinstance(call.arguments.get(n), Unrecorded) for n in _SCALARS):
            raise ValueError("a number that is not recorded may change the type of the result")
        return [combined(tensors, change(precision))]

    return outputs


def _always(precision: str) -> OutputRule:
    """A result of one type."""

    def outputs(call: Arguments) -> Result:
        tensors, _ = operands(call)
        return [combined(tensors, precision)]

    return outputs


def _divided(call: Arguments) -> Result:
    """A true division makes floating-point numbers, a rounded one does not."""
    tensors, scalars = operands(call)
    precision = result_type(tensors, scalars)
    return [
        combined(tensors, precision if isinstance(call.arguments.get("rounding_mode"), str) else to_floating(precision))
    ]


def _selected(call: Arguments) -> Result:
    """``where`` takes the type of its two branches; one operand alone finds positions, whose number is unknown."""
    if "other" not in call.arguments:
        return unknown(call)
    tensors, scalars = operands(call)
    _, *branches = tensors
    return [combined(tensors, result_type(branches, scalars))]


def _float_power(precision: str) -> str:
    return "complex128" if category(precision) == 3 else "fp64"


def _real_only(precision: str) -> str:
    check(category(precision) < 3)
    return precision


def _pair(*precisions: str) -> OutputRule:
    """Several results of the operands' shape, each of the given type, or of the operand's if that is empty."""

    def outputs(call: Arguments) -> Result:
        (first, *_), _ = operands(call)
        return [like(first, precision or first.precision) for precision in precisions]

    return outputs


def _prelu_gradients(call: Arguments) -> Result:
    """The gradients of the input and, of the shape of the broadcast operands, of the weight."""
    tensors, _ = operands(call)
    result = combined(tensors, tensors[1].precision)
    return [result, result]


def _interpolated(call: Arguments) -> Result:
    """Both ends, and a weight that is a tensor, have one type."""
    tensors, _ = operands(call)
    check(all(t.precision == tensors[0].precision for t in tensors))
    return [combined(tensors, tensors[0].precision)]


def _complex_of(call: Arguments) -> Result:
    tensors, _ = operands(call)
    return [combined(tensors, to_complex(tensors[0].precision))]


def _positions(call: Arguments) -> Result:
    """Where values lie in a sorted sequence: a number for each value."""
    precision = "int32" if call.flag("out_int32") else "int64"
    values = call.arguments.get("self")
    if isinstance(values, Tensor):
        return [dense(values.shape, precision)]
    return [dense((), precision)]


def _members(call: Arguments) -> Result:
    elements = call.arguments.get("elements")
    return [like(elements, "bool") if isinstance(elements, Tensor) else dense((), "bool")]


def _glu(call: Arguments) -> Result:
    """Half of the input along a dimension."""
    tensor = call.needed("self")
    dim = call.number("dim") if "dim" in call.arguments else -1
    check(dim is not None and bool(tensor.shape) and -len(tensor.shape) <= dim < len(tensor.shape))
    assert dim is not None
    dim %= len(tensor.shape)
    check(tensor.shape[dim] % 2 == 0)
    return [dense((*tensor.shape[:dim], tensor.shape[dim] // 2, *tensor.shape[dim + 1 :]), tensor.precision)]


_SPECIAL = (
    "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 digamma entr erf erfc erfcx erfinv exp2 expit expm1 gammainc"
    " gammaincc gammaln i0 i0e i1 i1e log1p log_ndtr logit modified_bessel_i0 modified_bessel_i1 modified_bessel_k0"
    " modified_bessel_k1 multigammaln ndtr ndtri polygamma psi scaled_modified_bessel_k0 scaled_modified_bessel_k1"
    " sinc spherical_bessel_j0 xlog1py xlogy zeta chebyshev_polynomial_t chebyshev_polynomial_u"
    " chebyshev_polynomial_v chebyshev_polynomial_w hermite_polynomial_h hermite_polynomial_he"
    " laguerre_polynomial_l legendre_polynomial_p shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u"
    " shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w"
)

RULES = table(
    ("add mul multiply sub subtract rsub pow maximum minimum fmax fmin fmod remainder floor_divide neg negative"
     " positive sgn conj_physical _conj_physical square relu relu6 clamp clamp_min"
     " clamp_max clip nan_to_num _test_serialization_subcmul trunc fix addcmul"
     " nextafter hypot heaviside logaddexp logaddexp2 floor ceil frac threshold threshold_backward", promoted()),
    ("round", promoted()),
    ("sign gcd lcm", promoted(_real_only)),
    ("bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift __and__ __or__ __xor__"
     " __lshift__ __rshift__ __iand__ __ior__ __ixor__ __ilshift__ __irshift__", promoted()),
    ("div divide", _divided),
    ("true_divide exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal sin cos tan asin acos atan sinh cosh tanh"
     " asinh acosh atanh arcsin arccos arctan arcsinh arccosh arctanh sigmoid erf erfc erfinv lgamma digamma mvlgamma"
     " polygamma sinc i0 xlogy atan2 arctan2 copysign igamma igammac logit deg2rad rad2deg addcdiv ldexp"
     " special_" + _SPECIAL.replace(" ", " special_"), promoted(to_floating)),
    ("abs absolute", promoted(to_real)),
    ("angle", promoted(lambda precision: to_real(to_floating(precision)))),
    ("float_power", promoted(_float_power)),
    ("eq ne lt le gt ge not_equal less less_equal greater greater_equal logical_and logical_or logical_xor"
     " logical_not isnan isinf isfinite isneginf isposinf isreal isclose signbit", _always("bool")),
    ("where", _selected),
    ("lerp", _interpolated),
    ("complex polar", _complex_of),
    ("frexp", _pair("", "int32")),
    ("silu gelu mish softplus elu celu selu leaky_relu hardtanh hardswish hardsigmoid hardshrink softshrink"
     " log_sigmoid rrelu"
     " dropout feature_dropout alpha_dropout feature_alpha_dropout fill zero bernoulli normal_functional poisson"
     " _standard_gamma _saturate_weight_to_fp16 exponential uniform"
     " cauchy log_normal geometric random _fill_mem_eff_dropout_mask"
     " prelu _prelu_kernel rrelu_with_noise", like_first),
    ("rrelu_with_noise_backward glu_backward", same_as("self")),
    ("resolve_conj resolve_neg", unchanged("self")),
    ("sigmoid_backward tanh_backward silu_backward gelu_backward mish_backward softplus_backward leaky_relu_backward"
     " hardtanh_backward hardswish_backward hardsigmoid_backward hardshrink_backward softshrink_backward"
     " elu_backward logit_backward log_sigmoid_backward infinitely_differentiable_gelu_backward",
     promoted()),
    ("native_dropout_backward _masked_scale", promoted(to_floating)),
    ("glu", _glu),
    ("log_sigmoid_forward", _pair("", "")),
    ("native_dropout", _pair("", "bool")),
    ("_fused_dropout", _pair("", "uint8")),
    ("_prelu_kernel_backward", _prelu_gradients),
    ("_add_relu", promoted()),
    ("masked_fill", lambda call: [combined(call.tensors("self", "mask"), call.needed("self").precision)]),
    ("searchsorted bucketize", _positions),
    ("isin", _members),
    ("_functional_assert_async", unchanged("dep_token")),
)  # fmt: skip
