"""Launches that add rows of gradients by index: sorted by index first, so that no two blocks add to one row."""

from __future__ import annotations

import math

from ridgeline.analyze.cache_model.launches.gathers import RULES as GATHERS
from ridgeline.analyze.cache_model.launches.gathers import distinct, drawn, elements
from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper, Launch, Rule, read, workspace, write
from ridgeline.analyze.cache_model.launches.sorts import SCANNED, cub
from ridgeline.analyze.cache_model.operands import Tensor, Touch

_INDEX_BYTES = 8
_SUM_BYTES = 4
"""Bytes of a partial sum, fp32."""
_SUMS = 4
"""Number of the workspace of partial sums of rows."""
_OFFSETS = ("krn_partial", "compute_num_of_partial_segments")


def _embedding(launch: Launch) -> list[Touch] | None:
    """Rows of equal index are summed ten by ten, and the sums of each index written to its row.

    Up to 3,072 rows are added to the table directly, in one kernel.
    """
    if len(launch.call.inputs) < 2 or not launch.call.outputs or not launch.call.inputs[0].shape:
        return None
    gradient, indices = launch.call.inputs[:2]
    table, kernel, count = launch.call.outputs[0], launch.kernel, elements(indices)
    row = gradient.shape[-1] * gradient.itemsize
    if "embedding_backward_feature_kernel" in kernel:
        added = drawn(table, row, count, writes=True)
        return [read(gradient), read(indices), added._replace(write=False), added]
    if any(part in kernel for part in _OFFSETS):
        return Helper([_offsets(count, writes=False), _offsets(count, writes=True)])
    rows = distinct(count, max(table.bytes // max(row, 1), 1))
    size = round(rows * gradient.shape[-1]) * _SUM_BYTES
    sums = Touch(workspace(_SUMS), 0, size, size, True)
    if "compute_grad_weight" in kernel:
        # The gradient of a bag belongs to each of its rows.
        rows_read = drawn(gradient, row, count) if "bags" in kernel else read(gradient)
        return Chunk([rows_read, read(indices), _offsets(count, writes=False), sums])
    if "sum_and_scatter" in kernel:
        return Chunk([sums._replace(write=False), _offsets(count, writes=False), *_rows(table, rows * row)])
    return cub(launch, count, indices)


def _put(launch: Launch) -> list[Touch] | None:
    """A sum sorts its indices, then adds the values of each index to its row; see :mod:`.gathers` for other puts."""
    inputs, kernel = launch.call.inputs, launch.kernel
    if len(inputs) < 2 or not any(part in kernel for part in ("cub", "indexing_backward")):
        return GATHERS["_index_put_impl"](launch)
    target, values = inputs[0], inputs[-1]
    row = math.prod(target.shape[1:])
    # The indices name rows of the first dimension if the values have the shape of these rows.
    names_rows = row > 0 and values.shape[len(values.shape) - len(target.shape) + 1 :] == target.shape[1:]
    count = math.prod(values.shape) // row if names_rows else 0
    if "indexing_backward" not in kernel:
        return cub(launch, count)
    size = distinct(count, target.shape[0]) * row * target.itemsize if count and target.shape else values.bytes
    added = _rows(target, size)
    return Chunk([read(values), _offsets(2 * count, writes=False), *(t._replace(write=False) for t in added), *added])


def _rows(table: Tensor, size: float) -> list[Touch]:
    """So many bytes of the table, written in the order of its rows."""
    return [write(table)._replace(bytes=min(round(size), table.bytes))]


def _offsets(count: int, *, writes: bool) -> Touch:
    return Touch(workspace(SCANNED), 0, _INDEX_BYTES * count, _INDEX_BYTES * count, writes)


RULES: dict[str, Rule] = dict.fromkeys(("embedding_dense_backward", "_embedding_bag_dense_backward"), _embedding)
RULES |= dict.fromkeys(("index_put", "_index_put_impl"), _put)
