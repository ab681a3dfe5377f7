"""The operands of kernels, from the tensors of the operators that launched them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from ridgeline.analyze.cache_model.operands import SECTOR_BYTES, Place, Tensor, Touch, repeated
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
"""The storage of partial sums: one workspace, which every product reuses."""

_PRODUCTS = {"mm": 0, "bmm": 0, "matmul": 0, "linear": 0, "addmm": 1, "baddbmm": 1}
"""Position of the left operand."""
_LOOKUPS = frozenset({"embedding", "index_select", "gather", "index", "take", "take_along_dim"})
_SCATTERS = frozenset({"index_copy", "index_put", "_index_put_impl", "index_add", "scatter", "scatter_add"})
_OVERWRITES = frozenset({"copy", "fill", "zero", "arange", "random", "uniform", "normal", "exponential"})
_MOST_PLACES = 8
"""Times a generated kernel may read a tensor in each iteration of its loop."""
_SOFTMAXES = frozenset({"_softmax", "_log_softmax"})
_ITERATORS = ["elementwise_kernel", "reduce_kernel"]
_MOST_ADDRESSED = (1 << 31) - 1
"""Bytes of the longest operand that a kernel of PyTorch's TensorIterator takes, since its offsets have 32 bits. The
iterator halves a longer operand along its outermost dimension and launches the same kernel for each part."""


class Node(NamedTuple):
    """An operator's call: its input and output tensors on the device, in order."""

    operator: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    iterations: int | None = None
    """Iterations of the loop of a generated kernel."""


class Call(NamedTuple):
    """An operator's call, as a form that calls share which differ only in the places of their tensors."""

    form: Node
    """The storages of its tensors are positions in ``places``, their offsets 0."""
    places: Sequence[Place]

    def node(self) -> Node:
        """The call with the storages and offsets of its tensors."""

        def placed(tensor: Tensor) -> Tensor:
            storage, offset = self.places[tensor.storage]
            return tensor._replace(storage=storage, offset=offset)

        inputs, outputs = map(placed, self.form.inputs), map(placed, self.form.outputs)
        return self.form._replace(inputs=list(inputs), outputs=list(outputs))


def call_of(node: Node) -> Call:
    """The call as its form and its places."""
    places: dict[Place, int] = {}
    inputs, outputs = (
        tuple([Tensor(places.setdefault(tensor[:2], len(places)), 0, *tensor[2:]) for tensor in tensors])
        for tensors in (node.inputs, node.outputs)
    )
    return Call(Node(node.operator, inputs, outputs, node.iterations), list(places))


def operands(kernels: pl.DataFrame, calls: Mapping[int, Call], sms: int = 132) -> pl.DataFrame:
    """The operands of all kernels, as :func:`predict` takes them.

    ``kernels`` has ``kernel``, ``name`` and ``call``, the key of its operator's call in ``calls`` or null. Give no call
    to a kernel that fills memory for another operator (a memset before a product): its operands are unknown. ``sms`` is
    the number of multiprocessors, which decides the size of a wave of tiles.
    """
    parts = _launches_of_parts(kernels, calls)
    before: dict[int, str] = {}
    # Kernels of one name and of calls of one form touch the same pieces of their places.
    templates: dict[tuple[object, ...], int] = {}
    pieces: list[list[Touch]] = []
    first_places: dict[int, int] = {}
    places: list[Place] = []
    numbers: list[int] = []
    used: list[int] = []
    starts: list[int] = []
    for kernel, name, number in kernels.select("kernel", "name", "call").iter_rows():
        if (call := calls.get(number)) is None:
            continue
        part = parts.get(kernel, (0, 1))
        key = id(call.form), name, before.get(number), part
        if (template := templates.get(key)) is None:
            template = templates[key] = len(pieces)
            pieces.append(_part(touches(call.form, name, before.get(number, ""), sms), *part))
        if (start := first_places.get(number)) is None:
            start = first_places[number] = len(places) - PARTIAL_SUMS
            places += [(PARTIAL_SUMS, 0), *call.places]
        numbers.append(kernel)
        used.append(template)
        starts.append(start)
        before[number] = name
    return repeated(numbers, used, pieces, starts, places)


