"""A guess of the tensors of every operator's call, from sizes and order, for runs without an execution trace.

The profiler records the dimensions, strides and types of inputs, but neither outputs nor addresses. The rules:

- An output has the size that the operator's price says it writes. Operators that work in place, and those that write
  into an argument, return that argument.
- An input is the newest unread result of its shape. Otherwise it is the oldest unread result with as many elements, in
  the order in which several projections of one input are used. Otherwise it is the result of its size used last.
  The left operand of a product that follows a product of the same shape is the same tensor.
- An input that matches nothing, and every right operand of a product, is a parameter or a cache and comes from DRAM.
- A result dies with its last reader, and the next one of its size takes its memory, the last freed first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, dropwhile, zip_longest
from typing import NamedTuple

from ridgeline.analyze.cache_model.operands import Tensor, view
from ridgeline.analyze.cache_model.touches import Node, iterations
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.signature import json_list

_ITEMSIZES = {
    "double": 8, "float": 4, "c10::half": 2, "c10::bfloat16": 2, "long int": 8, "long": 8, "int": 4, "short int": 2,
    "signed char": 1, "unsigned char": 1, "bool": 1, "c10::float8_e4m3fn": 1, "c10::float8_e5m2": 1,
}  # fmt: skip
_PRODUCTS = {"mm": 1, "bmm": 1, "matmul": 1, "linear": 1, "addmm": 2, "baddbmm": 2}
"""Position of the right operand."""
_IN_PLACE = frozenset({"index_copy", "copy", "fill", "zero", "index_put", "_index_put_impl", "scatter", "index_add"})
_FRESH = frozenset({"copy", "fill", "zero"})
"""Operators whose target is most often just allocated, unless it is a slice."""
_TABLES = frozenset({"embedding", "index_select"})
_BLOCK_BYTES = 512
_NAMELESS = 1 << 16
"""Smaller inputs that match nothing are the same at each call of an operator: scalars, small constants."""
_RECENT = 16
"""The newest results of a size, which are the candidates for an input."""


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
    """The content of a tensor; ``fixed`` for parameters and caches, ``used`` is the number of the last call."""

    shape: tuple[int, ...]
    bytes: int
    fixed: bool = False
    read: bool = False
    used: int = 0
    storage: int = 0

    @property
    def blocks(self) -> int:
        """Its size in blocks of the allocator."""
        return -(-self.bytes // _BLOCK_BYTES)


@dataclass
class _State:
    values: list[_Value] = field(default_factory=list)
    by_elements: dict[tuple[int, int], list[_Value]] = field(default_factory=dict)
    """Values that are not fixed, by the number and the size of their elements."""
    constants: dict[tuple[object, ...], _Value] = field(default_factory=dict)
    last_left: _Value | None = None
    """The left operand, if the last call was a product."""

    def new(self, tensor: Tensor, *, fixed: bool = False) -> _Value:
        value = _Value(_core(tensor.shape), tensor.span, fixed)
        self.values.append(value)
        if not fixed:
            self.by_elements.setdefault((math.prod(tensor.shape), tensor.itemsize), []).append(value)
        return value


class _Bound(NamedTuple):
    operator: str
    inputs: list[tuple[_Value, Tensor]]
    outputs: list[_Value]
    itemsize: int
    iterations: int | None

    @property
    def values(self) -> list[_Value]:
        """Distinct values of inputs and outputs."""
        return list({id(v): v for v in (*(value for value, _ in self.inputs), *self.outputs)}.values())


def guess(calls: Sequence[Recorded]) -> list[Node]:
    """The calls with invented storages; calls must be in the order of their kernels."""
    state = _State()
    bound = [_bind(state, at, call, _inputs(call)) for at, call in enumerate(calls)]
    # Give each value a storage. After its last reader it is free for the next value of its size.
    last = {id(value): at for at, call in enumerate(bound) for value in call.values}
    free: dict[int, list[int]] = {}
    storages = count(1)
    for at, each in enumerate(bound):
        for value in each.values:
            if not value.storage:
                freed = [] if value.fixed else free.get(value.blocks, [])
                value.storage = freed.pop() if freed else next(storages)
        for value in each.values:
            if last[id(value)] == at and not value.fixed:
                free.setdefault(value.blocks, []).append(value.storage)
    nodes = []
    for each in bound:
        inputs = [tensor._replace(storage=value.storage) for value, tensor in each.inputs]
        outputs = [Tensor(v.storage, 0, v.bytes, v.bytes, v.shape, each.itemsize) for v in each.outputs]
        nodes.append(Node(each.operator, inputs, outputs, each.iterations))
    return nodes


def _inputs(call: Recorded) -> list[Tensor]:
    """Layouts of the inputs that are tensors, those of tensor lists one by one."""
    columns = (json_list(text) or [] for text in (call.dims, call.types, call.strides))
    tensors: list[Tensor] = []
    for shape, kind, stride in zip_longest(*columns, fillvalue=""):
        if not isinstance(shape, list) or not isinstance(kind, str):
            continue
        itemsize = _ITEMSIZES.get(kind.lower().removeprefix("tensorlist "))
        if shape and all(isinstance(part, list) for part in shape):
            parts = stride if isinstance(stride, list) and len(stride) == len(shape) else [None] * len(shape)
            tensors += [view(0, 0, part, steps, itemsize or 2) for part, steps in zip(shape, parts, strict=True)]
        elif itemsize and all(isinstance(size, int) and size >= 0 for size in shape):
            tensors.append(view(0, 0, shape, stride if isinstance(stride, list) and stride else None, itemsize))
    return tensors


def _bind(state: _State, at: int, call: Recorded, inputs: list[Tensor]) -> _Bound:
    """The call number ``at`` with a value for each input and output."""
    values: list[_Value] = []
    for i, tensor in enumerate(inputs):
        value = _input_value(state, call.operator, i, tensor, values)
        value.read, value.used = True, at
        values.append(value)
    right = _PRODUCTS.get(base_name(call.operator))
    state.last_left = values[right - 1] if right is not None and len(values) >= right else None

    name = call.operator.rpartition("::")[2].partition(".")[0]
    mutates = base_name(call.operator) in _IN_PLACE or name.endswith("_") or call.operator.endswith("out")
    outputs: list[_Value] = []
    itemsize = inputs[0].itemsize if inputs else 1
    if values and mutates:
        outputs = [values[-1] if call.operator.endswith("out") else values[0]]
        outputs[0].read = False
    elif call.write_bytes:
        # It has the rows of a product's left operand, or the shape of an input with as many bytes.
        size, position = call.write_bytes, len(inputs) if right is None else right
        same_size = (tensor.shape for tensor in inputs if math.prod(tensor.shape) * tensor.itemsize == size)
        shape = next(same_size, (size // itemsize,))
        if 0 < position < len(inputs):
            rows = inputs[position - 1].shape[:-1]
            shape = (*rows, size // itemsize // max(math.prod(rows), 1))
        outputs = [state.new(Tensor(0, 0, size, size, shape, itemsize))]
        outputs[0].used = at
    numbers = [int(text) for text in json_list(call.concrete) or [] if isinstance(text, str) and text.isdecimal()]
    looped = iterations(call.operator, numbers)
    return _Bound(call.operator, list(zip(values, inputs, strict=True)), outputs, itemsize, looped)


def _input_value(state: _State, operator: str, i: int, tensor: Tensor, earlier_inputs: list[_Value]) -> _Value:
    """The value that input ``i`` of an operator most likely is; ``earlier_inputs`` are its values so far."""
    name = base_name(operator)
    right = _PRODUCTS.get(name)
    # weights, caches and tables
    if i == right or (name in _TABLES and i == 0):
        return state.new(tensor, fixed=True)
    if name in _FRESH and i == 0 and tensor.bytes == tensor.span:
        return state.new(tensor)
    # several products of one input, such as the projections of attention
    if right is not None and i == right - 1 and state.last_left and state.last_left.shape == _core(tensor.shape):
        return state.last_left
    if value := _matching(state, tensor, earlier_inputs):
        return value
    if tensor.span >= _NAMELESS:
        return state.new(tensor, fixed=i > 0)
    # scalars and small constants, the same at every call
    key = (operator, i, tensor.shape, tensor.itemsize)
    if key not in state.constants:
        state.constants[key] = state.new(tensor, fixed=True)
    return state.constants[key]


def _matching(state: _State, tensor: Tensor, earlier_inputs: list[_Value]) -> _Value | None:
    """An earlier value that an input can be, or None."""
    free = [v for v in state.values[-4 * _RECENT :] if not any(v is other for other in earlier_inputs)]
    if tensor.bytes != tensor.span:
        # A view with gaps is a slice of a longer tensor: the one used last that is not much longer.
        longest = tensor.span + tensor.span // 4 + 4096
        whole = max((v for v in free if tensor.span <= v.bytes <= longest), key=lambda v: v.used, default=None)
        if whole:
            return whole
    same_size = state.by_elements.get((math.prod(tensor.shape), tensor.itemsize), [])[-_RECENT:]
    candidates = [v for v in same_size if not any(v is other for other in earlier_inputs)]
    unread = [v for v in candidates if not v.read]
    same_shape = [v for v in unread if v.shape == _core(tensor.shape)]
    if unread:
        return same_shape[-1] if same_shape else unread[0]
    return max(candidates, key=lambda v: v.used, default=None)


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without leading ones."""
    return tuple(dropwhile(lambda size: size == 1, shape))
