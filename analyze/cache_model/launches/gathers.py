"""Launches that use only those rows of a tensor that an index names: lookups, scatters, losses by class.

Which rows is not recorded. Each row is assumed to be as likely as any other, but as many draws as rows, or a multiple,
are taken for all rows in another order: positions, or tokens sorted by expert. Memory moves in sectors, so a row
shorter than a sector costs one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ridgeline.analyze.cache_model.launches.launch import Launch, Rule, read, same, write
from ridgeline.analyze.cache_model.operands import SECTOR_BYTES, Tensor, Touch
from ridgeline.analyze.pricing.families import base_name

_ACCUMULATING = frozenset({"index_add", "index_reduce", "scatter_add", "scatter_reduce"})


def distinct(draws: int, rows: int) -> float:
    """Expected number of distinct rows among ``draws`` of ``rows``: N(1 - (1 - 1/N)^n), or N if N divides n.

    >>> distinct(2, 4), distinct(8, 4)
    (1.75, 4)
    """
    return -rows * math.expm1(draws * math.log1p(-1 / rows)) if rows and draws % rows else min(draws, rows)


def drawn(table: Tensor, row_bytes: int, draws: int, *, writes: bool = False) -> Touch:
    """The rows of ``table`` that ``draws`` read or write, all of them at random.

    Rows shorter than a sector lie in one dimension with others, such as a row of logits: neighbours are drawn soon.
    """
    unit = max(row_bytes, SECTOR_BYTES)
    size = min(round(distinct(draws, max(table.bytes // unit, 1)) * unit), table.bytes)
    return Touch(table.storage, table.offset, size, table.span, writes, drawn=draws * unit if unit == row_bytes else 0)


def elements(tensor: Tensor) -> int:
    """The number of distinct elements of a tensor; an expanded dimension counts once."""
    return tensor.bytes // tensor.itemsize


def _selected_row(table: Tensor, count: int, size: int) -> int:
    """Bytes of a run of ``table`` if ``count`` indices along one of its dimensions select ``size`` bytes of it."""
    for dim, length in enumerate(table.shape):
        if length * size == count * table.bytes:
            return math.prod(table.shape[dim + 1 :]) * table.itemsize
    return size // max(count, 1)


def _row(launch: Launch, table: Tensor, index: Tensor | None, size: int) -> int | None:
    """Bytes of the rows of ``table`` that make up ``size`` bytes; None if the record does not say."""
    name = base_name(launch.call.operator)
    if name.startswith(("index_", "embedding")) and index and not name.startswith("index_put"):
        return _selected_row(table, elements(index), size)
    if "vectorized_gather" in launch.kernel and table.shape:
        return table.bytes // max(table.shape[0], 1)
    # An expanded index of gather or scatter names whole rows, another one an element of each.
    return size // max(elements(index), 1) if index and not name.startswith(("index", "_index")) else None


def _lookup(launch: Launch) -> list[Touch] | None:
    """Rows of the table and the index are read, and as much is written."""
    inputs, outputs = launch.call.inputs, launch.call.outputs
    if not inputs or not outputs:
        return None
    table, *others = inputs
    others = [other for other in others if not any(same(other, output) for output in outputs)]
    size = sum(o.bytes for o in outputs)
    if row := _row(launch, table, others[0] if others else None, size):
        looked_up = drawn(table, row, size // row)
    else:
        looked_up = Touch(table.storage, table.offset, min(size, table.bytes), min(size, table.span), False)
    return [looked_up, *map(read, others), *map(write, outputs)]


def _scatter(launch: Launch) -> list[Touch] | None:
    """The source and the index are read, and as much is written of the target, which a copy filled before.

    A sum reads the target too, and so does a write of less than a sector.
    """
    inputs, outputs = launch.call.inputs, launch.call.outputs
    if not inputs or not outputs:
        return None
    name, others = base_name(launch.call.operator), inputs[1:]
    target = outputs[0]._replace(shape=inputs[0].shape, itemsize=inputs[0].itemsize)
    puts = name.startswith(("index_put", "_index_put"))
    index = others[0] if others and not puts else None
    size = _scattered_bytes(name, target, others, index)
    row = _row(launch, target, index, size) if size else None
    if not row:
        # As much is written as comes in. The rows are unknown, so they spread over the target.
        return [*map(read, others), Touch(target.storage, target.offset, min(size, target.bytes), target.span, True)]
    touched = drawn(target, row, size // row, writes=True)
    reads = [touched._replace(write=False)] if name in _ACCUMULATING or row < SECTOR_BYTES else []
    return [*map(read, others), *reads, touched]


def _scattered_bytes(name: str, target: Tensor, others: Sequence[Tensor], index: Tensor | None) -> int:
    """Bytes that go into the target, with repeats."""
    if index and name.startswith("scatter"):
        return math.prod(index.shape) * target.itemsize
    return max((o.bytes for o in others if o.itemsize == target.itemsize and o is not index), default=0)


def _bag(launch: Launch) -> list[Touch] | None:
    """Rows of the table, indices and offsets are read, and the bags written."""
    if len(launch.call.inputs) < 2 or not launch.call.inputs[0].shape:
        return None
    table, indices, *others = launch.call.inputs
    row = table.bytes // max(table.shape[0], 1)
    return [drawn(table, row, elements(indices)), *map(read, (indices, *others)), *map(write, launch.call.outputs)]


def _loss(launch: Launch) -> list[Touch] | None:
    """The value of the target's class is read in each row."""
    if len(launch.call.inputs) < 2:
        return None
    values, classes, *others = launch.call.inputs
    picked = drawn(values, values.itemsize, elements(classes))
    return [picked, read(classes), *map(read, others), *map(write, launch.call.outputs)]


def _loss_backward(launch: Launch) -> list[Touch] | None:
    """The value of the target's class is written in each row of the gradient, which a fill cleared before."""
    if len(launch.call.inputs) < 3 or not launch.call.outputs:
        return None
    loss, values, classes, *others = launch.call.inputs
    picked = drawn(launch.call.outputs[0], values.itemsize, elements(classes), writes=True)
    return [*map(read, (loss, classes, *others)), picked._replace(write=False), picked]


_RULES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (_lookup, ("embedding", "index_select", "gather", "index", "take", "take_along_dim")),
    (_scatter, ("index_copy", "index_put", "_index_put_impl", "index_add", "index_reduce")),
    (_scatter, ("scatter", "scatter_add", "scatter_reduce")),
    (_bag, ("_embedding_bag", "_embedding_bag_forward_only")),
    (_loss, ("nll_loss_forward", "nll_loss2d_forward")),
    (_loss_backward, ("nll_loss_backward", "nll_loss2d_backward")),
)
RULES: dict[str, Rule] = {name: rule for rule, names in _RULES for name in names}
