"""Matrix products, and attention."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    axis,
    broadcast,
    check,
    dense,
    integer,
    integers,
    lists,
    same_as,
    same_as_each,
    table,
    unknown,
)
from ridgeline.analyze.pricing.outputs.dtypes import dtype_of, promote, result_type
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _precision(call: Arguments, *factors: Tensor) -> str:
    """The factors' type, or the ``out_dtype``. Raises ValueError for batches of matrices of different types.

    PyTorch refuses such matrices too, but only when it multiplies them: their shapes have the left one's type.
    """
    if any(factor.precision != factors[0].precision for factor in factors) and len(factors[-1].shape) > 2:
        raise ValueError("the factors have different types")
    code = call.arguments.get("out_dtype")
    return dtype_of(code) if isinstance(code, str) else factors[0].precision


def multiplied(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of ``matmul``: matrices in the last two dimensions, the others broadcast; vectors lose theirs.

    >>> multiplied((2, 1, 3, 4), (5, 4, 6)), multiplied((4,), (4, 6))
    ((2, 5, 3, 6), (6,))
    """
    check(bool(left) and bool(right))
    check(left[-1] == (right[-2] if len(right) > 1 else right[0]))
    batch = broadcast(left[:-2], right[:-2])
    return (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))


def _product(left: str, right: str, dimensions: int | None = None) -> OutputRule:
    """A product of two operands, of so many dimensions each."""

    def outputs(call: Arguments) -> Result:
        a, b = call.needed(left), call.needed(right)
        check(dimensions in (None, len(a.shape)) and dimensions in (None, len(b.shape)))
        check(dimensions != 3 or a.shape[0] == b.shape[0])
        return [dense(multiplied(a.shape, b.shape), _precision(call, a, b))]

    return outputs


def _sum_of(left: str, right: str, *, summed: bool = False) -> OutputRule:
    """A product and an addend that broadcasts to it; ``summed`` adds the products of a batch."""

    def outputs(call: Arguments) -> Result:
        a, b, addend = call.needed(left), call.needed(right), call.needed("self")
        check(len(a.shape) < 3 or a.shape[0] == b.shape[0])
        shape = multiplied(a.shape, b.shape)
        shape = shape[1:] if summed else shape
        check(broadcast(addend.shape, shape) == shape)
        return [dense(shape, _sum_precision(call, a, b, addend))]

    return outputs


def _sum_precision(call: Arguments, left: Tensor, right: Tensor, addend: Tensor) -> str:
    """The common type of factors and addend; in batches it must be one."""
    precision = _precision(call, left, right)
    if "out_dtype" in call.arguments:
        return precision
    if len(right.shape) > 2 and addend.precision != precision:
        raise ValueError("factors and addend have different types")
    return promote(promote(precision, right.precision), addend.precision)


def _linear(call: Arguments) -> Result:
    source, weight = call.needed("input"), call.needed("weight")
    check(bool(source.shape) and len(weight.shape) in (1, 2) and source.shape[-1] == weight.shape[-1])
    bias = call.tensor("bias")
    precision = _sum_precision(call, source, weight, bias) if bias else source.precision
    return [dense((*source.shape[:-1], *weight.shape[:-1]), precision)]


def _dot(call: Arguments) -> Result:
    self, other = call.needed("self"), call.tensor("tensor") or call.needed("other")
    check(len(self.shape) == len(other.shape) == 1 and self.shape == other.shape)
    return [dense((), _precision(call, self, other))]


def _outer(call: Arguments) -> Result:
    self, other = call.tensor("vec1") or call.needed("self"), call.needed("vec2")
    check(len(self.shape) == len(other.shape) == 1)
    return [dense((*self.shape, *other.shape), result_type([self, other]))]


def _inner(call: Arguments) -> Result:
    self, other = call.needed("self"), call.needed("other")
    if not self.shape or not other.shape:
        return [dense(broadcast(self.shape, other.shape), _precision(call, self, other))]
    check(self.shape[-1] == other.shape[-1])
    return [dense(self.shape[:-1] + other.shape[:-1], _precision(call, self, other))]


def _scaled(call: Arguments) -> Result:
    """Products of fp8 and int8: without an ``out_dtype``, of the left operand's type."""
    left, right = call.needed("self"), call.needed("mat2")
    check(len(left.shape) == len(right.shape) == 2 and left.shape[1] == right.shape[0])
    return [dense((left.shape[0], right.shape[1]), _precision(call, left))]


def _whole(call: Arguments) -> Result:
    left, right = call.needed("self"), call.needed("mat2")
    check(left.precision == right.precision == "int8" and len(left.shape) == len(right.shape) == 2)
    return [dense(multiplied(left.shape, right.shape), "int32")]


def _int4(call: Arguments) -> Result:
    """Packed weights hold 8 columns in a row of their first dimension."""
    left, right = call.needed("self"), call.needed("mat2")
    check(len(left.shape) == 2 and len(right.shape) == 4 and right.precision == "int32")
    return [dense((left.shape[0], right.shape[0] * 8), left.precision)]


def _int8(call: Arguments) -> Result:
    left, right = call.needed("self"), call.needed("mat2")
    check(len(left.shape) == len(right.shape) == 2 and left.shape[1] == right.shape[1] and right.precision == "int8")
    return [dense((left.shape[0], right.shape[0]), left.precision)]


def _tensordot(call: Arguments) -> Result:
    self, other = call.needed("self"), call.needed("other")
    mine = [axis(dim, len(self.shape)) for dim in integers(call, "dims_self")]
    theirs = [axis(dim, len(other.shape)) for dim in integers(call, "dims_other")]
    broadcast(tuple(self.shape[i] for i in mine), tuple(other.shape[i] for i in theirs))
    kept = [n for i, n in enumerate(self.shape) if i not in mine]
    return [dense((*kept, *(n for i, n in enumerate(other.shape) if i not in theirs)), _precision(call, self, other))]


