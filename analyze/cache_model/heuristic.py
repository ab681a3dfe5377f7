"""Tensors of every operator's call where no execution trace tells them: a guess from sizes and order.

The profiler records the dimensions, strides and types of inputs, and neither outputs nor addresses. Stated rules:

- An output has the size that the operator's price says it writes; operators that work in place, and those that write
  into an argument, give back that argument.
- An input is the newest result of its shape that nobody has read yet; else the oldest unread result with as many
  elements, which is how several projections of one input are taken up in turn; else the one of its size used last.
  The left operand of a product that follows one of the same shape is the same tensor.
- What matches nothing, and every right operand of a product, is a parameter or a cache and comes from DRAM.
- A result dies with its last reader, and the next one of its size takes its memory, the last freed first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import msgspec

from ridgeline.analyze.cache_model.operands import Tensor, view
from ridgeline.analyze.cache_model.touches import Node, iterations
from ridgeline.analyze.pricing.families import base_name

_ITEMSIZES = {
    "double": 8, "float": 4, "c10::half": 2, "c10::bfloat16": 2, "long int": 8, "long": 8, "int": 4, "short int": 2,
    "signed char": 1, "unsigned char": 1, "bool": 1, "c10::float8_e4m3fn": 1, "c10::float8_e5m2": 1,
}  # fmt: skip
_PRODUCTS = {"mm": 1, "bmm": 1, "matmul": 1, "linear": 1, "addmm": 2, "baddbmm": 2}
"""Position of the right operand."""
_IN_PLACE = frozenset({"index_copy", "copy", "fill", "zero", "index_put", "_index_put_impl", "scatter", "index_add"})
_FRESH = frozenset({"copy", "fill", "zero"})
"""Their target is most often a tensor just allocated, unless it is a slice."""
_TABLES = frozenset({"embedding", "index_select"})
_BLOCK_BYTES = 512
_NAMELESS = 1 << 16
"""Inputs smaller than this that match nothing are the same at each call of an operator: scalars, small constants."""


_RECENT = 16
"""Results of a size that an input is looked for among."""


class Recorded(NamedTuple):
    """One operator's call, as the profiler records it; texts are JSON, as in a signature."""

    operator: str
    dims: bytes
    types: bytes
    strides: bytes
    write_bytes: int | None
    concrete: bytes = b""


@dataclass
class _Value:
    """A tensor's content: who reads it, and since when."""

    shape: tuple[int, ...]
    bytes: int
    fixed: bool = False
    read: bool = False
    used: int = 0
    storage: int = 0


@dataclass
class _Guess:
    values: list[_Value] = field(default_factory=list)
    by_elements: dict[tuple[int, int], list[_Value]] = field(default_factory=dict)
    constants: dict[tuple[object, ...], _Value] = field(default_factory=dict)
    last_left: _Value | None = None


class _Bound(NamedTuple):
    operator: str
    inputs: list[tuple[_Value, Tensor]]
    outputs: list[_Value]
    itemsize: int
    iterations: int | None


def guess(calls: Sequence[Recorded]) -> list[Node]:
    """The calls with storages made up; calls must be in the order of their kernels."""
    state = _Guess()
    bound = [_bind(state, at, call, _inputs(call)) for at, call in enumerate(calls)]
    _place(bound)
    return [_node(call) for call in bound]


def _inputs(call: Recorded) -> list[Tensor]:
    """Layouts of the inputs that are tensors."""
    dims, types, strides = (_json(text) for text in (call.dims, call.types, call.strides))
    found: list[Tensor] = []
    for i, shape in enumerate(dims):
        kind = types[i] if i < len(types) else ""
        stride = strides[i] if i < len(strides) else None
        found += _layouts(shape, kind, stride)
    return found


def _json(text: bytes) -> list[object]:
    value = msgspec.json.decode(text) if text else []
    return value if isinstance(value, list) else []


def _layouts(shape: object, kind: object, stride: object) -> Iterable[Tensor]:
    if not isinstance(shape, list) or not isinstance(kind, str):
        return
    itemsize = _ITEMSIZES.get(kind.lower().removeprefix("tensorlist "))
    if shape and all(isinstance(part, list) for part in shape):
        strides = stride if isinstance(stride, list) and len(stride) == len(shape) else [None] * len(shape)
        for part, part_stride in zip(shape, strides, strict=True):
            yield view(0, 0, part, part_stride, itemsize or 2)
    elif itemsize and all(isinstance(size, int) and size >= 0 for size in shape):
        yield view(0, 0, shape, stride if isinstance(stride, list) and stride else None, itemsize)


def _bind(state: _Guess, at: int, call: Recorded, inputs: list[Tensor]) -> _Bound:
    right = _PRODUCTS.get(base_name(call.operator))
    values: list[_Value] = []
    for i, tensor in enumerate(inputs):
        value = _value(state, call.operator, i, tensor, values)
        value.read, value.used = True, at
        values.append(value)
    state.last_left = values[right - 1] if right is not None and len(values) >= right else None
    itemsize = inputs[0].itemsize if inputs else 1
    outputs = _outputs(state, at, call, values, inputs)
    numbers = [int(text) for text in _json(call.concrete) if isinstance(text, str) and text.isdecimal()]
    looped = iterations(call.operator, numbers)
    return _Bound(call.operator, list(zip(values, inputs, strict=True)), outputs, itemsize, looped)


