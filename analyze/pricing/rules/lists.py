"""Operators on lists of tensors: arithmetic by the operations of an element, and the steps of optimizers.

A fused optimizer reads parameters, gradients, its states and the number of steps, and writes parameters and states.
Gradients are written only where they are scaled back, by a ``grad_scale``
(``aten/src/ATen/native/cuda/fused_adam_utils.cuh``, ``FusedSgdKernel.cu``, ``FusedAdagradKernel.cu``).
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.pointwise import ONE, per_element
from ridgeline.analyze.pricing.rules.rule import Flops, Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor, tensors_of, total_bytes

_ONE = (
    *ONE, "round", "acos", "asin", "atan", "cosh", "sinh", "erfc", "lgamma", "digamma", "frac",
)  # fmt: skip
_FREE = ("maximum", "minimum", "clamp_min", "clamp_max", "sign", "clone", "max")


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"_foreach_{name}" for name in names)


def _elements(bound: Bound) -> int:
    return sum(tensor.elements for tensor in tensors_of(bound.arguments.get("self")))


def _norm(bound: Bound, outputs: list[Tensor]) -> int:
    """A square and an addition for every element, a root of every result."""
    return 2 * _elements(bound) + len(outputs)


def _is_zero(bound: Bound, name: str) -> bool:
    """Whether a number is recorded and 0."""
    value = bound.arguments.get(name)
    try:
        return isinstance(value, str) and float(value) == 0
    except ValueError:
        return False


def _step(operations: int, *, decay: int = 0, nesterov: int = 0) -> Flops:
    """``operations`` for every element of the parameters, more with a decay of weights, a scale, Nesterov momentum."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        each = operations + (0 if _is_zero(bound, "weight_decay") else decay)
        each += 1 if bound.tensor("grad_scale") else 0
        if bound.arguments.get("nesterov") == "True":
            each += nesterov
        if "momentum" in bound.arguments and not bound.arguments.get("momentum_buffer_list"):
            each -= 3
        return each * _elements(bound)

    return flops


def _moved(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """Every tensor is read; parameters and states are written, gradients if they are scaled."""
    lists = {name: total_bytes(tensors_of(value)) for name, value in bound.arguments.items()}
    kept = () if bound.tensor("grad_scale") else ("grads",)
    written = (a.name for a in bound.schema.arguments if a.is_written and a.name not in kept)
    return sum(lists.values()), sum(lists.get(name, 0) for name in written)


RULES = (
    Rule(_named(_ONE), per_element(1)),
    Rule(_named(("addcmul", "addcdiv", "lerp")), per_element(3)),
    Rule(_named(("sigmoid",)), per_element(4)),
    Rule(_named(_FREE), no_flops),
    Rule(_named(("copy", "zero")), no_flops, overwrites=True),
    Rule(_named(("norm",)), _norm),
    Rule(_named(("powsum",)), lambda bound, outputs: 2 * _elements(bound)),
    # the scale; the search for infinities is comparison
    Rule(("_amp_foreach_non_finite_check_and_unscale",), lambda bound, outputs: _elements(bound)),
    # averages of the gradient 3 and of its square 4, a root scaled and shifted 3, the update 3
    Rule(("_fused_adamw", "_fused_adam"), _step(13, decay=2), bytes=_moved),
    # momentum 3 and the update 2
    Rule(("_fused_sgd",), _step(5, decay=2, nesterov=2), bytes=_moved),
    # the sum of squares 2, a root shifted 2, the update 3
    Rule(("_fused_adagrad",), _step(7, decay=2), bytes=_moved),
)
