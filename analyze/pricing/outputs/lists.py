"""Operators on lists of tensors: foreach arithmetic and fused optimizers."""

from __future__ import annotations

from collections.abc import Callable

from ridgeline.analyze.pricing.outputs.calls import OutputRule, Result, check, dense, like, lists, table
from ridgeline.analyze.pricing.outputs.dtypes import dtype_of, result_type, to_floating, to_real
from ridgeline.analyze.pricing.outputs.pointwise import combined
from ridgeline.analyze.pricing.signature import Arguments

_UNARY = (
    "acos asin atan cos cosh erf erfc exp expm1 lgamma log log10 log1p log2 reciprocal rsqrt sigmoid sin sinh sqrt tan"
    " tanh digamma"
)


def _each(change: Callable[[str], str] = lambda precision: precision) -> OutputRule:
    """For each tensor of ``self`` a result with the operands of the same place, a number, or a tensor."""

    def outputs(call: Arguments) -> Result:
        tensors = lists(call, "self")
        others = [v for name, v in call.arguments.items() if isinstance(v, list) and name != "self"]
        check(all(len(other) == len(tensors) for other in others))
        scalars = [
            s for name in ("scalar", "exponent") if isinstance(s := call.arguments.get(name), str) and s[0] != "["
        ]
        single = [t for t in call.tensors("other", "tensor") if not t.shape]
        results = []
        for tensor, *rest in zip(tensors, *others, strict=True):
            operands = [tensor, *rest]
            results.append(combined(operands, change(result_type([*operands, *single], scalars))))
        return results

    return outputs


def _norms(call: Arguments) -> Result:
    code = call.arguments.get("dtype")
    return [
        dense((), to_real(dtype_of(code) if isinstance(code, str) else tensor.precision))
        for tensor in lists(call, "self")
    ]


def _extremes(call: Arguments) -> Result:
    return [dense((), tensor.precision) for tensor in lists(call, "self")]


def _alike(call: Arguments) -> Result:
    return [like(tensor) for tensor in lists(call, "self")]


def _in_place(call: Arguments) -> Result:
    lists(call, "self")
    return []


def _power(call: Arguments) -> Result:
    """A number to the power of each tensor, or each tensor to a power."""
    if isinstance(call.arguments.get("self"), list):
        return _each()(call)
    value = call.arguments.get("self")
    scalars = [value] if isinstance(value, str) else []
    return [like(tensor, result_type([tensor], scalars)) for tensor in lists(call, "exponent")]


RULES = table(
    (" ".join(f"_foreach_{name}" for name in _UNARY.split()), _each(to_floating)),
    ("_foreach_add _foreach_sub _foreach_mul _foreach_maximum _foreach_minimum _foreach_clamp_min _foreach_clamp_max"
     " _foreach_ceil _foreach_floor _foreach_frac _foreach_neg _foreach_round _foreach_sign _foreach_trunc"
     " _foreach_addcmul _foreach_clone", _each()),
    ("_foreach_div _foreach_addcdiv", _each(to_floating)),
    ("_foreach_lerp", _each()),
    ("_foreach_abs", _each(to_real)),
    ("_foreach_pow", _power),
    ("_foreach_copy", _alike),
    ("_foreach_norm _foreach_powsum", _norms),
    ("_foreach_max", _extremes),
    ("_foreach_zero", _alike),
    ("_fused_adam_ _fused_adamw_ _fused_sgd_ _fused_adagrad_ _amp_foreach_non_finite_check_and_unscale_", _in_place),
)  # fmt: skip
