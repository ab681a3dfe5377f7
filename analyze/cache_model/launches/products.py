"""Launches of matrix products: tiles of the operands, partial sums of products split over K."""

from __future__ import annotations

import math
from functools import partial

from ridgeline.analyze.cache_model.launches.launch import PARTIAL_SUMS, Helper, Launch, Rule, read, write
from ridgeline.analyze.cache_model.operands import SCATTERED, Touch
from ridgeline.analyze.cache_model.tiles import Product, batch_waves, blocks, partial_bytes, reduces_sums, splits_sums

_LEFT = {"mm": 0, "bmm": 0, "matmul": 0, "linear": 0, "addmm": 1, "baddbmm": 1}
"""Position of the left operand."""


def _product(launch: Launch, at: int) -> list[Touch] | None:
    """The operands of a matrix product whose left operand is input ``at``."""
    call, kernel, sms = launch.call, launch.kernel, launch.multiprocessors
    if len(call.inputs) < at + 2:
        return None
    left, right = call.inputs[at : at + 2]
    batch = right.shape[0] if len(right.shape) == 3 else 1
    rows = left.shape[-2] if batch > 1 and len(left.shape) > 1 else math.prod(left.shape[:-1])
    elements = sum(o.bytes // o.itemsize for o in call.outputs[:1])
    product = Product(batch, rows, elements // max(batch * rows, 1))
    if not all(product):  # a damaged record: the result is too small for the operands
        return [*map(read, call.inputs), *map(write, call.outputs)]
    if reduces_sums(kernel):
        size = partial_bytes(product, launch.before, sms)
        return Helper([Touch(PARTIAL_SUMS, 0, size, size, False), *map(write, call.outputs)])
    grid = blocks(product, kernel, sms)
    count = round(grid.down * grid.across) if batch == 1 else batch_waves(product, kernel, sms)
    # Blocks go down a panel of columns, then on to the next: each block reads new rows, and a panel's columns stay.
    # In a batch each product has operands of its own, which all waves divide (0 parts).
    down, across, stay = (grid.down, grid.across, grid.down) if batch == 1 else (0, 0, 1)
    touches = [read(t)._replace(waves=count) for t in call.inputs[:at]]
    # Newer kernels read a tile for several multiprocessors at once.
    shared = 1 if "nvjet" in kernel else SCATTERED
    touches.append(read(left)._replace(waves=count, parts=down, shared=shared * (grid.columns > 1)))
    touches.append(read(right)._replace(waves=count, parts=across, stay=stay, shared=shared * (grid.rows > 1)))
    if splits_sums(kernel) or (launch.kernels[launch.at + 1 :] and reduces_sums(launch.kernels[launch.at + 1])):
        size = partial_bytes(product, kernel, sms)
        return [*touches, Touch(PARTIAL_SUMS, 0, size, size, True, count)]
    return [*touches, *(write(o)._replace(waves=count) for o in call.outputs)]


RULES: dict[str, Rule] = {name: partial(_product, at=at) for name, at in _LEFT.items()}
