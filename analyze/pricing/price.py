"""Price signatures: a frame of them in, their costs out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from analyze.columns import Signature
from analyze.families import family
from analyze.pricing import RULES_VERSION, meta
from analyze.pricing.rules import find
from analyze.pricing.rules.rule import Rule
from analyze.pricing.signature import Call, Tensor, parse


class Price(NamedTuple):
    """Cost of one call; what is None is unknown."""

    flops: int | None
    read_bytes: int | None
    write_bytes: int | None
    precision: str | None
    composite: bool
    method: str
    """meta: PyTorch's shapes and a rule; tag: PyTorch's shapes, one operation an element since it is tagged pointwise;
    shapes: PyTorch's shapes, FLOPs unknown; rule: a rule's shapes; inputs: recorded operands only; none."""
    confidence: str
    rules_version: int = RULES_VERSION


def price_all(signatures: Iterable[Signature]) -> list[Price]:
    """Price each signature; never raises for what a signature says."""
    return [price(parse(signature)) for signature in signatures]


def price(call: Call) -> Price:
    """Ask PyTorch for shapes, the rules for FLOPs; fall back to the bytes of the recorded operands."""
    try:
        bound = meta.bind(call)
        if bound is None or any(t.item_bytes == 0 for t in call.tensors):
            return _from_inputs(call)
        return _from_torch(call, bound, find(call.operator)) or _from_inputs(call)
    except Exception:  # operands of a form that the rule or torch does not know; a signature is somebody else's text
        return _from_inputs(call)


def _from_torch(call: Call, bound: meta.Bound, rule: Rule | None) -> Price | None:
    produced = rule.outputs(bound) if rule and rule.outputs else meta.outputs(bound)
    if produced is None:
        return None
    if rule and rule.bytes:
        read, written = rule.bytes(bound, produced)
    else:
        read, written = meta.reads_and_writes(bound, produced, overwrites=rule is not None and rule.overwrites)
    precision = call.precision or (produced[0].precision if produced else None)
    if rule:
        method = "rule" if rule.outputs else "meta"
        return Price(rule.flops(bound, produced), read, written, precision, bound.composite, method, "high")
    if read + written == 0 or bound.composite or _moves_data(call.operator):
        return Price(0, read, written, precision, bound.composite, "meta", "high")
    if bound.pointwise:
        flops = produced[0].elements if produced and produced[0].floating else 0
        return Price(flops, read, written, precision, False, "tag", "high")
    return Price(None, read, written, precision, False, "shapes", "low")


def _moves_data(operator: str) -> bool:
    return family(operator, "", "kernel") in ("copy", "gather", "embedding", "sampling")


def _from_inputs(call: Call) -> Price:
    """Each distinct tensor operand once; FLOPs unknown."""
    tensors: list[Tensor] = [t for t in call.tensors if t.item_bytes]
    if not tensors:
        return Price(None, None, None, call.precision, False, "none", "low")
    return Price(None, sum(t.distinct_bytes for t in tensors), 0, call.precision, False, "inputs", "low")


__all__ = ["Price", "price", "price_all"]
