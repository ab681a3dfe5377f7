"""Launches that use only those rows of a tensor that an index names: lookups and scatters."""

from __future__ import annotations

import math

from ridgeline.analyze.cache_model.launches.launch import Launch, Rule, read, same, write
from ridgeline.analyze.cache_model.operands import SECTOR_BYTES, Touch


def _lookup(launch: Launch) -> list[Touch] | None:
    """As much is read of the table as comes out, and a sector for each row."""
    inputs, outputs = launch.call.inputs, launch.call.outputs
    if not inputs:
        return None
    table, *others = inputs
    size = sum(o.bytes for o in outputs)
    row = math.prod(outputs[0].shape[-1:]) * outputs[0].itemsize if outputs else 0
    size = max(size, size // max(row, 1) * SECTOR_BYTES)
    return [
        Touch(table.storage, table.offset, min(size, table.bytes), min(size, table.span), False),
        *(read(i) for i in others if not any(same(i, o) for o in outputs)),
        *map(write, outputs),
    ]


def _scatter(launch: Launch) -> list[Touch] | None:
    """As much is written of the target as comes in. The rows are unknown, so they spread over the target."""
    inputs = launch.call.inputs
    if not inputs or not any(same(inputs[0], output) for output in launch.call.outputs):
        return None
    table, *others = inputs
    size = min(max((o.bytes for o in others if o.itemsize == table.itemsize), default=0), table.bytes)
    return [*map(read, others), Touch(table.storage, table.offset, size, table.span, True)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("embedding", "index_select", "gather", "index", "take", "take_along_dim"), _lookup),
    **dict.fromkeys(("index_copy", "index_put", "_index_put_impl", "index_add", "scatter", "scatter_add"), _scatter),
}
