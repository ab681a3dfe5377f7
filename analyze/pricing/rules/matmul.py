"""Matrix products: 2·M·N·K, of complex numbers 8·M·N·K; the addition of a bias is not counted (as FlopCounterMode).

A complex multiply-add is four real ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analyze.pricing.rules.rule import Rule
from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound

_LEFT = ("self", "input", "mat1", "batch1", "mat_a", "mat")
_LEFT_OF_SUM = ("mat1", "batch1", "mat")


def _product(bound: Bound, outputs: list[Tensor]) -> int:
    """Every output element sums over the inner dimension, the last of the left operand."""
    names = _LEFT_OF_SUM if any(bound.tensor(n) for n in _LEFT_OF_SUM) else _LEFT
    left = next((t for n in names if (t := bound.tensor(n))), None)
    if left is None or not left.shape or not outputs:
        return 0
    multiply_add = 8 if left.precision.startswith("complex") else 2
    return multiply_add * math.prod(outputs[0].shape) * left.shape[-1]


RULES = (
    Rule(
        ("mm", "addmm", "_addmm_activation", "bmm", "baddbmm", "mv", "addmv", "dot", "vdot", "_scaled_mm", "_int_mm"),
        _product,
    ),
    Rule(("linear", "mkldnn_linear", "_linear_pointwise"), _product),
)
