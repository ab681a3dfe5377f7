"""What kernels touch, from the tensors of the operators that launched them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from ridgeline.analyze.cache_model.operands import SECTOR_BYTES, Tensor, Touch, frame
from ridgeline.analyze.cache_model.tiles import (
    Product,
    blocks,
    combines_parts,
    partial_bytes,
    reduces_sums,
    softmax_passes,
    softmax_waves,
    splits_sums,
)
from ridgeline.analyze.pricing.families import base_name

PARTIAL_SUMS = -1
"""The storage of partial sums: one workspace, used again by every product."""

_PRODUCTS = {"mm": 0, "bmm": 0, "matmul": 0, "linear": 0, "addmm": 1, "baddbmm": 1}
"""Position of the left operand."""
_LOOKUPS = frozenset({"embedding", "index_select", "gather", "index", "take", "take_along_dim"})
_SCATTERS = frozenset({"index_copy", "index_put", "_index_put_impl", "index_add", "scatter", "scatter_add"})
_OVERWRITES = frozenset({"copy", "fill", "zero", "arange", "random", "uniform", "normal", "exponential"})
_MOST_PLACES = 8
_SOFTMAXES = frozenset({"_softmax", "_log_softmax"})
_ITERATORS = ["elementwise_kernel", "reduce_kernel"]
_MOST_ADDRESSED = (1 << 31) - 1
"""Bytes of an operand that one kernel of PyTorch's iterator over tensors takes, whose offsets have 32 bits: it cuts a
longer one by halves along its outermost dimension, and launches the same kernel for each part."""


class Node(NamedTuple):
    """An operator's call: the tensors on the device it took and gave, in order."""

    operator: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    iterations: int | None = None
    """Of the loop of a generated kernel."""


class Call(NamedTuple):
    """One kernel of an operator's call."""

    operator: str
    kernel: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    before: str = ""
    """The kernel of the same call that ran before."""
    iterations: int | None = None


def operands(kernels: pl.DataFrame, calls: Mapping[int, Node], sms: int = 132) -> pl.DataFrame:
    """The operands of all kernels, as :func:`predict` takes them.

    ``kernels`` has ``kernel``, ``name`` and ``call``, the key of its operator's call in ``calls`` or null. What fills
    memory on behalf of another operator (a memset before a product) has no operands that are known: give it no call.
    ``sms`` is the number of multiprocessors, on which the size of a wave of tiles depends.
    """
    found: list[tuple[int, Touch]] = []
    before: dict[int, str] = {}
    iterators = kernels.filter(pl.col("name").str.contains_any(_ITERATORS))
    launches = Counter(iterators.select("call", "name").iter_rows())
    launched: Counter[tuple[int, str]] = Counter()
    for kernel, name, call in kernels.select("kernel", "name", "call").iter_rows():
        if node := calls.get(call):
            one = Call(node.operator, name, node.inputs, node.outputs, before.get(call, ""), node.iterations)
            parts = launches[call, name]
            parts = parts if parts > 1 and _is_too_long(node) else 1
            found += [(kernel, _part(touch, launched[call, name], parts)) for touch in touches(one, sms)]
            launched[call, name] += 1
            before[call] = name
    return frame(found)


def _is_too_long(node: Node) -> bool:
    return any(tensor.span > _MOST_ADDRESSED for tensor in (*node.inputs, *node.outputs))


