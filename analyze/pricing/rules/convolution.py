"""Convolutions: 2 operations for every output element, input channel of its group and kernel position.

A transposed convolution takes 2 for every input element, output channel of its group and kernel position. The gradient
of the input and that of the weight each take as many as the convolution. Biases and fused activations count 0.
"""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Rule, contiguous
from ridgeline.analyze.pricing.signature import Tensor


def _flops(bound: Bound, outputs: list[Tensor]) -> int:
    """FLOPs of a convolution, or of its backward pass for each requested gradient; a bias' gradient is not counted."""
    source, weight = bound.tensors("input", "self")[0], bound.needed("weight")
    spread = source if _transposed(bound) else bound.tensor("grad_output") or outputs[0]
    gradients = 1
    if "output_mask" in bound.arguments:
        mask = str(bound.arguments["output_mask"]).strip("[]").replace(" ", "").split(",")[:2]
        gradients = sum(flag.lower() in ("true", "1") for flag in mask)
    return 2 * spread.elements * math.prod(weight.shape[1:]) * gradients


def _transposed(bound: Bound) -> bool:
    return bound.flag("transposed") or "transpose" in bound.full_name


def _outputs(bound: Bound) -> list[Tensor]:
    """The result of vendors' convolutions, which lack a meta kernel: positions of the kernel in the padded input."""
    (source,), weight = bound.tensors("input", "self"), bound.needed("weight")
    dimensions = len(weight.shape) - 2
    settings = []
    for name, default in (("padding", 0), ("stride", 1), ("dilation", 1), ("output_padding", 0)):
        values = bound.numbers(name) or [default]
        settings.append(values * dimensions if len(values) == 1 else values)  # one number holds for all dimensions
    sizes = zip(source.shape[-dimensions:], weight.shape[-dimensions:], *settings, strict=True)
    if _transposed(bound):
        shape = [(n - 1) * step - 2 * pad + gap * (k - 1) + 1 + more for n, k, pad, step, gap, more in sizes]
        channels = weight.shape[1] * (bound.number("groups") or 1)
    else:
        shape = [(n + 2 * pad - gap * (k - 1) - 1) // step + 1 for n, k, pad, step, gap, _ in sizes]
        channels = weight.shape[0]
    if dimensions < 1 or min(shape) < 0:
        raise ValueError("the kernel does not fit its input")
    return [contiguous((*source.shape[: -dimensions - 1], channels, *shape), source)]


RULES = (
    Rule(
        (
            "convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "miopen_convolution",
            "cudnn_convolution_relu", "cudnn_convolution_add_relu", "cudnn_convolution_transpose",
            "miopen_convolution_transpose", "miopen_depthwise_convolution", "convolution_overrideable",
            "_slow_conv2d_forward", "slow_conv3d_forward", "_conv_depthwise2d", "conv_depthwise3d",
            "slow_conv_transpose2d", "_nnpack_spatial_convolution",
            # composites, whose kernels have another operator unless that one was not recorded
            "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "thnn_conv2d",
        ),
        _flops,
        otherwise=_outputs,
    ),
    Rule(("convolution_backward",), _flops),
)  # fmt: skip
