"""FLOP and byte rules, a file per family. PyTorch answers for shapes, dtypes and aliasing.

Conventions: a multiply-add is 2; an arithmetic operation is 1 an element, a transcendental function too; comparison,
integer arithmetic and data movement are 0.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.outside import named, outside
from ridgeline.analyze.pricing.rules import (
    attention,
    collective,
    convolution,
    experts,
    gather,
    lists,
    matmul,
    normalization,
    pointwise,
    quantization,
    recurrent,
    reduction,
    rotary,
)
from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule

_FAMILIES = (
    matmul, attention, convolution, normalization, rotary, pointwise, quantization, reduction, gather, experts,
    collective, lists, recurrent,
)  # fmt: skip
# A family may have rules for PyTorch's operators, for those of engines, or for both.
RULES: dict[str, Rule] = {
    name: rule for family in _FAMILIES for rule in getattr(family, "RULES", ()) for name in rule.operators
}
ENGINE_RULES: dict[str, EngineRule] = {
    name: rule for family in _FAMILIES for rule in getattr(family, "ENGINE_RULES", ()) for name in rule.operators
}


def find(operator: str) -> Rule | None:
    """The rule for an operator of ``aten``, by its name without overload and trailing underscore."""
    if not operator.startswith("aten::"):
        return None
    rule = outside().rules.get(named(operator))
    return rule if isinstance(rule, Rule) else RULES.get(base_name(operator))


def find_engine(operator: str) -> EngineRule | None:
    """The rule for an operator that PyTorch does not know, by its name without overload."""
    rule = outside().rules.get(named(operator))
    return rule if isinstance(rule, EngineRule) else ENGINE_RULES.get(operator.partition(".")[0])
