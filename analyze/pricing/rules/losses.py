"""Losses by the operations of an element, and their gradients.

The negative log-likelihood reads one log-probability of each row, and its gradient writes one: the zeros of the others
are another operator's (``aten/src/ATen/native/cuda/NLLLoss2d.cu``, ``Loss.cu``).
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Flops, Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor, total_bytes


def _per_element(operations: int, weighted: int = 0) -> Flops:
    """``operations`` for every element of the scores, more with a weight."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        return bound.needed("self").elements * (operations + (weighted if bound.tensor("weight") else 0))

    return flops


def _chosen(bound: Bound) -> int:
    """Bytes of one log-probability, and of one weight, for every row."""
    rows = bound.needed("target").elements
    weight = bound.tensor("weight")
    return rows * bound.needed("self").item_bytes + (
        min(weight.distinct_bytes, rows * weight.item_bytes) if weight else 0
    )


def _likelihood(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    return _chosen(bound) + bound.needed("target").distinct_bytes, total_bytes(outputs)


def _likelihood_gradient(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    written = bound.needed("target").elements * outputs[0].item_bytes
    weights = _chosen(bound) - bound.needed("target").elements * bound.needed("self").item_bytes
    return total_bytes(bound.tensors("grad_output", "target", "total_weight")) + weights, written


RULES = (
    Rule(("nll_loss_forward", "nll_loss2d_forward"), lambda bound, outputs: bound.needed("target").elements,
         bytes=_likelihood),
    Rule(("nll_loss_backward", "nll_loss2d_backward"), no_flops, bytes=_likelihood_gradient),
    # subtract, square, add; the gradient: subtract and two products
    Rule(("mse_loss", "mse_loss_backward"), _per_element(3)),
    # subtract, absolute value, two products; the gradient takes a quotient and a product
    Rule(("smooth_l1_loss", "huber_loss"), _per_element(4)),
    Rule(("smooth_l1_loss_backward", "huber_loss_backward"), _per_element(3)),
    # two logarithms, three differences, two products; the gradient three differences, two products
    Rule(("binary_cross_entropy", "binary_cross_entropy_with_logits"), _per_element(7, 1)),
    Rule(("binary_cross_entropy_backward",), _per_element(5, 1)),
    # log(1 + exp(-y·x)); the gradient divides again
    Rule(("soft_margin_loss",), _per_element(5)),
    Rule(("soft_margin_loss_backward",), _per_element(6)),
    Rule(("multi_margin_loss", "multilabel_margin_loss_forward"), _per_element(3, 1)),
    Rule(("multi_margin_loss_backward", "multilabel_margin_loss_backward"), _per_element(2, 1)),
)  # fmt: skip