def _kron(call: Arguments) -> Result:
    self, other = call.needed("self"), call.needed("other")
    count = max(len(self.shape), len(other.shape))
    a, b = ((1,) * (count - len(t.shape)) + t.shape for t in (self, other))
    return [dense([n * m for n, m in zip(a, b, strict=True)], result_type([self, other]))]


def _bilinear(call: Arguments) -> Result:
    first, weight = call.needed("input1"), call.needed("weight")
    return [dense((*first.shape[:-1], weight.shape[0]), first.precision)]


def _trilinear(call: Arguments) -> Result:
    """Three factors with new dimensions broadcast; those of ``sumdim`` are summed."""
    shapes = []
    for factor, new in (("i1", "expand1"), ("i2", "expand2"), ("i3", "expand3")):
        sizes = list(call.needed(factor).shape)
        for dim in integers(call, new):
            sizes.insert(dim, 1)
        shapes.append(tuple(sizes))
    summed = integers(call, "sumdim")
    shape = [n for i, n in enumerate(broadcast(*shapes)) if i not in summed]
    return [dense(shape, call.needed("i1").precision)]


def _chain(call: Arguments) -> Result:
    """The product of several matrices."""
    tensors = lists(call, "tensors")
    check(len(tensors) >= 2)
    shape = tensors[0].shape
    for tensor in tensors[1:]:
        shape = multiplied(shape, tensor.shape)
    return [dense(shape, _precision(call, *tensors))]


def _convolved_in_time(call: Arguments) -> Result:
    """The gradients of a convolution over (time, batch, channels)."""
    return call.tensors("input", "weight", "bias")


def _attended(call: Arguments) -> Result:
    """The values weighted for each query. Grouped key heads serve several query heads."""
    query, key, value = (call.needed(name) for name in ("query", "key", "value"))
    check(len(query.shape) >= 2 and query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2])
    check(query.precision == key.precision == value.precision)
    batch = query.shape[:-2]
    if not call.flag("enable_gqa"):
        batch = broadcast(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    return [dense((*batch, query.shape[-2], value.shape[-1]), query.precision)]


def _computed(call: Arguments) -> Result:
    """The result, and the weights of all keys."""
    (result,) = _attended(call)
    return [result, dense((*result.shape[:-1], call.needed("key").shape[-2]), result.precision)]


def _matrix_vector(call: Arguments) -> Result:
    matrix, vector = call.needed("self"), call.needed("vec")
    check(len(matrix.shape) == 2 and len(vector.shape) == 1)
    return [dense(multiplied(matrix.shape, vector.shape), _precision(call, matrix, vector))]


def _time_convolution(call: Arguments) -> Result:
    """``conv_tbc``: steps × batch × channels, by weights of width × channels × channels of the result."""
    source, weight, pad = call.needed("self"), call.needed("weight"), integer(call, "pad", 0)
    check(len(source.shape) == len(weight.shape) == 3 and source.shape[2] == weight.shape[1])
    return [
        dense((source.shape[0] + 2 * pad - weight.shape[0] + 1, source.shape[1], weight.shape[2]), source.precision)
    ]


def _heads(call: Arguments) -> Result:
    """``_native_multi_head_attention``: the result, and the weights of each head or their mean if they are wanted."""
    query = call.needed("query")
    check(len(query.shape) == 3 and all(t.shape == query.shape for t in call.tensors("key", "value")))
    batch, length, _ = query.shape
    heads = () if call.arguments.get("average_attn_weights") != "False" else (integer(call, "num_head"),)
    weights = (batch, *heads, length, length) if call.arguments.get("need_weights") != "False" else (0,)
    result = (batch, length, integer(call, "embed_dim"))
    return [dense(result, query.precision), dense(weights, query.precision)]


RULES = table(
    ("mm _sparse_mm", lambda call: _product("self" if "self" in call.arguments else "sparse",
                                            "mat2" if "mat2" in call.arguments else "dense", 2)(call)),
    ("bmm", _product("self", "mat2", 3)),
    ("mv", _matrix_vector),
    ("matmul linalg_matmul", _product("self", "other")),
    ("addmm _addmm_activation _sparse_addmm", _sum_of("mat1", "mat2")),
    ("baddbmm", _sum_of("batch1", "batch2")),
    ("addbmm", _sum_of("batch1", "batch2", summed=True)),
    ("addmv", _sum_of("mat", "vec")),
    ("addr", _outer),
    ("linear", _linear),
    ("dot vdot", _dot),
    ("outer ger", _outer),
    ("inner", _inner),
    ("_scaled_mm _scaled_mm_v2", _scaled),
    ("_scaled_grouped_mm_v2", unknown),
    ("_int_mm", _whole),
    ("_weight_int4pack_mm", _int4),
    ("_weight_int8pack_mm", _int8),
    ("tensordot", _tensordot),
    ("kron", _kron),
    ("bilinear", _bilinear),
    ("_trilinear", _trilinear),
    ("linalg_multi_dot chain_matmul", _chain),
    ("conv_tbc_backward", _convolved_in_time),
    ("scaled_dot_product_attention", _attended),
    ("_scaled_dot_product_attention_math _scaled_dot_product_attention_math_for_mps", _computed),
    ("_scaled_dot_product_fused_attention_overrideable_backward", same_as_each("query", "key", "value")),
    ("_native_multi_head_attention", _heads),
    ("conv_tbc", _time_convolution),
    ("_transformer_encoder_layer_fwd", same_as("src")),
)  # fmt: skip
