"""Normalizations, by the operations of an element."""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Flops, Rule
from ridgeline.analyze.pricing.signature import Tensor, tensors_of, total_bytes


def _per_element(operations: int, affine: int) -> Flops:
    """``operations`` an element, and ``affine`` more when there is a weight."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        tensor = bound.tensor("input")
        return tensor.elements * (operations + (affine if bound.tensor("weight") else 0)) if tensor else 0

    return flops


def _batch(*, training: bool | None = None) -> Flops:
    """Statistics and the result in training, as a layer norm; in inference a difference and a scale, and the affine."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int | None:
        trains = bound.flag("training") if training is None else training
        return _per_element(6 if trains else 2, 2)(bound, outputs)

    return flops


def _updated(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    """All tensors are read. Training writes statistics, the running ones too, which not every schema says."""
    read = total_bytes(tensor for value in bound.arguments.values() for tensor in tensors_of(value))
    if not bound.flag("training"):
        stored = outputs if "legit" in bound.full_name else outputs[:1]
        return read, total_bytes(stored)
    return read, total_bytes([*outputs, *bound.tensors("running_mean", "running_var")])


def _input(bound: Bound) -> list[Tensor]:
    return bound.tensors("input")


RULES = (
    # mean: 1; variance: subtract, square, add; result: subtract, scale; weight and bias
    Rule(("native_layer_norm", "native_group_norm", "layer_norm", "group_norm"), _per_element(6, 2)),
    Rule(
        ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit"), _batch(),
        otherwise=_input, bytes=_updated,
    ),
    Rule(("batch_norm",), _batch()),
    Rule(("_batch_norm_with_update",), _batch(training=True), otherwise=_input),
    Rule(("_native_batch_norm_legit_no_training", "_batch_norm_no_update"), _batch(training=False), otherwise=_input),
    # square, add; scale; weight
    Rule(("_fused_rms_norm", "rms_norm"), _per_element(3, 1)),
    # the normalized input again, two sums, and the gradient from these; weight and its gradient
    Rule(
        (
            "native_layer_norm_backward", "native_group_norm_backward", "native_batch_norm_backward",
            "cudnn_batch_norm_backward", "batch_norm_backward", "miopen_batch_norm_backward",
        ),
        _per_element(9, 3),
    ),
    Rule(("_fused_rms_norm_backward",), _per_element(6, 3)),
    # square, add; scale; and backward: product with the gradient, add; two scales and a difference
    Rule(("_weight_norm_interface",), lambda bound, outputs: 3 * bound.needed("v").elements),
    Rule(("_weight_norm_interface_backward",), lambda bound, outputs: 5 * bound.needed("saved_v").elements),
)  # fmt: skip
