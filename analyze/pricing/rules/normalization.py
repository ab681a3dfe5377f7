"""Normalizations, counted by the operations an element takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyze.pricing.rules.rule import Flops, Rule
from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound


def _per_element(operations: int, affine: int) -> Flops:
    """``operations`` an element, and ``affine`` more when there is a weight."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        tensor = bound.tensor("input")
        return tensor.elements * (operations + (affine if bound.tensor("weight") else 0)) if tensor else 0

    return flops


RULES = (
    # mean: 1; variance: subtract, square, add; result: subtract, scale; weight and bias
    Rule(("native_layer_norm", "native_group_norm"), _per_element(6, 2)),
    Rule(("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit"), _per_element(6, 2)),
    # square, add; scale; weight
    Rule(("_fused_rms_norm", "rms_norm"), _per_element(3, 1)),
)
