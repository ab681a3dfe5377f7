"""Reductions, scans, sorting and softmax: results along dimensions."""

from __future__ import annotations

from collections.abc import Callable

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    axis,
    broadcast,
    check,
    dense,
    integer,
    integers,
    like,
    rows,
    same_as,
    table,
)
from ridgeline.analyze.pricing.outputs.dtypes import dtype_of, to_floating, to_real, to_sum
from ridgeline.analyze.pricing.outputs.pointwise import promoted
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def asked_dtype(call: Arguments, otherwise: str) -> str:
    """The recorded ``dtype``, or another where there is none."""
    code = call.arguments.get("dtype")
    return dtype_of(code) if isinstance(code, str) else otherwise


def _source(call: Arguments) -> Tensor:
    return call.tensor("self") or call.needed("input")


def reduced_shape(call: Arguments, tensor: Tensor) -> tuple[int, ...]:
    """The shape after a reduction over ``dim``, over everything if no dimension is recorded or the list is empty."""
    count = len(tensor.shape)
    if call.arguments.get("dim") is None:
        dims = set(range(count))
    else:
        listed = integers(call, "dim")
        dims = {axis(dim, count) for dim in listed} if listed else set(range(count))
        check(len(dims) == len(listed) or not listed)
    if call.flag("keepdim"):
        return tuple(1 if i in dims else n for i, n in enumerate(tensor.shape))
    return tuple(n for i, n in enumerate(tensor.shape) if i not in dims)


def _keep(precision: str) -> str:
    return precision


def _floats(precision: str) -> str:
    check(to_floating(precision) == precision)
    return precision


def _truth(precision: str) -> str:
    return "uint8" if precision == "uint8" else "bool"


def _one_truth(call: Arguments) -> Result:
    check(_source(call).precision == "bool")
    return [dense((), "bool")]


def _reduce(*types: Callable[[str], str]) -> OutputRule:
    """One result for each of ``types``, reduced over ``dim``."""

    def outputs(call: Arguments) -> Result:
        tensor = _source(call)
        shape = reduced_shape(call, tensor)
        return [dense(shape, change(asked_dtype(call, tensor.precision))) for change in types]

    return outputs


def _reduce_sum(call: Arguments) -> Result:
    """Sums of whole numbers have 64 bits unless a type is asked for."""
    tensor = _source(call)
    return [dense(reduced_shape(call, tensor), asked_dtype(call, to_sum(tensor.precision)))]


def _extreme(call: Arguments) -> Result:
    """The extreme of all elements; with ``dim`` its positions too; with ``other`` the larger of two."""
    tensor = _source(call)
    if "other" in call.arguments:
        return promoted()(call)
    if "dim" not in call.arguments:
        return [dense((), tensor.precision)]
    integer(call, "dim")
    shape = reduced_shape(call, tensor)
    return [dense(shape, tensor.precision), dense(shape, "int64")]


def _picked(call: Arguments) -> Result:
    """Values and positions along ``dim``, by default the last."""
    tensor = _source(call)
    dim = str(integer(call, "dim", -1))
    shape = reduced_shape(Arguments({**call.arguments, "dim": dim}), tensor)
    return [dense(shape, tensor.precision), dense(shape, "int64")]


def _along(*precisions: str) -> OutputRule:
    """Results of the input's shape, of the given types or, where empty, of the input's."""

    def outputs(call: Arguments) -> Result:
        tensor = _source(call)
        if call.arguments.get("dim") is not None:
            axis(integer(call, "dim"), len(tensor.shape))
        return [like(tensor, precision or tensor.precision) for precision in precisions]

    return outputs


def _scan(change: Callable[[str], str]) -> OutputRule:
    def outputs(call: Arguments) -> Result:
        tensor = _source(call)
        axis(integer(call, "dim"), len(tensor.shape))
        return [like(tensor, asked_dtype(call, change(tensor.precision)))]

    return outputs


def _softmax(call: Arguments) -> Result:
    """Of the input's type, or single precision from half with ``half_to_float``."""
    tensor = _source(call)
    axis(integer(call, "dim"), len(tensor.shape))
    precision = asked_dtype(call, "") or _floats(tensor.precision)
    return [like(tensor, "fp32" if call.flag("half_to_float") else precision)]


