"""Reductions, counted by the operations an input element takes; comparisons are free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyze.pricing.rules.rule import Flops, Rule, no_flops
from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound


def _per_input(operations: int, per_output: int = 0) -> Flops:
    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        tensor = bound.tensor("self") or bound.tensor("input")
        if tensor is None or not outputs or not outputs[0].floating:
            return 0
        return operations * tensor.elements + per_output * outputs[0].elements

    return flops


RULES = (
    Rule(("sum", "nansum", "prod", "cumsum", "cumprod"), _per_input(1)),
    Rule(("mean",), _per_input(1, per_output=1)),
    Rule(("norm", "linalg_vector_norm"), _per_input(2, per_output=1)),
    Rule(("var", "std", "var_mean", "std_mean"), _per_input(4, per_output=1)),
    # subtract the maximum, exponentiate, add up, divide
    Rule(("_softmax", "_safe_softmax", "_log_softmax"), _per_input(4)),
    Rule(("logsumexp",), _per_input(3, per_output=1)),
    Rule(
        (
            "amax",
            "amin",
            "aminmax",
            "max",
            "min",
            "argmax",
            "argmin",
            "all",
            "any",
            "count_nonzero",
            "topk",
            "sort",
            "argsort",
        ),
        no_flops,
    ),
)
