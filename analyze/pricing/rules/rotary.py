"""Rotary embedding: every rotated element is two products and a sum, 3 operations.

The rows of the table of cosines and sines that belong to the positions are read, at most all. Of partly rotated heads
only the rotated part counts.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import EngineRule
from ridgeline.analyze.pricing.signature import Arguments


def _rotated(call: Arguments, name: str) -> int:
    """Elements that are rotated: of every head as many as the table is wide."""
    tensor = call.tensor(name)
    if tensor is None:
        return 0
    width, head = call.needed("table").shape[-1], call.number("head") or tensor.shape[-1]
    return tensor.elements * min(width, head) // max(head, 1)


def _rows(call: Arguments) -> int:
    table = call.needed("table")
    return min(call.needed("positions").elements * table.shape[-1] * table.item_bytes, table.distinct_bytes)


def _rotation(call: Arguments) -> int:
    return 3 * sum(_rotated(call, name) for name in ("query", "key"))


def _turned_bytes(call: Arguments) -> int:
    return sum(_rotated(call, name) * call.needed(name).item_bytes for name in ("query", "key") if call.tensor(name))


ENGINE_RULES = (
    EngineRule(
        ("_C::rotary_embedding", "sgl_kernel::rotary_embedding"), "positions -query -key? _head -table",
        _rotation,
        # queries and keys are read and written in place
        lambda call: (_turned_bytes(call) + _rows(call), _turned_bytes(call)),
    ),
    EngineRule(
        ("sgl_kernel::apply_rope_pos_ids_cos_sin_cache",),
        "query key =turned_query =turned_key -table positions",
        _rotation, lambda call: (_rows(call), 0),
    ),
    EngineRule(
        ("_C::apply_vision_rotary_2c",), "=turned_query =turned_key query key cosine sine",
        lambda call: 3 * (call.needed("query").elements + call.needed("key").elements),
    ),
)  # fmt: skip
