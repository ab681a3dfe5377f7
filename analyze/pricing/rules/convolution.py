"""Convolutions: 2 operations for every output element, input channel of its group and kernel position.

A transposed one takes 2 for every input element, output channel of its group and kernel position. Each gradient, of
the input and of the weight, takes as many as the convolution itself. A bias and a fused activation are not counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ridgeline.analyze.pricing.rules.rule import Rule, contiguous
from ridgeline.analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.meta import Bound


def _operands(bound: Bound) -> tuple[Tensor, Tensor]:
    (source,) = bound.tensors("input", "self")
    return source, bound.needed("weight")


def _flops(bound: Bound, outputs: list[Tensor]) -> int:
    source, weight = _operands(bound)
    spread = source if _transposed(bound) else outputs[0]
    return 2 * spread.elements * math.prod(weight.shape[1:])


def _backward(bound: Bound, outputs: list[Tensor]) -> int:
    """Of the gradients that are asked for; the bias' is a sum, and not counted."""
    source, weight = _operands(bound)
    spread = source if _transposed(bound) else bound.needed("grad_output")
    wanted = str(bound.arguments.get("output_mask")).strip("[]").replace(" ", "").split(",")[:2]
    return 2 * spread.elements * math.prod(weight.shape[1:]) * sum(flag.lower() in ("true", "1") for flag in wanted)


def _transposed(bound: Bound) -> bool:
    return bound.flag("transposed") or "transpose" in str(bound.overload)


def _outputs(bound: Bound) -> list[Tensor]:
    """For vendors' convolutions, which have no meta kernel: positions of the kernel in the padded input."""
    source, weight = _operands(bound)
    dimensions = len(weight.shape) - 2
    settings = [_spread(bound, name, default, dimensions) for name, default in _SETTINGS]
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


_SETTINGS = (("padding", 0), ("stride", 1), ("dilation", 1), ("output_padding", 0))


def _spread(bound: Bound, name: str, default: int, dimensions: int) -> list[int]:
    """A setting for each dimension; one number holds for all."""
    values = bound.numbers(name) or [default]
    return values * dimensions if len(values) == 1 else values


RULES = (
    Rule(
        (
            "convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "miopen_convolution",
            "cudnn_convolution_relu", "cudnn_convolution_add_relu", "cudnn_convolution_transpose",
            "miopen_convolution_transpose", "miopen_depthwise_convolution", "convolution_overrideable",
            "_slow_conv2d_forward", "slow_conv3d_forward", "_conv_depthwise2d", "conv_depthwise3d",
            "slow_conv_transpose2d", "_nnpack_spatial_convolution",
        ),
        _flops,
        otherwise=_outputs,
    ),
    Rule(("convolution_backward",), _backward),
)  # fmt: skip
