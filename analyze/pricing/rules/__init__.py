"""FLOP and byte rules, a file per family. What PyTorch knows (shapes, dtypes, aliasing) is not repeated here.

Conventions: a multiply-add is 2; an arithmetic operation is 1 an element, a transcendental function too; comparison,
integer arithmetic and data movement are 0.
"""

from __future__ import annotations

from analyze.families import base_name
from analyze.pricing.rules import (
    allocation,
    attention,
    convolution,
    gather,
    matmul,
    normalization,
    pointwise,
    reduction,
)
from analyze.pricing.rules.rule import Rule

RULES: dict[str, Rule] = {
    name: rule
    for module in (matmul, attention, convolution, normalization, pointwise, reduction, gather, allocation)
    for rule in module.RULES
    for name in rule.operators
}


def find(operator: str) -> Rule | None:
    """The rule for an operator of ``aten``, by its name without overload and trailing underscore."""
    if not operator.startswith("aten::"):
        return None
    return RULES.get(base_name(operator))
