"""Prices of signatures, computed in this process.

Some operators crash PyTorch or never return. Price recorded signatures through
:mod:`ridgeline.analyze.pricing.pricer`, which does this in a child process.
"""

from __future__ import annotations

from collections.abc import Iterable

from ridgeline.analyze.pricing import meta
from ridgeline.analyze.pricing.binding import Bound, bind, reads_and_writes
from ridgeline.analyze.pricing.cost import Price, from_inputs
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.rules import find, find_engine, triton
from ridgeline.analyze.pricing.rules.rule import Rule, fit
from ridgeline.analyze.pricing.signature import Call, parse
from ridgeline.analyze.reading.columns import Signature


def price_all(signatures: Iterable[Signature]) -> list[Price]:
    """The price of each signature. Raises only ``MemoryError``, whatever a signature contains."""
    return [price(parse(signature)) for signature in signatures]


def price(call: Call) -> Price:
    """The price by PyTorch's shapes and the rules' FLOPs, else by the bytes of the recorded operands.

    Raises ``MemoryError`` if that took more memory than this process may have: PyTorch neither answered nor refused.
    """
    try:
        return _by_rule(call) or from_inputs(call)
    except MemoryError:
        raise
    except Exception:  # a signature is foreign text, and its operands may not fit the rule or PyTorch
        return from_inputs(call)


def _by_rule(call: Call) -> Price | None:
    if any(t.item_bytes == 0 for t in call.tensors):
        return None
    if call.operator.startswith("triton_"):
        if (moved := triton.bytes_moved(call)) is None:
            return None
        confidence = "high" if triton.certain(call) else "low"
        return Price(triton.flops(call), *moved, call.precision, False, "rule", confidence)
    if rule := find_engine(call.operator):
        arguments, read, written = fit(rule, call)
        # the precision of the first floating-point tensor that the operator reads
        inputs = [v for v, name in zip(call.inputs, rule.arguments.split(), strict=False) if not name.startswith("=")]
        precision = Call(call.operator, inputs).precision or call.precision
        confidence = "high" if rule.certain(arguments) else "low"
        return Price(rule.flops(arguments), read, written, precision, False, "rule", confidence)
    bound = bind(call)
    return _from_torch(call, bound, find(call.operator)) if bound else None


def _from_torch(call: Call, bound: Bound, rule: Rule | None) -> Price | None:
    # The rule's outputs come first, then PyTorch's, then the rule's for calls that PyTorch refuses.
    produced = rule.outputs(bound) if rule and rule.outputs else None
    if produced is None:
        produced = meta.outputs(bound)
    if produced is None and rule and rule.otherwise:
        produced = rule.otherwise(bound)
    if produced is None:
        return None
    if rule and rule.bytes:
        read, written = rule.bytes(bound, produced)
    else:
        read, written = reads_and_writes(bound, produced, overwrites=rule is not None and rule.overwrites)
    precision = call.precision or (produced[0].precision if produced else None)
    if rule:
        method, flops = "rule" if rule.outputs else "meta", rule.flops(bound, produced)
        return Price(flops, read, written, precision, bound.composite, method, "low" if flops is None else "high")
    moves_data = family(call.operator, "", "kernel") in ("copy", "gather", "embedding", "sampling")
    if read + written == 0 or bound.composite or moves_data:
        return Price(0, read, written, precision, bound.composite, "meta", "high")
    if bound.pointwise:
        flops = produced[0].elements if produced and produced[0].floating else 0
        return Price(flops, read, written, precision, False, "tag", "high")
    return Price(None, read, written, precision, False, "shapes", "low")


__all__ = ["Price", "price", "price_all"]
