"""The price of a call, and the price by its recorded operands alone, for calls that PyTorch does not answer."""

from __future__ import annotations

from typing import NamedTuple

from ridgeline.analyze.pricing.signature import Call, total_bytes

LARGEST_COST = 10**24
"""FLOPs or bytes of one call; a larger number comes from a damaged signature."""


class Price(NamedTuple):
    """Cost of one call; None is unknown."""

    flops: float | None
    read_bytes: float | None
    write_bytes: float | None
    precision: str | None
    composite: bool
    method: str
    """meta: PyTorch's shapes and a rule; tag: PyTorch's shapes and its pointwise tag, one operation an element; shapes:
    PyTorch's shapes, FLOPs unknown; rule: a rule's shapes; inputs: recorded operands only; none."""
    confidence: str
    collective: str | None = None
    """The kind of collective; None for any other operator, or if its message is unknown."""
    message_bytes: float | None = None
    ranks: int | None = None
    link_bytes: float | None = None
    """Bytes that cross a link, by nccl-tests' bus factors (:mod:`ridgeline.analyze.pricing.engines.collectives`)."""

    def in_doubles(self) -> Price:
        """The price as the warehouse stores it: exact below 2^53, None above ``LARGEST_COST``.

        Raises ``ValueError`` for a number below zero, or none (NaN): the rule that returned it is wrong.
        """
        numbers = (self.flops, self.read_bytes, self.write_bytes)
        if any(n is not None and not n >= 0 for n in numbers):
            raise ValueError(f"expected FLOPs and bytes from 0 on, found {numbers}")
        flops, read, written, message, link = (
            None if n is None or n > LARGEST_COST else float(n)
            for n in (self.flops, self.read_bytes, self.write_bytes, self.message_bytes, self.link_bytes)
        )
        return self._replace(flops=flops, read_bytes=read, write_bytes=written, message_bytes=message, link_bytes=link)


def from_inputs(call: Call) -> Price:
    """Each tensor operand read once, FLOPs unknown; bytes unknown too where an element's size is not recorded."""
    tensors = call.tensors
    if not tensors or any(t.item_bytes == 0 for t in tensors):
        return Price(None, None, None, call.precision, False, "none", "low")
    return Price(None, total_bytes(tensors), 0, call.precision, False, "inputs", "low")