def _part(touch: Touch, at: int, parts: int) -> Touch:
    """What one of several launches touches that share an operand."""
    if parts == 1:
        return touch
    start, end = (touch.span * i // parts for i in (at, at + 1))
    size = touch.bytes * (at + 1) // parts - touch.bytes * at // parts
    return touch._replace(offset=touch.offset + start, span=end - start, bytes=size)


def touches(call: Call, sms: int) -> list[Touch]:
    """The operands of a kernel, each distinct one once."""
    name = base_name(call.operator)
    if combines_parts(call.kernel):
        found: Iterator[Touch] = map(_write, call.outputs)
    elif name.startswith("triton_"):
        found = _generated(call)
    elif name in _PRODUCTS and len(call.inputs) >= _PRODUCTS[name] + 2:
        found = _product(call, _PRODUCTS[name], sms)
    elif name in _LOOKUPS and call.inputs:
        found = _lookup(call)
    elif name in _SCATTERS and _in_place(call):
        found = _scatter(call)
    elif name in _SOFTMAXES:
        found = _softmax(call, sms)
    else:
        found = _plain(call, name)
    return list(dict.fromkeys(touch for touch in found if touch.bytes))


def addresses(operator: str) -> bool:
    """Whether an operator uses but the rows of its tensors that an index names."""
    return base_name(operator) in _LOOKUPS | _SCATTERS or operator.startswith("triton_")


def _in_place(call: Call) -> bool:
    return bool(call.inputs) and any(_same(call.inputs[0], output) for output in call.outputs)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.storage == other.storage and one.offset == other.offset


def _read(tensor: Tensor) -> Touch:
    return Touch(tensor.storage, tensor.offset, tensor.bytes, tensor.span, False)


def _write(tensor: Tensor) -> Touch:
    return Touch(tensor.storage, tensor.offset, tensor.bytes, tensor.span, True)


def _plain(call: Call, name: str) -> Iterator[Touch]:
    """Every input is read, every output written; what is only overwritten is not read."""
    replaced = call.outputs if name in _OVERWRITES or call.operator.endswith("out") else ()
    yield from (_read(i) for i in call.inputs if not any(_same(i, o) for o in replaced))
    yield from map(_write, call.outputs)


def _generated(call: Call) -> Iterator[Touch]:
    """An Inductor kernel lists its arguments, results last; how many it writes is not recorded: one, say.

    Of a tensor with many more elements than its loop has iterations it touches only so many: of a table the rows it
    looks up, of a cache those it writes. One with a few times as many it may read at several places, such as the parts
    of a joined projection.
    """
    *inputs, last = (_up_to(call.iterations, tensor) for tensor in call.inputs or [Tensor(0, 0, 0, 0)])
    yield from map(_read, inputs)
    yield from map(_write, call.outputs or [last])


def _up_to(elements: int | None, tensor: Tensor) -> Tensor:
    if elements is None or tensor.bytes <= _MOST_PLACES * elements * tensor.itemsize:
        return tensor
    size = elements * tensor.itemsize
    return tensor._replace(bytes=size, span=size)


def iterations(operator: str, numbers: Sequence[int]) -> int | None:
    """Of the loop of a kernel that Inductor generated, whose last arguments are its sizes; None for any other."""
    sizes = [number for number in numbers if number > 0][-2:]
    generated = operator.startswith("triton_") and not operator.startswith("triton_tem_")
    return math.prod(sizes) if generated and sizes else None


def _lookup(call: Call) -> Iterator[Touch]:
    """Of the table, as much is read as comes out; single elements cost a sector each."""
    table, *indices = call.inputs
    wanted = sum(o.bytes for o in call.outputs)
    row = math.prod(call.outputs[0].shape[-1:]) * call.outputs[0].itemsize if call.outputs else 0
    wanted = max(wanted, wanted // max(row, 1) * SECTOR_BYTES)
    yield Touch(table.storage, table.offset, min(wanted, table.bytes), min(wanted, table.span), False)
    yield from (_read(i) for i in indices if not any(_same(i, o) for o in call.outputs))
    yield from map(_write, call.outputs)


def _scatter(call: Call) -> Iterator[Touch]:
    """Of the target, as much is written as comes in; where, only the index knows, so it is spread evenly."""
    target, *others = call.inputs
    size = min(max((o.bytes for o in others if o.itemsize == target.itemsize), default=0), target.bytes)
    yield from map(_read, others)
    yield Touch(target.storage, target.offset, size, target.span, True)


def _softmax(call: Call, sms: int) -> Iterator[Touch]:
    for i in call.inputs:
        rows = math.prod(i.shape[:-1])
        count, passes = softmax_waves(rows, sms), softmax_passes(rows, i.bytes // max(rows, 1), sms)
        yield _read(i)._replace(waves=count, passes=passes)
        yield from (_write(o)._replace(waves=count, passes=passes) for o in call.outputs)


def _product(call: Call, at: int, sms: int) -> Iterator[Touch]:
    left, right = call.inputs[at : at + 2]
    product = _sizes(left, right, call.outputs)
    if reduces_sums(call.kernel):
        partial = partial_bytes(product, call.before, sms)
        yield Touch(PARTIAL_SUMS, 0, partial, partial, False)
        yield from map(_write, call.outputs)
        return
    grid = blocks(product, call.kernel, sms)
    count = round(product.batch * grid.down * grid.across)
    yield from (_read(t)._replace(waves=count) for t in call.inputs[:at])
    if product.batch == 1:
        yield _read(left)._replace(waves=count, parts=grid.down, shared=True)
        yield _read(right)._replace(waves=count, parts=grid.across, stay=grid.down, shared=grid.rows > 1)
    else:
        yield _read(left)._replace(waves=count, shared=True)
        yield _read(right)._replace(waves=count, shared=grid.rows > 1)
    if splits_sums(call.kernel):
        partial = partial_bytes(product, call.kernel, sms)
        yield Touch(PARTIAL_SUMS, 0, partial, partial, True, count)
    else:
        yield from (_write(o)._replace(waves=count) for o in call.outputs)


def _sizes(left: Tensor, right: Tensor, outputs: Sequence[Tensor]) -> Product:
    batch = right.shape[0] if len(right.shape) == 3 else 1
    rows = left.shape[-2] if batch > 1 and len(left.shape) > 1 else math.prod(left.shape[:-1])
    elements = sum(o.bytes // o.itemsize for o in outputs[:1])
    return Product(batch, rows, elements // max(batch * rows, 1))
