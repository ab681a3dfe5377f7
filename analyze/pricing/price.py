"""The price of a call: by shapes that rules of our own give, else by PyTorch's.

Some operators crash PyTorch or never return. Price recorded signatures through
:mod:`ridgeline.analyze.pricing.pricer`, which asks PyTorch in a child process, if it must be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ridgeline.analyze.pricing.binding import Bound, bind, reads_and_writes
from ridgeline.analyze.pricing.cost import Price, from_inputs
from ridgeline.analyze.pricing.engines import find as find_engine
from ridgeline.analyze.pricing.engines.collectives import with_message
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.outputs import RULES as RESULTS
from ridgeline.analyze.pricing.outputs import outputs
from ridgeline.analyze.pricing.rules import find, sparse, triton
from ridgeline.analyze.pricing.rules.rule import fit
from ridgeline.analyze.pricing.schemas import NAMESPACE, schemas
from ridgeline.analyze.pricing.signature import Call, Tensor, parse
from ridgeline.analyze.reading.columns import Signature

LARGEST_BYTES = 1 << 63
"""PyTorch refuses tensors of so many bytes."""

Ask = Callable[[Bound], list[Tensor] | None]
"""The results of a call by PyTorch, None if it refuses the call."""


class Unanswered(Exception):
    """No rule of our own gives the results of the call: PyTorch must be asked."""


def leave_open(bound: Bound) -> list[Tensor] | None:
    """Raise :class:`Unanswered`."""
    raise Unanswered(bound.full_name)


def ask_pytorch(bound: Bound) -> list[Tensor] | None:
    """Return PyTorch's answer, in this process, which imports it at the first call."""
    from ridgeline.analyze.pricing import meta

    return meta.outputs(bound)


def needs_pytorch(operator: str) -> bool:
    """Return True if PyTorch has results for calls of the operator, and no rule of our own gives those of any."""
    name = operator.removeprefix(NAMESPACE).partition(".")[0]
    rule = find(operator)
    if not operator.startswith(NAMESPACE) or {name, name.removesuffix("_")} & RESULTS.keys() or (rule and rule.outputs):
        return False
    return any(schema.asks_pytorch for schema in schemas(name))


def price_all(signatures: Iterable[Signature]) -> list[Price]:
    """The price of each signature, in this process. Raises only ``MemoryError``, whatever a signature contains."""
    return [price(parse(signature)) for signature in signatures]


def price(call: Call, ask: Ask = ask_pytorch) -> Price:
    """The price by the results' shapes and the rules' FLOPs, else by the bytes of the recorded operands.

    Raises :class:`Unanswered` if ``ask`` does, and ``MemoryError`` if the price took more memory than this process may
    have: PyTorch neither answered nor refused.
    """
    try:
        # in doubles, in which a rule from outside may not return its numbers
        answer = (_by_rule(call, ask) or _unpriced(call)).in_doubles()
    except (MemoryError, Unanswered):
        raise
    except Exception:  # a signature is foreign text, and its operands may not fit the rule or PyTorch
        answer = _unpriced(call)
    return with_message(call, answer)


def _unpriced(call: Call) -> Price:
    """The price by the recorded operands. What an operator calls that is always composite has prices of its own."""
    price = from_inputs(call)
    if not call.operator.startswith(NAMESPACE):
        return price
    overloads = schemas(call.operator.removeprefix(NAMESPACE).partition(".")[0])
    run = [schema for schema in overloads if schema.may_run]
    return price._replace(composite=bool(run) and all(schema.is_composite for schema in run))


def _by_rule(call: Call, ask: Ask) -> Price | None:
    if 0 in [t.item_bytes for t in call.tensors]:
        return None
    rule = find_engine(call.operator)
    if rule is None and call.operator.startswith("triton_"):
        if (moved := triton.bytes_moved(call)) is None:
            return None
        confidence = "high" if triton.certain(call) else "low"
        return Price(triton.flops(call), *moved, call.precision, False, "rule", confidence)
    if rule:
        arguments, read, written = fit(rule, call)
        # the precision of the first floating-point tensor that the operator reads
        inputs = [v for v, name in zip(call.inputs, rule.arguments.split(), strict=False) if not name.startswith("=")]
        precision = Call(call.operator, inputs).precision or call.precision
        confidence = "high" if rule.certain(arguments) else "low"
        return Price(rule.flops(arguments), read, written, precision, False, "rule", confidence)
    bound = bind(call)
    if bound is None or max([t.elements * t.item_bytes for t in call.tensors], default=0) >= LARGEST_BYTES:
        return None
    if any(t.is_sparse for t in call.tensors) and not bound.schema.is_view:
        return sparse.price(call, bound)
    produced = _results(bound, ask)
    if produced is None:
        return from_inputs(call)._replace(composite=bound.composite)
    return _from_results(call, bound, produced)


def _results(bound: Bound, ask: Ask) -> list[Tensor] | None:
    """The results by the rule, which knows better than PyTorch; by our shapes; by PyTorch; by the rule otherwise."""
    rule = find(bound.full_name)
    if rule and rule.outputs and (produced := rule.outputs(bound)) is not None:
        return produced
    if bound.callable and (produced := _ours_or_pytorchs(bound, ask)) is not None:
        return produced
    return rule.otherwise(bound) if rule and rule.otherwise else None


def _ours_or_pytorchs(bound: Bound, ask: Ask) -> list[Tensor] | None:
    """The results by our shapes, else by PyTorch; None if PyTorch would refuse the call, or need not be asked."""
    try:
        produced = outputs(bound)
    except ValueError:  # an argument without which PyTorch gives no answer either is not recorded
        return None
    if produced is None:
        return ask(bound) if bound.schema.asks_pytorch else None
    return None if any(t.elements * t.item_bytes >= LARGEST_BYTES for t in produced) else produced


def _from_results(call: Call, bound: Bound, produced: list[Tensor]) -> Price:
    """The price by the results of the call."""
    rule = find(call.operator)
    if rule and rule.bytes:
        read, written = rule.bytes(bound, produced)
    else:
        overwrites, ignores = (rule.overwrites, rule.ignores) if rule else (False, ())
        read, written = reads_and_writes(bound, produced, overwrites=overwrites, ignores=ignores)
    precision = call.precision or (produced[0].precision if produced else None)
    if rule:
        method, flops = "rule" if rule.outputs else "meta", rule.flops(bound, produced)
        return Price(flops, read, written, precision, bound.composite, method, "low" if flops is None else "high")
    moves_data = family(call.operator, "", "kernel") in ("copy", "gather", "embedding", "sampling")
    if read + written == 0 or bound.composite or moves_data:
        return Price(0, read, written, precision, bound.composite, "meta", "high")
    if bound.pointwise:
        parts = 2 if produced and produced[0].precision.startswith("complex") else 1
        flops = parts * produced[0].elements if produced and produced[0].floating else 0
        return Price(flops, read, written, precision, False, "tag", "high")
    return Price(None, read, written, precision, False, "shapes", "low")
