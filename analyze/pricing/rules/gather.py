"""Indexed access touches the elements that are asked for, not the tensor they lie in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyze.pricing.rules.rule import Rule, no_flops
from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound


def _index_bytes(bound: Bound) -> int:
    values = [bound.arguments.get(name) for name in ("index", "indices")]
    tensors = [t for v in values for t in (v if isinstance(v, list) else [v]) if isinstance(t, Tensor)]
    return sum(t.distinct_bytes for t in tensors)


def _gathered(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """Read what is written, and the index."""
    written = sum(t.distinct_bytes for t in outputs)
    return written + _index_bytes(bound), written


def _scattered_in_place(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """Read the source and the index, write the source's elements; a filling scalar is read from nowhere."""
    source = bound.tensor("source") or bound.tensor("src") or bound.tensor("values")
    index = bound.tensor("index")
    self = bound.tensor("self")
    if source is None:
        touched = index.elements * self.item_bytes if index and self else 0
        return _index_bytes(bound), touched
    touched = (
        min(source.elements, index.elements) if index and len(index.shape) == len(source.shape) else source.elements
    )
    return touched * source.item_bytes + _index_bytes(bound), touched * source.item_bytes


def _scattered(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """In place only the scattered elements move; out of place the whole of self is copied first."""
    read, written = _scattered_in_place(bound, outputs)
    self = bound.tensor("self")
    if bound.overload._schema.is_mutable or self is None:
        return read, written
    return read + self.distinct_bytes, self.distinct_bytes


RULES = (
    Rule(("gather", "index_select", "embedding", "index", "take", "take_along_dim"), no_flops, bytes=_gathered),
    Rule(
        ("index_copy", "index_put", "_index_put_impl", "scatter", "index_fill", "masked_scatter"),
        no_flops,
        bytes=_scattered,
    ),
)
