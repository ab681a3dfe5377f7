"""What a call costs, and what its recorded operands alone say of that, for want of an answer of PyTorch."""

from __future__ import annotations

from typing import NamedTuple

from ridgeline.analyze.pricing.signature import Call

LARGEST_COST = 10**24
"""FLOPs or bytes of one call beyond this are a damaged signature's."""


class Price(NamedTuple):
    """Cost of one call; what is None is unknown."""

    flops: float | None
    read_bytes: float | None
    write_bytes: float | None
    precision: str | None
    composite: bool
    method: str
    """meta: PyTorch's shapes and a rule; tag: PyTorch's shapes, one operation an element since it is tagged pointwise;
    shapes: PyTorch's shapes, FLOPs unknown; rule: a rule's shapes; inputs: recorded operands only; none."""
    confidence: str

    def in_doubles(self) -> Price:
        """As the warehouse stores it: exact below 2^53, unknown where recorded sizes make it absurd."""
        flops, read, written = map(_double, self[:3])
        return self._replace(flops=flops, read_bytes=read, write_bytes=written)


def _double(value: float | None) -> float | None:
    return None if value is None or value > LARGEST_COST else float(value)


def from_inputs(call: Call) -> Price:
    """Each distinct tensor operand once; FLOPs unknown. Where an element's size is not recorded, bytes are too."""
    tensors = call.tensors
    if not tensors or any(t.item_bytes == 0 for t in tensors):
        return Price(None, None, None, call.precision, False, "none", "low")
    return Price(None, sum(t.distinct_bytes for t in tensors), 0, call.precision, False, "inputs", "low")
