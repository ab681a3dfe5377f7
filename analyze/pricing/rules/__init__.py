"""FLOP and byte rules for PyTorch's operators, a file per family. PyTorch answers for shapes, dtypes and aliasing.

Conventions: a multiply-add is 2; an arithmetic operation is 1 an element, a transcendental function too; comparison,
integer arithmetic and data movement are 0.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.outside import named, outside
from ridgeline.analyze.pricing.rules import (
    attention,
    convolution,
    gather,
    lists,
    losses,
    matmul,
    normalization,
    pointwise,
    quantization,
    recurrent,
    reduction,
    transforms,
    windows,
)
from ridgeline.analyze.pricing.rules.rule import Rule

_FAMILIES = (
    matmul, attention, convolution, normalization, pointwise, quantization, reduction, gather, lists, losses, recurrent,
    transforms, windows,
)  # fmt: skip
RULES: dict[str, Rule] = {name: rule for family in _FAMILIES for rule in family.RULES for name in rule.operators}


def find(operator: str) -> Rule | None:
    """The rule for an operator of ``aten``, by its name without overload and trailing underscore."""
    if not operator.startswith("aten::"):
        return None
    rule = outside().rules.get(named(operator))
    return rule if isinstance(rule, Rule) else RULES.get(base_name(operator))