def _launches_of_parts(kernels: pl.DataFrame, calls: Mapping[int, Call]) -> dict[int, tuple[int, int]]:
    """For each kernel of an operator that is launched part by part: the number of the launch, and of the launches."""
    forms = {id(call.form): call.form for call in calls.values()}
    tensors = {number: (*form.inputs, *form.outputs) for number, form in forms.items()}
    too_long = {number for number, parts in tensors.items() if any(tensor.span > _MOST_ADDRESSED for tensor in parts)}
    if not too_long:
        return {}
    long = pl.Series([number for number, call in calls.items() if id(call.form) in too_long])
    launches = kernels.filter(pl.col("call").is_in(long), pl.col("name").str.contains_any(_ITERATORS)).select(
        "kernel", pl.int_range(pl.len()).over("call", "name"), count=pl.len().over("call", "name")
    )
    return {kernel: (at, count) for kernel, at, count in launches.iter_rows()}


def _part(touched: list[Touch], at: int, parts: int) -> list[Touch]:
    """The part of the operands that launch number ``at`` of ``parts`` touches."""
    if parts < 2:
        return touched
    return [
        touch._replace(
            offset=touch.span * at // parts,
            span=touch.span * (at + 1) // parts - touch.span * at // parts,
            bytes=touch.bytes * (at + 1) // parts - touch.bytes * at // parts,
        )
        for touch in touched
    ]


def touches(call: Node, kernel: str, before: str, sms: int) -> list[Touch]:
    """The distinct operands of a ``kernel`` of an operator's call; ``before`` is the call's previous kernel.

    The storages of the call's tensors may be numbers of places, as in a :class:`Call`.
    """
    name = base_name(call.operator)
    if combines_parts(kernel):
        touched: Iterable[Touch] = map(_write, call.outputs)
    elif name.startswith("triton_"):
        touched = _generated(call)
    elif name in _PRODUCTS and len(call.inputs) >= _PRODUCTS[name] + 2:
        touched = _product(call, _PRODUCTS[name], kernel, before, sms)
    elif name in _LOOKUPS and call.inputs:
        touched = _indexed(call, reads=True)
    elif name in _SCATTERS and any(_same(call.inputs[0], output) for output in call.outputs if call.inputs):
        touched = _indexed(call, reads=False)
    elif name in _SOFTMAXES:
        touched = _softmax(call, sms)
    else:
        # Every input is read and every output written; an operand that is only overwritten is not read.
        replaced = call.outputs if name in _OVERWRITES or call.operator.endswith("out") else ()
        read = [_read(i) for i in call.inputs if not any(_same(i, o) for o in replaced)]
        touched = [*read, *map(_write, call.outputs)]
    return list(dict.fromkeys(touch for touch in touched if touch.bytes))


def addresses(operator: str) -> bool:
    """Whether an operator uses only those rows of its tensors that an index names."""
    return base_name(operator) in _LOOKUPS | _SCATTERS or operator.startswith("triton_")


def iterations(operator: str, numbers: Sequence[int]) -> int | None:
    """Iterations of the loop of a kernel that Inductor generated: its last arguments are its sizes; else None."""
    sizes = [number for number in numbers if number > 0][-2:]
    generated = operator.startswith("triton_") and not operator.startswith("triton_tem_")
    return math.prod(sizes) if generated and sizes else None


def _same(one: Tensor, other: Tensor) -> bool:
    return one.storage == other.storage and one.offset == other.offset


def _read(tensor: Tensor) -> Touch:
    return Touch(tensor.storage, tensor.offset, tensor.bytes, tensor.span, False)


def _write(tensor: Tensor) -> Touch:
    return Touch(tensor.storage, tensor.offset, tensor.bytes, tensor.span, True)


