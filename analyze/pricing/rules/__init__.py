"""FLOP and byte rules, a file per family. PyTorch answers for shapes, dtypes and aliasing.

Conventions: a multiply-add is 2; an arithmetic operation is 1 an element, a transcendental function too; comparison,
integer arithmetic and data movement are 0.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules import (
    activation,
    allocation,
    attention,
    collective,
    convolution,
    experts,
    gather,
    kv_cache,
    matmul,
    normalization,
    pointwise,
    quantization,
    reduction,
    rotary,
)
from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule

RULES: dict[str, Rule] = {
    name: rule
    for module in (
        matmul, attention, convolution, normalization, pointwise, quantization, reduction, gather, allocation,
    )
    for rule in module.RULES
    for name in rule.operators
}  # fmt: skip

ENGINE_RULES: dict[str, EngineRule] = {
    name: rule
    for module in (
        matmul, attention, normalization, rotary, activation, quantization, kv_cache, experts, collective,
    )
    for rule in module.ENGINE_RULES
    for name in rule.operators
}  # fmt: skip


def find(operator: str) -> Rule | None:
    """The rule for an operator of ``aten``, by its name without overload and trailing underscore."""
    if not operator.startswith("aten::"):
        return None
    return RULES.get(base_name(operator))


def find_engine(operator: str) -> EngineRule | None:
    """The rule for an operator that PyTorch does not know, by its name without overload."""
    return ENGINE_RULES.get(operator.partition(".")[0])