def _softmax_gradient(call: Arguments) -> Result:
    code = call.arguments.get("input_dtype")
    if not isinstance(code, str):
        raise ValueError("the argument input_dtype is not recorded")
    return [like(call.needed("grad_output"), dtype_of(code))]


def _topk(call: Arguments) -> Result:
    tensor, k = call.needed("self"), integer(call, "k")
    dim = axis(integer(call, "dim", -1), len(tensor.shape))
    if not tensor.shape:
        check(k <= 1)
        return [dense((), tensor.precision), dense((), "int64")]
    check(0 <= k <= tensor.shape[dim])
    shape = (*tensor.shape[:dim], k, *tensor.shape[dim + 1 :])
    return [dense(shape, tensor.precision), dense(shape, "int64")]


def _counted(call: Arguments) -> Result:
    return [dense((integer(call, "bins", 100),), call.needed("self").precision)]


def _multinomial(call: Arguments) -> Result:
    tensor = call.needed("self")
    return [dense((*tensor.shape[:-1], integer(call, "num_samples")), "int64")]


def _distance(call: Arguments) -> Result:
    """The distances of each pair of rows."""
    x1, x2 = call.needed("x1"), call.needed("x2")
    check(len(x1.shape) >= 2 and len(x2.shape) >= 2 and x1.shape[-1] == x2.shape[-1])
    return [dense((*broadcast(x1.shape[:-2], x2.shape[:-2]), x1.shape[-2], x2.shape[-2]), x1.precision)]


def _distance_gradient(call: Arguments) -> Result:
    x1, x2 = call.needed("x1"), call.needed("x2")
    check(len(x1.shape) >= 2 and len(x2.shape) >= 2)
    return [dense((*broadcast(x1.shape[:-2], x2.shape[:-2]), *x1.shape[-2:]), x1.precision)]


def _norm(call: Arguments) -> Result:
    tensor = _source(call)
    precision = to_real(_floats(asked_dtype(call, tensor.precision)))
    return [dense(reduced_shape(call, tensor), precision)]


def _pair_distance(call: Arguments) -> Result:
    tensor = call.needed("self")
    check(len(tensor.shape) == 2)
    n = rows(tensor)
    return [dense((n * (n - 1) // 2,), tensor.precision)]


def _trace(call: Arguments) -> Result:
    tensor = call.needed("self")
    check(len(tensor.shape) == 2)
    return [dense((), to_sum(tensor.precision))]


RULES = table(
    ("sum nansum prod", _reduce_sum),
    ("mean nanmean", _reduce(_floats)),
    ("amax amin", _reduce(_keep)),
    ("aminmax", _reduce(_keep, _keep)),
    ("var std", _reduce(lambda precision: to_real(_floats(precision)))),
    ("var_mean std_mean", _reduce(lambda precision: to_real(_floats(precision)), _floats)),
    ("all any", _reduce(_truth)),
    ("_is_all_true _is_any_true", _one_truth),
    ("argmax argmin", _reduce(lambda precision: "int64")),
    ("count_nonzero", _reduce(lambda precision: "int64")),
    ("logsumexp special_logsumexp", _reduce(to_floating)),
    ("norm linalg_vector_norm linalg__powsum", _norm),
    ("dist", lambda call: [dense((), to_real(call.needed("self").precision))]),
    ("trace", _trace),
    ("max min median nanmedian", _extreme),
    ("kthvalue mode", _picked),
    ("cumsum cumprod", _scan(to_sum)),
    ("logcumsumexp _logcumsumexp", _scan(to_floating)),
    ("cummax cummin sort", _along("", "int64")),
    ("argsort", _along("int64")),
    ("msort", _along("")),
    ("cumprod_backward cummaxmin_backward", same_as("input")),
    ("topk", _topk),
    ("_softmax _log_softmax softmax log_softmax special_softmax special_log_softmax _safe_softmax", _softmax),
    ("_softmax_backward_data _log_softmax_backward_data", _softmax_gradient),
    ("histc", _counted),
    ("multinomial", _multinomial),
    ("_cdist_forward cdist _euclidean_dist", _distance),
    ("_cdist_backward", _distance_gradient),
    ("_pdist_forward pdist", _pair_distance),
    ("_pdist_backward", same_as("self")),
)
