"""Indexed access touches the elements that are asked for, not the tensor they lie in.

The profiler does not record lists of optional tensors, so the indices of ``index`` and ``index_put`` are missing. What
they address is known all the same: both make a view of the tensor whose sizes are those of the result or of what is
written (a recorded ``as_strided`` inside them, with stride 0 where an index stands). Those sizes are written into the
signature at ingest, and the price, of what is read and written, is exact but for the indices themselves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules.rule import Bytes, Rule, contiguous, no_flops
from ridgeline.analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.meta import Bound


def _index_bytes(bound: Bound) -> int:
    values = [bound.arguments.get(name) for name in ("index", "indices")]
    tensors = [t for v in values for t in (v if isinstance(v, list) else [v]) if isinstance(t, Tensor)]
    return sum(t.distinct_bytes for t in tensors)


def _gathered(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """Read what is written, no more than there is, and the index."""
    written = sum(t.distinct_bytes for t in outputs)
    (source,) = bound.tensors("self", "weight")
    return min(written, source.distinct_bytes) + _index_bytes(bound), written


def _indexed(bound: Bound) -> list[Tensor] | None:
    """The result of ``index``, where ingest found its sizes in place of the indices, which are not recorded."""
    sizes = bound.numbers("indices")
    return None if sizes is None else [contiguous(tuple(sizes), bound.needed("self"))]


def _bagged(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """Read the rows that are asked for, indices, offsets and weights of the sum; write the bags."""
    operands = [t for name in ("indices", "offsets", "per_sample_weights") if (t := bound.tensor(name))]
    rows = _bag_elements(bound) * outputs[0].item_bytes
    return rows + sum(t.distinct_bytes for t in operands), outputs[0].distinct_bytes


def _bag_flops(bound: Bound, outputs: list[Tensor]) -> int:
    """An addition for every gathered element, a multiplication too if it is weighted; a maximum is free."""
    if not outputs[0].floating or bound.arguments.get("mode") == "2":
        return 0
    return _bag_elements(bound) * (2 if bound.tensor("per_sample_weights") else 1)


def _bag_elements(bound: Bound) -> int:
    weight, indices = bound.tensor("weight"), bound.tensor("indices")
    return indices.elements * math.prod(weight.shape[1:]) if weight and indices else 0


def _target(bound: Bound) -> Tensor:
    """What an indexed write goes to."""
    self = bound.tensor("self")
    if self is None:
        raise ValueError("an indexed write needs a tensor to write to")
    return self


def _touched(bound: Bound) -> int:
    """Elements an indexed write asks for, repeats included; ValueError where a mask or an unrecorded index says it.

    In place of the indices of ``index_put``, which are not recorded, ingest may have found the sizes they address.

    ``scatter*``: the index's elements; ``index_put``: the broadcast indices' times the dimensions they leave; other
    ``index_*``: the index's times self's other dimensions.
    """
    shape, index, indices = _target(bound).shape, bound.tensor("index"), bound.arguments.get("indices")
    if isinstance(indices, list) and indices and not any(t.precision in ("bool", "uint8") for t in indices):
        positions: tuple[int, ...] = torch.broadcast_shapes(*(t.shape for t in indices))  # type: ignore[no-untyped-call]
        return math.prod(positions) * math.prod(shape[len(indices) :])
    if (sizes := bound.numbers("indices")) is not None:
        return math.prod(sizes)
    if index is None:
        raise ValueError("how many elements are asked for is unknown")
    if shape and base_name(bound.overload._schema.name).startswith("index_"):
        dim = int(str(bound.arguments["dim"])) % len(shape)
        return index.elements * math.prod(shape[:dim] + shape[dim + 1 :])
    return index.elements


def _scattered(*, accumulates: bool) -> Bytes:
    """Read the source as far as it is used, and the index; write what is touched, read first if it accumulates.

    A filling scalar is read from nowhere. Out of place the whole of self is copied first.
    """

    def moved(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
        self, touched = _target(bound), _touched(bound)
        source = bound.tensor("source") or bound.tensor("src") or bound.tensor("values")
        read = _index_bytes(bound) + (min(source.distinct_bytes, touched * source.item_bytes) if source else 0)
        if not _in_place(bound):
            return read + self.distinct_bytes, self.distinct_bytes
        written = touched * self.item_bytes
        return read + (written if accumulates or bound.flag("accumulate") else 0), written

    return moved


def _in_place(bound: Bound) -> bool:
    alias = bound.overload._schema.arguments[0].alias_info
    return alias is not None and bool(alias.is_write)


def _accumulated(bound: Bound, outputs: list[Tensor]) -> int:
    """An operation for every element of the source that is used."""
    return _touched(bound) if _target(bound).floating else 0


def _put(bound: Bound, outputs: list[Tensor]) -> int:
    return _accumulated(bound, outputs) if bound.flag("accumulate") else 0


RULES = (
    Rule(("gather", "index_select", "embedding", "take", "take_along_dim"), no_flops, bytes=_gathered),
    Rule(("index",), no_flops, outputs=_indexed, bytes=_gathered),
    Rule(("embedding_dense_backward",), lambda bound, outputs: bound.needed("grad_output").elements),
    Rule(("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only"), _bag_flops, bytes=_bagged),
    Rule(("index_copy", "scatter", "index_fill", "masked_scatter"), no_flops, bytes=_scattered(accumulates=False)),
    Rule(
        ("index_put", "_index_put_impl"),
        _put,
        outputs=lambda bound: [_target(bound)],
        bytes=_scattered(accumulates=False),
    ),
    Rule(("scatter_add", "index_add"), _accumulated, bytes=_scattered(accumulates=True)),
    # the profiler does not record the name of the reduction, without which PyTorch does not run
    Rule(
        ("scatter_reduce", "index_reduce"),
        _accumulated,
        outputs=lambda bound: [_target(bound)],
        bytes=_scattered(accumulates=True),
    ),
)
