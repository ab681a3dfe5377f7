"""Convolutions: 2 operations for every output element, input channel of its group and kernel position.

A transposed one takes 2 for every input element, output channel of its group and kernel position.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analyze.pricing.rules.rule import Rule
from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound


def _flops(bound: Bound, outputs: list[Tensor]) -> int:
    weight = bound.tensor("weight")
    if weight is None or not outputs:
        return 0
    spread = bound.tensor("input") if bound.flag("transposed") else outputs[0]
    return 2 * spread.elements * math.prod(weight.shape[1:]) if spread else 0


RULES = (
    Rule(("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "miopen_convolution"), _flops),
)