def _generated(call: Node) -> Iterator[Touch]:
    """The operands of an Inductor kernel, which lists its arguments, results last; one result is assumed.

    Of a tensor with many more elements than its loop has iterations, the kernel touches one element an iteration: rows
    of a table, slots of a cache. Of a tensor with up to ``_MOST_PLACES`` times as many it may touch all, such as the
    parts of a joined projection.
    """
    tensors = []
    for tensor in call.inputs or [Tensor(0, 0, 0, 0)]:
        if call.iterations is not None and tensor.bytes > _MOST_PLACES * call.iterations * tensor.itemsize:
            size = call.iterations * tensor.itemsize
            tensor = tensor._replace(bytes=size, span=size)
        tensors.append(tensor)
    yield from map(_read, tensors[:-1])
    yield from map(_write, call.outputs or tensors[-1:])


def _indexed(call: Node, *, reads: bool) -> Iterator[Touch]:
    """The operands of a lookup, which ``reads`` rows of a table, or of a scatter, which writes rows of a target."""
    table, *others = call.inputs
    if reads:
        # As much is read as comes out, and a sector for each row.
        size = sum(o.bytes for o in call.outputs)
        row = math.prod(call.outputs[0].shape[-1:]) * call.outputs[0].itemsize if call.outputs else 0
        size = max(size, size // max(row, 1) * SECTOR_BYTES)
        yield Touch(table.storage, table.offset, min(size, table.bytes), min(size, table.span), False)
        yield from (_read(i) for i in others if not any(_same(i, o) for o in call.outputs))
        yield from map(_write, call.outputs)
    else:
        # As much is written as comes in. The rows are unknown, so they spread over the target.
        size = min(max((o.bytes for o in others if o.itemsize == table.itemsize), default=0), table.bytes)
        yield from map(_read, others)
        yield Touch(table.storage, table.offset, size, table.span, True)


def _softmax(call: Node, sms: int) -> Iterator[Touch]:
    for i in call.inputs:
        rows = math.prod(i.shape[:-1])
        count, passes = softmax_waves(rows, sms), softmax_passes(rows, i.bytes // max(rows, 1), sms)
        yield _read(i)._replace(waves=count, passes=passes)
        yield from (_write(o)._replace(waves=count, passes=passes) for o in call.outputs)


def _product(call: Node, at: int, kernel: str, before: str, sms: int) -> Iterator[Touch]:
    """The operands of a matrix product whose left operand is input ``at``."""
    left, right = call.inputs[at : at + 2]
    batch = right.shape[0] if len(right.shape) == 3 else 1
    rows = left.shape[-2] if batch > 1 and len(left.shape) > 1 else math.prod(left.shape[:-1])
    elements = sum(o.bytes // o.itemsize for o in call.outputs[:1])
    product = Product(batch, rows, elements // max(batch * rows, 1))
    if not all(product):  # a damaged record: the result is too small for the operands
        yield from map(_read, call.inputs)
        yield from map(_write, call.outputs)
        return
    if reduces_sums(kernel):
        partial = partial_bytes(product, before, sms)
        yield Touch(PARTIAL_SUMS, 0, partial, partial, False)
        yield from map(_write, call.outputs)
        return
    grid = blocks(product, kernel, sms)
    count = round(batch * grid.down * grid.across)
    yield from (_read(t)._replace(waves=count) for t in call.inputs[:at])
    # Blocks go down a panel of columns, then on to the next: each block reads new rows, and a panel's columns stay.
    # In a batch each product has operands of its own, which all waves divide (0 parts).
    down, across, stay = (grid.down, grid.across, grid.down) if batch == 1 else (0, 0, 1)
    yield _read(left)._replace(waves=count, parts=down, shared=True)
    yield _read(right)._replace(waves=count, parts=across, stay=stay, shared=grid.rows > 1)
    if splits_sums(kernel):
        partial = partial_bytes(product, kernel, sms)
        yield Touch(PARTIAL_SUMS, 0, partial, partial, True, count)
    else:
        yield from (_write(o)._replace(waves=count) for o in call.outputs)
