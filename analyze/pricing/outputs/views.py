"""Views and copies of them: sizes and strides of the same elements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ridgeline.analyze.pricing.outputs.calls import (
    ITEM_BYTES,
    OutputRule,
    Result,
    axis,
    broadcast,
    check,
    dense,
    integer,
    integers,
    is_dense,
    like,
    lists,
    same_as,
    table,
    unchanged,
)
from ridgeline.analyze.pricing.outputs.dtypes import dtype_of, to_complex, to_real
from ridgeline.analyze.pricing.signature import Arguments, Tensor, dense_strides


def view(tensor: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Elements of the tensor in other sizes and strides."""
    check(not shape or min(shape) >= 0)
    return Tensor(tuple(shape), tuple(strides), tensor.precision, tensor.item_bytes)


def _inferred(elements: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """``sizes`` with a -1 replaced so that they hold ``elements``."""
    known = math.prod(n for n in sizes if n != -1)
    check(all(n >= -1 for n in sizes) and sizes.count(-1) <= 1)
    if -1 in sizes:
        check(known > 0 and elements % known == 0)
        return tuple(elements // known if n == -1 else n for n in sizes)
    check(known == elements)
    return tuple(sizes)


def _strides_of(tensor: Tensor, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of the same elements in another shape; None if only a copy can have it.

    Dimensions of the tensor that lie without gaps in each other are taken as one, which the new dimensions divide.
    """
    if tensor.elements == 0 or tensor.strides == dense_strides(tensor.shape):
        return dense_strides(shape)
    sizes = [(n, s) for n, s in zip(tensor.shape, tensor.strides, strict=True) if n != 1]
    strides = [1] * len(shape)
    position = len(shape) - 1
    while sizes:
        chunk, base = sizes.pop()
        while sizes and sizes[-1][1] == chunk * base:
            chunk *= sizes.pop()[0]
        covered = 1
        while position >= 0 and (covered < chunk or shape[position] == 1):
            strides[position] = covered * base
            covered *= shape[position]
            position -= 1
        if covered != chunk:
            return None
    return tuple(strides)


def reshaped(tensor: Tensor, sizes: Sequence[int], *, copies: bool = True) -> Tensor:
    """The tensor in another shape: a view, or a copy where there is none. Raises Misfit if a view is asked for."""
    shape = _inferred(tensor.elements, sizes)
    strides = _strides_of(tensor, shape)
    if strides is None:
        check(copies)
        strides = dense_strides(shape)
    return view(tensor, shape, strides)


def _resized(name: str, *, copies: bool = True) -> OutputRule:
    return lambda call: [reshaped(call.needed("self"), integers(call, name), copies=copies)]


def _viewed(call: Arguments) -> Result:
    """In another shape, or as elements of another type."""
    if "dtype" in call.arguments:
        return [_reinterpreted(call)]
    return [reshaped(call.needed("self"), integers(call, "size"), copies=False)]


def _reinterpreted(call: Arguments) -> Tensor:
    """The bytes as elements of another size change the last dimension."""
    tensor, precision = call.needed("self"), dtype_of(str(call.arguments["dtype"]))
    old, new = tensor.item_bytes, ITEM_BYTES[precision]
    if old == new:
        return Tensor(tensor.shape, tensor.strides, precision, new)
    check(bool(tensor.shape) and tensor.strides[-1] == 1 and tensor.shape[-1] * old % new == 0)
    strides = tuple(s * old // new for s in tensor.strides[:-1])
    return Tensor((*tensor.shape[:-1], tensor.shape[-1] * old // new), (*strides, 1), precision, new)


def _flattened(call: Arguments) -> Result:
    tensor = call.needed("self")
    if not tensor.shape:
        return [reshaped(tensor, [1])]
    start, end = (axis(integer(call, name, at), len(tensor.shape)) for name, at in (("start_dim", 0), ("end_dim", -1)))
    check(start <= end)
    middle = math.prod(tensor.shape[start : end + 1])
    return [reshaped(tensor, (*tensor.shape[:start], middle, *tensor.shape[end + 1 :]))]


def _unflattened(call: Arguments) -> Result:
    tensor = call.needed("self")
    dim = axis(integer(call, "dim"), len(tensor.shape))
    sizes = _inferred(tensor.shape[dim], integers(call, "sizes"))
    return [reshaped(tensor, (*tensor.shape[:dim], *sizes, *tensor.shape[dim + 1 :]))]


def permuted(tensor: Tensor, dims: Iterable[int]) -> Tensor:
    """The dimensions in another order."""
    order = [axis(dim, len(tensor.shape)) for dim in dims] if tensor.shape else []
    check(sorted(order) == list(range(len(tensor.shape))))
    return view(tensor, [tensor.shape[i] for i in order], [tensor.strides[i] for i in order])


def transposed(tensor: Tensor, first: int, second: int) -> Tensor:
    """Two dimensions exchanged."""
    count = len(tensor.shape)
    first, second = axis(first, count), axis(second, count)
    order = list(range(count))
    if count:
        order[first], order[second] = order[second], order[first]
    return permuted(tensor, order)


def _exchange(first: str, second: str) -> OutputRule:
    return lambda call: [transposed(call.needed("self"), integer(call, first), integer(call, second))]


def _t(call: Arguments) -> Result:
    tensor = call.needed("self")
    check(len(tensor.shape) <= 2)
    return [permuted(tensor, reversed(range(len(tensor.shape))))]


def _last_two(call: Arguments) -> Result:
    tensor = call.needed("self")
    if not tensor.shape:
        return [tensor]
    check(len(tensor.shape) >= 2)
    return [transposed(tensor, -2, -1)]


def _moved(call: Arguments) -> Result:
    tensor, count = call.needed("self"), len(call.needed("self").shape)
    sources = [axis(dim, count) for dim in integers(call, "source")]
    targets = [axis(dim, count) for dim in integers(call, "destination")]
    check(len(sources) == len(targets) == len(set(sources)) == len(set(targets)))
    rest = iter([dim for dim in range(count) if dim not in sources])
    at = dict(zip(targets, sources, strict=True))
    return [permuted(tensor, [at[i] if i in at else next(rest) for i in range(count)])]


def expanded(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Repeated dimensions have stride 0; -1 keeps a dimension's size."""
    more = len(sizes) - len(tensor.shape)
    check(more >= 0 and -1 not in sizes[:more])
    shape, strides = list(sizes[:more]), [0] * more
    # a new dimension of one element has the stride of the whole tensor
    outer = tensor.shape[0] * tensor.strides[0] if tensor.shape else 1
    for i in reversed(range(more)):
        strides[i] = outer if sizes[i] == 1 else 0
        outer *= sizes[i] if sizes[i] == 1 else 0
    for size, n, stride in zip(sizes[more:], tensor.shape, tensor.strides, strict=True):
        check(size in (-1, n) or n == 1)
        shape.append(n if size == -1 else size)
        strides.append(stride if size in (-1, n) else 0)
    return view(tensor, shape, strides)


def cut(tensor: Tensor, dim: int, length: int, step: int = 1) -> Tensor:
    """Another number of elements along a dimension, each ``step`` after the other."""
    shape, strides = list(tensor.shape), list(tensor.strides)
    shape[dim], strides[dim] = length, strides[dim] * step
    return view(tensor, shape, strides)


def _slice(call: Arguments) -> Result:
    tensor = call.needed("self")
    check(bool(tensor.shape))
    dim = axis(integer(call, "dim", 0), len(tensor.shape))
    n, step = tensor.shape[dim], integer(call, "step", 1)
    check(step > 0)
    start, end, _ = slice(integer(call, "start", 0), integer(call, "end", n)).indices(n)
    return [cut(tensor, dim, max(-(-(end - start) // step), 0), step)]


def without(tensor: Tensor, dim: int) -> Tensor:
    """One element of a dimension, which is gone."""
    return view(tensor, tensor.shape[:dim] + tensor.shape[dim + 1 :], tensor.strides[:dim] + tensor.strides[dim + 1 :])


def _select(call: Arguments) -> Result:
    tensor, index = call.needed("self"), integer(call, "index")
    check(bool(tensor.shape))
    dim = axis(integer(call, "dim"), len(tensor.shape))
    check(-tensor.shape[dim] <= index < tensor.shape[dim])
    return [without(tensor, dim)]


def _narrow(call: Arguments) -> Result:
    tensor, length = call.needed("self"), integer(call, "length")
    check(bool(tensor.shape))
    dim = axis(integer(call, "dim"), len(tensor.shape))
    n = tensor.shape[dim]
    start = 0 if isinstance(call.arguments.get("start"), Tensor) else integer(call, "start")
    check(-n <= start <= n and length >= 0)
    check((start + n if start < 0 else start) + length <= n)
    return [cut(tensor, dim, length)]


def _unfold(call: Arguments) -> Result:
    """Windows of ``size`` along a dimension, in a new last one."""
    tensor, size, step = call.needed("self"), integer(call, "size"), integer(call, "step")
    dim = axis(integer(call, "dimension"), len(tensor.shape))
    n, stride = (tensor.shape[dim], tensor.strides[dim]) if tensor.shape else (1, 1)
    check(0 <= size <= n and step > 0)
    if not tensor.shape:
        return [view(tensor, (size,), (1,))]
    windows = cut(tensor, dim, (n - size) // step + 1, step)
    return [view(tensor, (*windows.shape, size), (*windows.strides, stride))]


def _squeeze(call: Arguments) -> Result:
    tensor, count = call.needed("self"), len(call.needed("self").shape)
    dims = {axis(dim, count) for dim in integers(call, "dim")} if "dim" in call.arguments else set(range(count))
    kept = [i for i, n in enumerate(tensor.shape) if n != 1 or i not in dims]
    return [view(tensor, [tensor.shape[i] for i in kept], [tensor.strides[i] for i in kept])]


def unsqueezed(tensor: Tensor, dim: int) -> Tensor:
    """A new dimension of one element."""
    dim = axis(dim, len(tensor.shape) + 1)
    stride = tensor.shape[dim] * tensor.strides[dim] if dim < len(tensor.shape) else 1
    strides = (*tensor.strides[:dim], stride, *tensor.strides[dim:])
    return view(tensor, (*tensor.shape[:dim], 1, *tensor.shape[dim:]), strides)


def _strided(call: Arguments) -> Result:
    sizes, strides = integers(call, "size"), integers(call, "stride")
    check(len(sizes) == len(strides) and all(s >= 0 for s in strides))
    return [view(call.needed("self"), sizes, strides)]


def _diagonal(call: Arguments) -> Result:
    tensor = call.tensor("self") or call.needed("A")
    count, offset = len(tensor.shape), integer(call, "offset", 0)
    check(count >= 2)
    defaults = (-2, -1) if "A" in call.arguments else (0, 1)
    first, second = (axis(integer(call, name, d), count) for name, d in zip(("dim1", "dim2"), defaults, strict=True))
    check(first != second)
    length = max(min(tensor.shape[first] + min(offset, 0), tensor.shape[second] - max(offset, 0)), 0)
    kept = [i for i in range(count) if i not in (first, second)]
    stride = tensor.strides[first] + tensor.strides[second]
    return [view(tensor, [*(tensor.shape[i] for i in kept), length], [*(tensor.strides[i] for i in kept), stride])]


def _parts(call: Arguments) -> Result:
    """Complex numbers as pairs of real ones."""
    tensor = call.needed("self")
    check(to_real(tensor.precision) != tensor.precision)
    real = dense((), to_real(tensor.precision))
    return [view(real, (*tensor.shape, 2), (*(2 * s for s in tensor.strides), 1))]


def _joined(call: Arguments) -> Result:
    """Pairs of real numbers as complex ones."""
    tensor = call.needed("self")
    check(bool(tensor.shape) and tensor.shape[-1] == 2 and tensor.precision in ("fp32", "fp64"))
    check(tensor.strides[-1] == 1 and all(s % 2 == 0 for s in tensor.strides[:-1]))
    joined = dense((), to_complex(tensor.precision))
    return [view(joined, tensor.shape[:-1], [s // 2 for s in tensor.strides[:-1]])]


def _real(call: Arguments) -> Result:
    tensor = call.needed("self")
    if to_real(tensor.precision) == tensor.precision:
        return [tensor]
    return [view(dense((), to_real(tensor.precision)), tensor.shape, [2 * s for s in tensor.strides])]


def _at_least(count: int) -> OutputRule:
    def outputs(call: Arguments) -> Result:
        tensor = call.needed("self")
        if len(tensor.shape) >= count:
            return [tensor]
        before = {0: count, 1: count - 1, 2: 0}[len(tensor.shape)] if count < 3 else min(1, 2 - len(tensor.shape))
        shape = (1,) * before + tensor.shape
        return [reshaped(tensor, shape + (1,) * (count - len(shape)))]

    return outputs


def copied(rule: OutputRule) -> OutputRule:
    """The elements of views in memory of their own."""
    return lambda call: [dense(view.shape, view.precision) for view in rule(call)]


def _contiguous(call: Arguments) -> Result:
    tensor = call.needed("self")
    return [tensor if is_dense(tensor) else dense(tensor.shape, tensor.precision)]


VIEWS = table(
    ("view", _viewed),
    ("_unsafe_view", _resized("size", copies=False)),
    ("reshape", _resized("shape")),
    ("view_as", lambda call: [reshaped(call.needed("self"), call.needed("other").shape, copies=False)]),
    ("reshape_as", lambda call: [reshaped(call.needed("self"), call.needed("other").shape)]),
    ("_reshape_alias as_strided", _strided),
    ("flatten", _flattened),
    ("ravel", lambda call: [reshaped(call.needed("self"), [-1 if call.needed("self").elements else 0])]),
    ("unflatten", _unflattened),
    ("permute", lambda call: [permuted(call.needed("self"), integers(call, "dims"))]),
    ("transpose swapdims", _exchange("dim0", "dim1")),
    ("swapaxes", _exchange("axis0", "axis1")),
    ("t", _t),
    ("numpy_T", lambda call: [permuted(call.needed("self"), reversed(range(len(call.needed("self").shape))))]),
    ("mT mH adjoint matrix_H", _last_two),
    ("movedim moveaxis", _moved),
    ("expand broadcast_to", lambda call: [expanded(call.needed("self"), integers(call, "size"))]),
    ("expand_as", lambda call: [expanded(call.needed("self"), call.needed("other").shape)]),
    ("slice", _slice),
    ("select", _select),
    ("narrow", _narrow),
    ("unfold", _unfold),
    ("squeeze", _squeeze),
    ("unsqueeze", lambda call: [unsqueezed(call.needed("self"), integer(call, "dim"))]),
    ("diagonal linalg_diagonal", _diagonal),
    ("view_as_real", _parts),
    ("view_as_complex", _joined),
    ("real imag", _real),
    ("detach alias lift lift_fresh _conj conj _neg_view _fw_primal",
     unchanged("self")),
    ("atleast_1d", _at_least(1)),
    ("atleast_2d", _at_least(2)),
    ("atleast_3d", _at_least(3)),
    ("broadcast_tensors", lambda call: [
        expanded(tensor, broadcast(*(t.shape for t in lists(call, "tensors")))) for tensor in lists(call, "tensors")
    ]),
    ("meshgrid", lambda call: _meshgrid(call)),
)  # fmt: skip


def _meshgrid(call: Arguments) -> Result:
    tensors = lists(call, "tensors")
    check(all(len(t.shape) <= 1 for t in tensors) and "indexing" not in call.arguments)
    shape = tuple(t.elements for t in tensors)
    return [
        view(t, shape, [(t.strides[0] if t.shape else 1) if i == j else 0 for j in range(len(shape))])
        for i, t in enumerate(tensors)
    ]


RULES: dict[str, OutputRule] = (
    VIEWS
    | {f"{name}_copy": copied(rule) for name, rule in VIEWS.items()}
    | table(
        ("contiguous", _contiguous),
        ("select_scatter slice_scatter diagonal_scatter as_strided_scatter", same_as("self")),
        ("select_backward slice_backward diagonal_backward",
         lambda call: [dense(integers(call, "input_sizes"), call.needed("grad_output").precision)]),
        ("slice_inverse", same_as("self")),
        ("lift_fresh_copy detach_copy alias_copy", lambda call: [like(call.needed("self"))]),
    )
)  # fmt: skip
