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
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count, dropwhile, zip_longest
from typing import Any, NamedTuple

from ridgeline.analyze.cache_model.launches.launch import Call, Node
from ridgeline.analyze.cache_model.operands import Tensor, is_sizes, view
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules import triton
from ridgeline.analyze.pricing.signature import json_list
from ridgeline.analyze.reading.columns import Signature

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

_Shape = tuple[int, ...]


class Recorded(NamedTuple):
    """One operator's call, as the profiler records it; texts are JSON, as in a signature."""

    operator: str
    dims: bytes
    types: bytes
    strides: bytes
    write_bytes: int | None
    concrete: bytes = b""


def recorded(signature: Signature, price: Mapping[str, Any] | None) -> Recorded:
    """The call of a signature, whose output has the bytes that its ``price`` says it writes."""
    operator, dims, types, strides, concrete = signature
    writes = (price or {}).get("write_bytes")
    return Recorded(operator, dims, types, strides, None if writes is None else round(writes), concrete)


class _Value:
    """The content of a tensor; ``fixed`` for parameters and caches, ``used`` is the number of the last call."""

    __slots__ = ("blocks", "bytes", "core", "fixed", "freed", "read", "storage", "used")

    def __init__(self, size: int, core: _Shape, *, fixed: bool) -> None:
        self.bytes = size
        self.blocks = -(-size // _BLOCK_BYTES)
        """Its size in blocks of the allocator."""
        self.core = core
        self.fixed = fixed
        self.read = self.freed = False
        self.used = self.storage = 0


class _Input(NamedTuple):
    """An input of calls that are recorded alike, or their output."""

    layout: tuple[Any, ...]
    """The fields of its :class:`Tensor`, without the storage."""
    span: int
    shape: _Shape
    core: _Shape
    """``shape`` without leading ones."""
    size: tuple[int, int]
    """The number and the size of its elements."""
    has_gaps: bool
    fixed: bool
    """A weight, cache or table."""
    fresh: bool
    """A target that is overwritten whole."""
    left: bool
    """The left operand of a product."""


class _Record(NamedTuple):
    """What calls that are recorded alike have in common."""

    operator: str
    inputs: list[_Input]
    itemsize: int
    left: int | None
    """The position of a product's left operand, if it has one."""
    mutated: int | None
    """The position of the input that is the output."""
    output: _Input | None
    """A new output."""
    iterations: int | None
    arguments: tuple[int, ...]
    forms: dict[tuple[object, ...], Node]
    """The forms of calls so far, by their storages and output."""

    def call(self, values: Sequence[_Value], output: _Value | None) -> Call:
        """The call with these values of its inputs and output."""
        places: dict[int, int] = {}
        storages = [places.setdefault(value.storage, len(places)) for value in values]
        key = (*storages, output and (places[output.storage], output.bytes, output.core))
        if (form := self.forms.get(key)) is None:
            inputs = [Tensor(storage, *tensor.layout) for storage, tensor in zip(storages, self.inputs, strict=False)]
            outputs = []
            if output:
                size = output.bytes
                outputs = [Tensor(places[output.storage], 0, size, size, output.core, self.itemsize)]
            form = self.forms[key] = Node(self.operator, tuple(inputs), tuple(outputs), self.iterations, self.arguments)
        return Call(form, [(storage, 0) for storage in places])


class _State:
    """The values so far."""

    def __init__(self) -> None:
        self.newest: deque[_Value] = deque(maxlen=4 * _RECENT)
        self.by_size: dict[tuple[int, int], deque[_Value]] = {}
        """The newest values that are not fixed, by the number and the size of their elements."""
        self.constants: dict[tuple[object, ...], _Value] = {}
        self.last_left: _Value | None = None
        """The left operand, if the last call was a product."""

    def new(self, tensor: _Input, *, fixed: bool = False) -> _Value:
        value = _Value(tensor.span, tensor.core, fixed=fixed)
        self.newest.append(value)
        if not fixed:
            same_size = self.by_size.get(tensor.size)
            if same_size is None:
                same_size = self.by_size[tensor.size] = deque(maxlen=_RECENT)
            same_size.append(value)
        return value


def guess(calls: Sequence[Recorded], records: dict[Recorded, _Record] | None = None) -> list[Call]:
    """The calls with invented storages; calls must be in the order of their kernels.

    ``records`` keeps the parsed records from one sequence to the next.
    """
    state = _State()
    records = {} if records is None else records
    # Most calls repeat a few hundred records, which are parsed once.
    records |= {call: _record(call) for call in set(calls) - records.keys()}
    bound = [(record := records[call], *_bind(state, at, record)) for at, call in enumerate(calls)]
    # Give each value a storage. After its last reader it is free for the next value of its size.
    free: dict[int, list[int]] = {}
    storages = count(1)
    guessed = []
    for at, (record, values, output) in enumerate(bound):
        if output and output not in values:
            values.append(output)
        for value in values:
            if not value.storage:
                freed = None if value.fixed else free.get(value.blocks)
                value.storage = freed.pop() if freed else next(storages)
        guessed.append(record.call(values, output))
        for value in values:
            if value.used == at and not value.fixed and not value.freed:
                value.freed = True
                free.setdefault(value.blocks, []).append(value.storage)
    return guessed


def _record(call: Recorded) -> _Record:
    name, written = base_name(call.operator), call.operator.endswith("out")
    recorded_tensors = _tensors(call)
    tensors = [tensor for _, tensor in recorded_tensors]
    numbers = [int(text) for text in json_list(call.concrete) or [] if isinstance(text, str) and text.isdecimal()]
    loop = triton.iterations(call.operator, numbers)
    updates_first = loop is not None and triton.in_place(call.operator, [tensor.shape for tensor in tensors], numbers)
    written = written or (loop is not None and not updates_first)
    right = _PRODUCTS.get(name)
    inputs = [
        _input(
            tensor,
            fixed=i == right or (name in _TABLES and i == 0),
            fresh=(i == 0 if name in _FRESH else loop is not None and written and i == len(tensors) - 1)
            and tensor.bytes == tensor.span,
            left=right is not None and i == right - 1,
        )
        for i, tensor in enumerate(tensors)
    ]
    in_place = updates_first or name in _IN_PLACE or call.operator.rpartition("::")[2].partition(".")[0].endswith("_")
    output = None
    itemsize = tensors[0].itemsize if tensors else 1
    if not (tensors and (in_place or written)) and call.write_bytes:
        # It has the rows of a product's left operand, or the shape of an input with as many bytes.
        size, position = call.write_bytes, len(tensors) if right is None else right
        same_size = (tensor.shape for tensor in tensors if math.prod(tensor.shape) * tensor.itemsize == size)
        shape = next(same_size, (size // itemsize,))
        if 0 < position < len(tensors):
            rows = tensors[position - 1].shape[:-1]
            shape = (*rows, size // itemsize // max(math.prod(rows), 1))
        output = _input(Tensor(0, 0, size, size, shape, itemsize))
    return _Record(
        call.operator,
        inputs,
        itemsize,
        right - 1 if right is not None and len(inputs) >= right else None,
        None if not inputs or output else len(inputs) - 1 if written else 0 if in_place else None,
        output,
        loop,
        tuple([argument for argument, _ in recorded_tensors]),
        {},
    )


def _tensors(call: Recorded) -> list[tuple[int, Tensor]]:
    """Layouts of the inputs that are tensors, those of tensor lists one by one, with the position of the argument."""
    columns = (json_list(text) or [] for text in (call.dims, call.types, call.strides))
    tensors: list[tuple[int, Tensor]] = []
    for at, (shape, kind, stride) in enumerate(zip_longest(*columns, fillvalue="")):
        if not isinstance(shape, list) or not isinstance(kind, str):
            continue
        itemsize = _ITEMSIZES.get(kind.lower().removeprefix("tensorlist "))
        if shape and all(isinstance(part, list) for part in shape):
            parts = stride if isinstance(stride, list) and len(stride) == len(shape) else [None] * len(shape)
            recorded = [(part, steps) for part, steps in zip(shape, parts, strict=True) if is_sizes(part)]
            layouts = [view(0, 0, part, steps if is_sizes(steps) else None, itemsize or 2) for part, steps in recorded]
            tensors += [(at, layout) for layout in layouts]
        elif itemsize and is_sizes(shape):
            tensors.append((at, view(0, 0, shape, stride if is_sizes(stride) and stride else None, itemsize)))
    return tensors


def _bind(state: _State, at: int, record: _Record) -> tuple[list[_Value], _Value | None]:
    """The values of the inputs of the call number ``at``, and of its output."""
    values: list[_Value] = []
    for i, tensor in enumerate(record.inputs):
        value = _input_value(state, at, record.operator, i, tensor)
        value.read, value.used = True, at
        values.append(value)
    state.last_left = None if record.left is None else values[record.left]
    output = None
    if record.mutated is not None:
        output = values[record.mutated]
        output.read = False
    elif record.output:
        output = state.new(record.output)
        output.used = at
    return values, output


def _input_value(state: _State, at: int, operator: str, i: int, tensor: _Input) -> _Value:
    """The value that input ``i`` of the call number ``at`` most likely is."""
    if tensor.fixed:
        return state.new(tensor, fixed=True)
    if tensor.fresh:
        return state.new(tensor)
    # several products of one input, such as the projections of attention
    if tensor.left and state.last_left and state.last_left.core == tensor.core:
        return state.last_left
    if value := _matching(state, at, tensor):
        return value
    if tensor.span >= _NAMELESS:
        return state.new(tensor, fixed=i > 0)
    # scalars and small constants, the same at every call
    key = (operator, i, tensor.shape, tensor.size[1])
    if key not in state.constants:
        state.constants[key] = state.new(tensor, fixed=True)
    return state.constants[key]


def _matching(state: _State, at: int, tensor: _Input) -> _Value | None:
    """An earlier value that an input of the call number ``at`` can be, or None; no two inputs are the same value."""
    if tensor.has_gaps:
        # A slice of a longer tensor: the one used last that is not much longer.
        longest = tensor.span + tensor.span // 4 + 4096
        free = (v for v in state.newest if v.used != at and tensor.span <= v.bytes <= longest)
        if whole := max(free, key=lambda v: v.used, default=None):
            return whole
    last_used = oldest_unread = None
    for value in reversed(state.by_size.get(tensor.size, ())):
        if value.used == at:  # an earlier input of this call
            continue
        if not value.read:
            if value.core == tensor.core:
                return value
            oldest_unread = value
        if last_used is None or value.used >= last_used.used:
            last_used = value
    return oldest_unread or last_used


def _input(tensor: Tensor, *, fixed: bool = False, fresh: bool = False, left: bool = False) -> _Input:
    shape = tensor.shape
    return _Input(
        tensor[1:],
        tensor.span,
        shape,
        tuple(dropwhile(lambda size: size == 1, shape)),
        (math.prod(shape), tensor.itemsize),
        tensor.bytes != tensor.span,
        fixed,
        fresh,
        left,
    )