def _value(state: _Guess, operator: str, i: int, tensor: Tensor, taken: list[_Value]) -> _Value:
    name = base_name(operator)
    right = _PRODUCTS.get(name)
    if i == right or (name in _TABLES and i == 0):
        return _new(state, tensor, fixed=True)
    if name in _FRESH and i == 0 and tensor.bytes == tensor.span:
        return _new(state, tensor)
    if right is not None and i == right - 1 and state.last_left and state.last_left.shape == _core(tensor.shape):
        return state.last_left
    return _find(state, operator, i, tensor, taken)


def _outputs(state: _Guess, at: int, call: Recorded, values: list[_Value], inputs: list[Tensor]) -> list[_Value]:
    if values and (base_name(call.operator) in _IN_PLACE or _mutates(call.operator)):
        target = values[-1] if call.operator.endswith("out") else values[0]
        target.read = False
        return [target]
    if not call.write_bytes:
        return []
    itemsize = inputs[0].itemsize if inputs else 1
    shape = _output_shape(base_name(call.operator), inputs, call.write_bytes)
    output = _new(state, Tensor(0, 0, call.write_bytes, call.write_bytes, shape, itemsize))
    output.used = at
    return [output]


def _output_shape(name: str, inputs: list[Tensor], size: int) -> tuple[int, ...]:
    """Rows of the left operand for a product, else the shape of the input that has as many bytes, else flat."""
    itemsize = inputs[0].itemsize if inputs else 1
    right = _PRODUCTS.get(name, len(inputs))
    if 0 < right < len(inputs):
        rows = inputs[right - 1].shape[:-1]
        return (*rows, size // itemsize // max(math.prod(rows), 1))
    like = (tensor.shape for tensor in inputs if math.prod(tensor.shape) * tensor.itemsize == size)
    return next(like, (size // itemsize,))


def _mutates(operator: str) -> bool:
    return operator.rpartition("::")[2].partition(".")[0].endswith("_") or operator.endswith("out")


def _new(state: _Guess, tensor: Tensor, *, fixed: bool = False) -> _Value:
    value = _Value(_core(tensor.shape), tensor.span, fixed)
    state.values.append(value)
    if not fixed:
        state.by_elements.setdefault(_size(tensor), []).append(value)
    return value


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without leading ones."""
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def _size(tensor: Tensor) -> tuple[int, int]:
    return math.prod(tensor.shape), tensor.itemsize


def _find(state: _Guess, operator: str, position: int, tensor: Tensor, taken: list[_Value]) -> _Value:
    """The value that an input most likely is."""
    if sliced := _sliced(state, tensor, taken):
        return sliced
    candidates = [v for v in state.by_elements.get(_size(tensor), [])[-_RECENT:] if not _among(v, taken)]
    unread = [v for v in candidates if not v.read]
    same = [v for v in unread if v.shape == _core(tensor.shape)]
    if same or unread:
        return same[-1] if same else unread[0]
    if candidates:
        return max(candidates, key=lambda v: v.used)
    return _unmatched(state, operator, position, tensor)


def _sliced(state: _Guess, tensor: Tensor, taken: list[_Value]) -> _Value | None:
    """What a view with gaps is a slice of: the tensor used last that is about as long."""
    if tensor.bytes == tensor.span:
        return None
    longest = tensor.span + tensor.span // 4 + 4096
    recent = [v for v in state.values[-4 * _RECENT :] if tensor.span <= v.bytes <= longest and not _among(v, taken)]
    return max(recent, key=lambda v: v.used, default=None)


def _among(value: _Value, taken: list[_Value]) -> bool:
    return any(value is other for other in taken)


def _unmatched(state: _Guess, operator: str, position: int, tensor: Tensor) -> _Value:
    if tensor.span < _NAMELESS:
        key = (operator, position, tensor.shape, tensor.itemsize)
        if key not in state.constants:
            state.constants[key] = _new(state, tensor, fixed=True)
        return state.constants[key]
    return _new(state, tensor, fixed=position > 0)


def _place(calls: Sequence[_Bound]) -> None:
    """Give each value a storage; one whose last reader is done passes its own on to the next of its size."""
    used = [list({id(v): v for v in (*(v for v, _ in call.inputs), *call.outputs)}.values()) for call in calls]
    last = {id(value): at for at, values in enumerate(used) for value in values}
    free: dict[int, list[int]] = {}
    storages = count(1)
    for at, values in enumerate(used):
        for value in values:
            if not value.storage:
                freed = [] if value.fixed else free.get(_block(value), [])
                value.storage = freed.pop() if freed else next(storages)
        for value in values:
            if last[id(value)] == at and not value.fixed:
                free.setdefault(_block(value), []).append(value.storage)


def _block(value: _Value) -> int:
    return -(-value.bytes // _BLOCK_BYTES)


def _node(call: _Bound) -> Node:
    inputs = [tensor._replace(storage=value.storage) for value, tensor in call.inputs]
    outputs = [Tensor(v.storage, 0, v.bytes, v.bytes, v.shape, call.itemsize) for v in call.outputs]
    return Node(call.operator, inputs, outputs, call.iterations)
