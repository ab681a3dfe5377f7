"""What a file of pricing rules imports: see 'Add a pricing rule' in analyze/README.md.

>>> from ridgeline.rules import EngineRule, each
>>> RULES = [EngineRule(("mylib::silu_and_mul",), "=result input", each("result", 5))]
>>> FAMILIES = {"mylib::silu_and_mul": "pointwise", "my_triton_norm_kernel": "normalization"}
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import (
    EngineRule,
    Rule,
    contiguous,
    each,
    never,
    no_flops,
    unknown_flops,
)
from ridgeline.analyze.pricing.signature import Arguments, Tensor, total_bytes

__all__ = [
    "Arguments",
    "Bound",
    "EngineRule",
    "Rule",
    "Tensor",
    "contiguous",
    "each",
    "never",
    "no_flops",
    "total_bytes",
    "unknown_flops",
]
