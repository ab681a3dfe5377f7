"""Matrix products: 2·M·N·K, of complex numbers 8·M·N·K; the addition of a bias is not counted (as FlopCounterMode).

A complex multiply-add is four real ones. A bias multiplied by 0 is not read. An operand of fp4 holds two numbers in a
byte, so its recorded sizes are half of the real ones. A grouped product multiplies every row by its own group's matrix,
and reads at most as many matrices as there are rows.
"""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Rule, contiguous
from ridgeline.analyze.pricing.signature import Tensor, total_bytes

_LEFT = ("self", "input", "mat1", "batch1", "mat_a", "mat")
_LEFT_OF_SUM = ("mat1", "batch1", "mat")
_FACTORS = (*_LEFT_OF_SUM, "mat2", "batch2", "vec")
_ZEROS = ("0", "0.", "0.0")
OUT_DTYPES = {"5": ("fp16", 2), "6": ("fp32", 4), "15": ("bf16", 2)}
"""c10::ScalarType of an ``out_dtype``, as Concrete Inputs prints it."""


def packed(tensor: Tensor) -> int:
    """Numbers in a recorded element."""
    return 2 if tensor.precision == "fp4" else 1


def _product(bound: Bound, outputs: list[Tensor]) -> int:
    """Every output element sums over the inner dimension, the last of the left operand."""
    # In a sum, `self` and `input` are the addend.
    names = _LEFT_OF_SUM if any(bound.tensor(n) for n in _LEFT_OF_SUM) else _LEFT
    left = next(iter(bound.tensors(*names)), None)
    if left is None or not left.shape or not outputs:
        return 0
    multiply_add = 8 if left.precision.startswith("complex") else 2
    return multiply_add * math.prod(outputs[0].shape) * left.shape[-1] * packed(left)


def _scaled_outputs(bound: Bound) -> list[Tensor]:
    """Results that the meta device refuses: of formats that it lacks, of shapes that a device's kernel pads."""
    left, right = bound.needed("self"), bound.needed("mat2")
    precision, item_bytes = OUT_DTYPES.get(str(bound.arguments.get("out_dtype")), (left.precision, left.item_bytes))
    # Without an out_dtype, products of such small types come out as bf16.
    if str(bound.arguments.get("out_dtype")) not in OUT_DTYPES and left.precision in ("fp4", "fp8"):
        precision, item_bytes = "bf16", 2
    return [contiguous((*left.shape[:-1], right.shape[-1]), Tensor((), (), precision, item_bytes))]


def _packed_outputs(bound: Bound) -> list[Tensor]:
    """Rows of packed weights are columns of the result; weights of 4 bits for a device are tiles of 8 of them."""
    left, weights = bound.needed("self"), bound.needed("mat2")
    columns = weights.shape[0] * (8 if len(weights.shape) == 4 else 1)
    return [contiguous((*left.shape[:-1], columns), left)]


def reached(choices: int, experts: int) -> float:
    """The share of experts that at least one of ``choices`` falls on, if each is as likely as any other."""
    return 1 - (1 - 1 / experts) ** choices if experts else 0.0


def _grouped(bound: Bound, outputs: list[Tensor]) -> int:
    """Two stacks of matrices multiply pairwise; otherwise groups divide the rows, columns or inner dimension."""
    left, right = bound.needed("self"), bound.needed("mat2")
    pairs = left.shape[0] if len(left.shape) == len(right.shape) == 3 else 1
    return 2 * pairs * math.prod(left.shape[-2:]) * right.shape[-1] * packed(left)


def _grouped_outputs(bound: Bound) -> list[Tensor]:
    left, right = bound.needed("self"), bound.needed("mat2")
    shape = (*left.shape[-2:-1], *right.shape[-1:])
    # Two stacks give a stack. Two matrices share the inner dimension, which `offs` divides: a matrix for each group.
    if len(left.shape) == len(right.shape):
        shape = ((left if len(left.shape) == 3 else bound.needed("offs")).shape[0], *shape)
    (result,) = _scaled_outputs(bound)
    return [contiguous(shape, result)]


def _grouped_bytes(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    left, right = bound.needed("self"), bound.needed("mat2")
    rest = bound.tensors("offs", "bias", "scale_a", "scale_b", "scale_result")
    used = right.distinct_bytes
    # rows divided among groups: some groups may have none
    if len(left.shape) == 2 and len(right.shape) == 3:
        used = round(used * reached(left.shape[0], right.shape[0]))
    return left.distinct_bytes + used + total_bytes(rest), outputs[0].distinct_bytes


RULES = (
    # a sum of products, and one of two vectors
    Rule(("addbmm",), lambda bound, outputs: _product(bound, outputs) * bound.needed("batch1").shape[0]),
    Rule(("addr",), lambda bound, outputs: 2 * outputs[0].elements),
    Rule(("mm", "bmm", "mv", "dot", "vdot", "linear", "mkldnn_linear", "_linear_pointwise", "matmul"), _product),
    # the factors, and the addend unless it is multiplied by 0
    Rule(
        ("addmm", "_addmm_activation", "baddbmm", "addmv"),
        _product,
        bytes=lambda bound, outputs: (
            total_bytes(bound.tensors(*_FACTORS, *(() if bound.arguments.get("beta") in _ZEROS else ("self",)))),
            total_bytes(outputs),
        ),
    ),
    Rule(("_scaled_mm", "_int_mm"), _product, otherwise=_scaled_outputs),
    Rule(
        (
            "_weight_int4pack_mm",
            "_weight_int8pack_mm",
            "_weight_int4pack_mm_for_cpu",
            "_weight_int4pack_mm_with_scales_and_zeros",
        ),
        _product,
        outputs=_packed_outputs,
    ),
    Rule(("_grouped_mm", "_scaled_grouped_mm"), _grouped, outputs=_grouped_outputs, bytes=_grouped_bytes),
)
