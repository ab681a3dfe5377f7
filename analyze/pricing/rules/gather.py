"""Indexed access touches the requested elements, not the whole tensor.

The profiler does not record lists of optional tensors, so the indices of ``index`` and ``index_put`` are missing. But
both make a view of the tensor (a recorded ``as_strided`` inside them, with stride 0 in the place of an index), and its
sizes are those of the elements that are read or written. Ingest writes these sizes into the signature. The price is
then exact except for the bytes of the indices.

Writes to a cache of keys and values touch the slots of the step's tokens. A padded step has more keys than slots; only
keys with a slot are read and written. Allocations, and aliases that their schema does not mark, touch no data.
"""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules.rule import Bytes, Rule, contiguous, no_flops, unknown
from ridgeline.analyze.pricing.signature import Tensor, broadcast, tensors_of, total_bytes


def _index_bytes(bound: Bound) -> int:
    return sum(total_bytes(tensors_of(bound.arguments.get(name))) for name in ("index", "indices"))


def _gathered(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """As many bytes of the source as are written, at most all of it, and the index are read."""
    written = total_bytes(outputs)
    (source,) = bound.tensors("self", "weight")
    return min(written, source.distinct_bytes) + _index_bytes(bound), written


def _bag_elements(bound: Bound) -> int:
    weight, indices = bound.tensor("weight"), bound.tensor("indices")
    return indices.elements * math.prod(weight.shape[1:]) if weight and indices else 0


def _touched(bound: Bound) -> int:
    """Elements that an indexed write touches, with repeats; ValueError for masks and for unrecorded indices.

    ``scatter*``: the index's elements. ``index_put``: the broadcast indices' elements times the dimensions without an
    index, or the sizes that ingest put in the place of the indices, or the values' elements where autograd adds them:
    its call is the only ``unsafe`` one, and its values have all elements. Other ``index_*``: the index's elements times
    the other dimensions of self.
    """
    shape, index, indices = bound.needed("self").shape, bound.tensor("index"), bound.arguments.get("indices")
    # A mask says how many elements it selects only by its data.
    if isinstance(indices, list) and indices and not any(t.precision in ("bool", "uint8") for t in indices):
        return math.prod(broadcast(t.shape for t in indices)) * math.prod(shape[len(indices) :])
    if (sizes := bound.numbers("indices")) is not None:
        return math.prod(sizes)
    if bound.flag("unsafe") and (values := bound.tensor("values")):
        return values.elements
    if index is None:
        raise ValueError("the number of requested elements is unknown")
    if shape and base_name(bound.full_name).startswith("index_"):
        dim = int(str(bound.arguments["dim"])) % len(shape)
        return index.elements * math.prod(shape[:dim] + shape[dim + 1 :])
    return index.elements


def _scattered(*, accumulates: bool) -> Bytes:
    """The used part of the source and the index are read; touched elements are written, and read if it accumulates.

    A scalar value is not read. Out of place, all of self is copied first.
    """

    def moved(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
        self, touched = bound.needed("self"), _touched(bound)
        source = bound.tensor("source") or bound.tensor("src") or bound.tensor("values")
        read = _index_bytes(bound) + (min(source.distinct_bytes, touched * source.item_bytes) if source else 0)
        if not bound.schema.arguments[0].is_written:  # out of place
            return read + self.distinct_bytes, self.distinct_bytes
        written = touched * self.item_bytes
        return read + (written if accumulates or bound.flag("accumulate") else 0), written

    return moved


def _accumulated(bound: Bound, outputs: list[Tensor]) -> int:
    """An operation for every used element of the source."""
    return _touched(bound) if bound.needed("self").floating else 0


def _scattered_rows(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """The gradients of all rows or bags and the indices are read, the rows of the table that have one written."""
    (table,), indices = outputs, bound.needed("indices")
    read = total_bytes(tensor for value in bound.arguments.values() for tensor in tensors_of(value))
    rows = min(indices.elements, table.shape[0])
    return read, rows * table.shape[-1] * table.item_bytes


def _reduces(bound: Bound) -> bool:
    """Whether a scatter combines elements by a reduction, whose name is not recorded."""
    return "reduce" in bound.full_name


RULES = (
    Rule(
        (
            "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted",
            "resize", "_unsafe_view", "_reshape_alias", "set", "_fused_sdp_choice", "is_same_size",
            "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes",
        ),
        no_flops, outputs=lambda bound: [], bytes=lambda bound, outputs: (0, 0),
    ),
    Rule(("gather", "index_select", "embedding", "take", "take_along_dim"), no_flops, bytes=_gathered),
    # ingest put the result's sizes in the place of the indices, which are not recorded
    Rule(
        ("index",), no_flops, bytes=_gathered,
        outputs=lambda bound: None
        if (sizes := bound.numbers("indices")) is None
        else [contiguous(tuple(sizes), bound.needed("self"))],
    ),
    # zeros are another operator's; at most as many rows as there are indices
    Rule(
        ("embedding_dense_backward", "_embedding_bag_dense_backward"),
        lambda bound, outputs: bound.needed("indices").elements * outputs[0].shape[-1],
        bytes=_scattered_rows,
    ),
    # an addition for every gathered element, and a multiplication if it is weighted; a maximum (mode 2) is free
    Rule(
        ("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only"),
        lambda bound, outputs: _bag_elements(bound) * (2 if bound.tensor("per_sample_weights") else 1)
        if outputs[0].floating and bound.arguments.get("mode") != "2"
        else 0,
        # the requested rows, indices, offsets and weights of the sum are read, and the bags written
        bytes=lambda bound, outputs: (
            _bag_elements(bound) * outputs[0].item_bytes
            + total_bytes(bound.tensors("indices", "offsets", "per_sample_weights")),
            outputs[0].distinct_bytes,
        ),
    ),
    Rule(("index_copy", "index_fill"), no_flops, bytes=_scattered(accumulates=False)),
    Rule(
        ("scatter",),
        lambda bound, outputs: _accumulated(bound, outputs) if _reduces(bound) else 0,
        bytes=lambda bound, outputs: _scattered(accumulates=_reduces(bound))(bound, outputs),
    ),
    Rule(
        ("put",), lambda bound, outputs: _accumulated(bound, outputs) if bound.flag("accumulate") else 0,
        bytes=_scattered(accumulates=False),
    ),
    # how much of the source is used depends on the mask
    Rule(("masked_scatter",), unknown),
    # ingest put the result, whose size depends on data, behind the arguments
    Rule(("nonzero", "masked_select"), no_flops, outputs=lambda bound: bound.tensors("out") or None),
    Rule(
        ("index_put", "_index_put_impl"),
        lambda bound, outputs: _accumulated(bound, outputs) if bound.flag("accumulate") else 0,
        outputs=lambda bound: [bound.needed("self")], bytes=_scattered(accumulates=False),
    ),
    Rule(("scatter_add", "index_add"), _accumulated, bytes=_scattered(accumulates=True)),
    # The profiler does not record the name of the reduction, and PyTorch does not run without it.
    Rule(
        ("scatter_reduce", "index_reduce"), _accumulated,
        outputs=lambda bound: [bound.needed("self")], bytes=_scattered(accumulates=True),
    ),
)  # fmt: skip
