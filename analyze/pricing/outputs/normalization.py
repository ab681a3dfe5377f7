"""Normalizations with their statistics, and their gradients."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    check,
    dense,
    integer,
    integers,
    like,
    same_as,
    table,
    truths,
)
from ridgeline.analyze.pricing.outputs.dtypes import to_computed
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _normalized(call: Arguments) -> tuple[Tensor, int]:
    """The input, and the number of its normalized last dimensions."""
    tensor, shape = call.needed("input"), tuple(integers(call, "normalized_shape"))
    check(0 < len(shape) <= len(tensor.shape) and tensor.shape[-len(shape) :] == shape)
    return tensor, len(shape)


def _per_row(statistics: int) -> OutputRule:
    """The result, and so many statistics of each row in the type that a device computes in."""

    def outputs(call: Arguments) -> Result:
        tensor, count = _normalized(call)
        shape = (*tensor.shape[:-count], *(1,) * count)
        return [like(tensor), *[dense(shape, to_computed(tensor.precision))] * statistics]

    return outputs


def _row_gradients(call: Arguments) -> Result:
    """Gradients of the input, the weight and the bias, as the mask asks for them."""
    tensor, count = _normalized(call)
    flags = truths(call, "output_mask", 3 if "mean" in call.arguments else 2)
    affine = dense(tensor.shape[-count:], (call.tensor("weight") or tensor).precision)
    has = [True, call.tensor("weight") is not None, call.tensor("bias") is not None]
    return [
        result
        for result, flag, present in zip((like(tensor), affine, affine), flags, has, strict=False)
        if flag and present
    ]


def _groups(call: Arguments) -> Result:
    tensor = call.needed("input")
    batch, groups = integer(call, "N"), integer(call, "group")
    statistics = dense((batch, groups), tensor.precision)
    return [like(tensor), statistics, statistics]


def _group_gradients(call: Arguments) -> Result:
    tensor, channels = call.needed("input"), integer(call, "C")
    affine = dense((channels,), (call.tensor("weight") or tensor).precision)
    flags = truths(call, "output_mask", 3)
    return [result for result, flag in zip((like(tensor), affine, affine), flags, strict=True) if flag]


def _channels(tensor: Tensor) -> int:
    check(len(tensor.shape) >= 2)
    return tensor.shape[1]


def _per_channel(reserved: int, *, training: bool | None = None, stored: bool = False) -> OutputRule:
    """The result, two statistics of each channel (none in inference unless ``stored``), and ``reserved`` bytes."""

    def outputs(call: Arguments) -> Result:
        tensor = call.needed("input")
        trains = call.flag("training") if training is None else training
        count = _channels(tensor) if trains or stored else 0
        statistics = dense((count,), to_computed(tensor.precision))
        return [like(tensor), statistics, statistics, *[dense((0,), "uint8")] * reserved]

    return outputs


def _batch_gradients(gradient: str) -> OutputRule:
    """Gradients of the input, the weight and the bias."""

    def outputs(call: Arguments) -> Result:
        tensor, count = call.needed("input"), (_channels(call.needed("input")),)
        call.needed(gradient)
        weight = call.tensor("weight")
        affine = dense(count, weight.precision if weight else to_computed(tensor.precision))
        flags = truths(call, "output_mask", 3) if "output_mask" in call.arguments else [True] * 3
        return [result for result, flag in zip((like(tensor), affine, affine), flags, strict=True) if flag]

    return outputs


def _weight_norm(call: Arguments) -> Result:
    """The scaled weight, and a norm for each of the slices that the dimension counts."""
    weight, scale = call.needed("v"), call.needed("g")
    dim = integer(call, "dim", 0)
    shape = [n if i == dim else 1 for i, n in enumerate(weight.shape)]
    return [like(weight), dense(shape, to_computed(scale.precision))]


def _batch_statistics(call: Arguments) -> Result:
    """Mean and inverse deviation of each channel, as synchronized normalization computes them."""
    tensor = call.tensor("input") or call.needed("self")
    statistics = dense((_channels(tensor),), to_computed(tensor.precision))
    return [statistics, statistics]


def _gathered_statistics(call: Arguments) -> Result:
    mean = call.needed("mean")
    statistics = dense(mean.shape[1:], to_computed(mean.precision))
    return [statistics, statistics]


RULES = table(
    ("native_layer_norm", _per_row(2)),
    ("_fused_rms_norm", _per_row(1)),
    ("layer_norm rms_norm", _per_row(0)),
    ("native_layer_norm_backward _fused_rms_norm_backward", _row_gradients),
    ("native_group_norm", _groups),
    ("native_group_norm_backward", _group_gradients),
    ("group_norm instance_norm batch_norm", same_as("input")),
    ("native_batch_norm _native_batch_norm_legit", _per_channel(0, stored=True)),
    ("cudnn_batch_norm", _per_channel(1)),
    ("miopen_batch_norm", _per_channel(0)),
    ("_native_batch_norm_legit_no_training", _per_channel(0, training=False)),
    ("_batch_norm_with_update _batch_norm_with_update_functional", _per_channel(1, training=True)),
    ("_batch_norm_no_update", _per_channel(1, training=False)),
    ("_batch_norm_impl_index", _per_channel(1, stored=True)),
    ("native_batch_norm_backward batch_norm_backward", _batch_gradients("grad_out")),
    ("cudnn_batch_norm_backward miopen_batch_norm_backward", _batch_gradients("grad_output")),
    ("_weight_norm", same_as("v")),
    ("_weight_norm_interface", _weight_norm),
    ("_weight_norm_interface_backward", lambda call: [like(call.needed("saved_v")), like(call.needed("saved_g"))]),
    ("batch_norm_stats", _batch_statistics),
    ("batch_norm_gather_stats batch_norm_gather_stats_with_counts", _gathered_statistics),
    (
        "batch_norm_elemt batch_norm_backward_elemt",
        lambda call: [like(call.tensor("input") or call.needed("grad_out"))],
    ),
    ("renorm", same_as("self")),
)
