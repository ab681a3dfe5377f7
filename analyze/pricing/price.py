"""Price signatures: several of them in, their costs out.

PyTorch is asked in this very process, and some operator may end that, or take it for ever: who prices what others
recorded does so by :mod:`ridgeline.analyze.pricing.pricer`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ridgeline.analyze.pricing import meta
from ridgeline.analyze.pricing.cost import Price, from_inputs
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.rules import find, find_engine, triton
from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule, fit
from ridgeline.analyze.pricing.signature import Call, Tensor, parse
from ridgeline.analyze.reading.columns import Signature


def price_all(signatures: Iterable[Signature]) -> list[Price]:
    """Price each signature; for what a signature says raises nothing but ``MemoryError``."""
    return [price(parse(signature)) for signature in signatures]


def price(call: Call) -> Price:
    """Ask PyTorch for shapes, the rules for FLOPs; fall back to the bytes of the recorded operands.

    Raises ``MemoryError`` where that took more memory than this process may have: no answer, and no refusal either.
    """
    try:
        return _by_rule(call) or from_inputs(call)
    except MemoryError:
        raise
    except Exception:  # operands of a form that the rule or torch does not know; a signature is somebody else's text
        return from_inputs(call)


def _by_rule(call: Call) -> Price | None:
    if any(t.item_bytes == 0 for t in call.tensors):
        return None
    if call.operator.startswith("triton_"):
        return _from_triton(call)
    if rule := find_engine(call.operator):
        return _from_engine(call, rule)
    bound = meta.bind(call)
    return _from_torch(call, bound, find(call.operator)) if bound else None


def _from_torch(call: Call, bound: meta.Bound, rule: Rule | None) -> Price | None:
    produced = _produced(bound, rule)
    if produced is None:
        return None
    if rule and rule.bytes:
        read, written = rule.bytes(bound, produced)
    else:
        read, written = meta.reads_and_writes(bound, produced, overwrites=rule is not None and rule.overwrites)
    precision = call.precision or (produced[0].precision if produced else None)
    if rule:
        method, flops = "rule" if rule.outputs else "meta", rule.flops(bound, produced)
        return Price(flops, read, written, precision, bound.composite, method, "low" if flops is None else "high")
    if read + written == 0 or bound.composite or _moves_data(call.operator):
        return Price(0, read, written, precision, bound.composite, "meta", "high")
    if bound.pointwise:
        flops = produced[0].elements if produced and produced[0].floating else 0
        return Price(flops, read, written, precision, False, "tag", "high")
    return Price(None, read, written, precision, False, "shapes", "low")


def _produced(bound: meta.Bound, rule: Rule | None) -> list[Tensor] | None:
    """What the call returns: as the rule has it, else PyTorch, else the rule again."""
    produced = rule.outputs(bound) if rule and rule.outputs else None
    if produced is None:
        produced = meta.outputs(bound)
    return rule.otherwise(bound) if produced is None and rule and rule.otherwise else produced


def _from_engine(call: Call, rule: EngineRule) -> Price:
    """By the rule's names; at the precision of the first floating-point tensor that it reads."""
    arguments, read, written = fit(rule, call)
    inputs = [v for v, name in zip(call.inputs, rule.arguments.split(), strict=False) if not name.startswith("=")]
    precision = Call(call.operator, inputs).precision or call.precision
    confidence = "high" if rule.certain(arguments) else "low"
    return Price(rule.flops(arguments), read, written, precision, False, "rule", confidence)


def _from_triton(call: Call) -> Price | None:
    moved = triton.bytes_moved(call)
    if moved is None:
        return None
    confidence = "high" if triton.certain(call) else "low"
    return Price(triton.flops(call), *moved, call.precision, False, "rule", confidence)


def _moves_data(operator: str) -> bool:
    return family(operator, "", "kernel") in ("copy", "gather", "embedding", "sampling")


__all__ = ["Price", "price", "price_all"]
