"""FLOP and byte rules, a file per family. PyTorch answers for shapes, dtypes and aliasing.

Conventions: a multiply-add is 2; an arithmetic operation is 1 an element, a transcendental function too; comparison,
integer arithmetic and data movement are 0.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules import (
    attention,
    collective,
    convolution,
    experts,
    gather,
    matmul,
    normalization,
    pointwise,
    quantization,
    reduction,
    rotary,
)
from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule

_OF_TORCH = (matmul, attention, convolution, normalization, pointwise, quantization, reduction, gather)
_OF_ENGINES = (matmul, attention, normalization, rotary, pointwise, quantization, gather, experts, collective)
RULES: dict[str, Rule] = {name: rule for module in _OF_TORCH for rule in module.RULES for name in rule.operators}
ENGINE_RULES: dict[str, EngineRule] = {
    name: rule for module in _OF_ENGINES for rule in module.ENGINE_RULES for name in rule.operators
}


def find(operator: str) -> Rule | None:
    """The rule for an operator of ``aten``, by its name without overload and trailing underscore."""
    return RULES.get(base_name(operator)) if operator.startswith("aten::") else None


def find_engine(operator: str) -> EngineRule | None:
    """The rule for an operator that PyTorch does not know, by its name without overload."""
    return ENGINE_RULES.get(operator.partition(".")[0])
