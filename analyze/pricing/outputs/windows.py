"""Windows that slide over an image or a sequence: convolutions, pooling, padding and resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    check,
    dense,
    integer,
    integers,
    like,
    reals,
    same_as,
    table,
    truths,
    wanted,
)
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _each(numbers: Sequence[int], dimensions: int) -> list[int]:
    """One number holds for all dimensions."""
    check(len(numbers) in (1, dimensions))
    return list(numbers) * dimensions if len(numbers) == 1 else list(numbers)


def _source(call: Arguments) -> Tensor:
    return call.tensor("input") or call.needed("self")


def convolved(call: Arguments, *, transposed: bool = False, depthwise: bool = False) -> Result:
    """Positions of the kernel in the padded input; of a transposed convolution, the input that has such positions."""
    source, weight = _source(call), call.needed("weight")
    dimensions = len(weight.shape) - 2
    bias = call.tensor("bias")
    if bias is not None and bias.precision != source.precision:
        raise ValueError("input and bias have different types")
    check(dimensions >= 1 and len(source.shape) in (dimensions + 1, dimensions + 2))
    transposed = transposed or call.flag("transposed")
    stride, dilation, more = (
        _each(integers(call, name, [default]), dimensions)
        for name, default in (("stride", 1), ("dilation", 1), ("output_padding", 0))
    )
    kernel = weight.shape[2:]
    padding = call.arguments.get("padding")
    text = padding if isinstance(padding, str) and padding.strip("'\"") in ("same", "valid") else None
    if text is not None:
        both = [gap * (k - 1) if "same" in text else 0 for k, gap in zip(kernel, dilation, strict=True)]
    else:
        both = [2 * n for n in _each(integers(call, "padding", [0]), dimensions)]
    channels_in = source.shape[-dimensions - 1]
    # a depthwise convolution has no argument for its groups
    groups = integer(call, "groups", channels_in if depthwise else 1)
    sizes = zip(source.shape[-dimensions:], kernel, both, stride, dilation, more, strict=True)
    check(min(stride) > 0 and groups > 0)
    if transposed:
        check(channels_in == weight.shape[0])
        shape = [(n - 1) * step - pad + gap * (k - 1) + 1 + extra for n, k, pad, step, gap, extra in sizes]
        channels = weight.shape[1] * groups
    else:
        check(channels_in == weight.shape[1] * groups)
        shape = [(n + pad - gap * (k - 1) - 1) // step + 1 for n, k, pad, step, gap, _ in sizes]
        channels = weight.shape[0]
    return [dense((*source.shape[: -dimensions - 1], channels, *shape), source.precision)]


def _transposed(call: Arguments) -> Result:
    return convolved(call, transposed=True)


def _depthwise(call: Arguments) -> Result:
    return convolved(call, depthwise=True)


def _convolution_gradients(call: Arguments) -> Result:
    """Gradients of input, weight and bias, as the mask asks for them."""
    for_input, for_weight, for_bias = truths(call, "output_mask", 3)
    result = [_source(call)] if for_input else []
    gradient, weight = call.needed("grad_output"), call.needed("weight")
    if for_weight:
        result.append(weight)
    if for_bias:
        channels = gradient.shape[-len(weight.shape) + 1]
        result.append(dense(integers(call, "bias_sizes", [channels]), gradient.precision))
    return [like(tensor) for tensor in result]


def _pooled(dimensions: int, *, indices: bool = False) -> OutputRule:
    """One element for each position of a window; ``indices`` adds those of the extremes."""

    def outputs(call: Arguments) -> Result:
        source = _source(call)
        check(len(source.shape) in (dimensions + 1, dimensions + 2))
        kernel = _each(integers(call, "kernel_size"), dimensions)
        stride = _each(integers(call, "stride", kernel) or kernel, dimensions)
        padding = _each(integers(call, "padding", [0]), dimensions)
        dilation = _each(integers(call, "dilation", [1]), dimensions)
        check(min(stride) > 0 and min(kernel) > 0)
        shape = []
        for n, k, step, pad, gap in zip(source.shape[-dimensions:], kernel, stride, padding, dilation, strict=True):
            check(pad * 2 <= k)
            span = n + 2 * pad - gap * (k - 1) - 1
            size = span // step + 1
            if call.flag("ceil_mode"):
                size = -(-span // step) + 1
                # the last window must start inside the input or its left padding
                size -= (size - 1) * step >= n + pad
            check(size >= 1)
            shape.append(size)
        return _with_indices(source, shape, indices=indices)

    return outputs


def _with_indices(source: Tensor, shape: Sequence[int], *, indices: bool) -> Result:
    shape = (*source.shape[: -len(shape)], *shape)
    return [dense(shape, source.precision), *([dense(shape, "int64")] if indices else [])]


def _adaptive(dimensions: int, *, indices: bool = False) -> OutputRule:
    def outputs(call: Arguments) -> Result:
        source = _source(call)
        check(len(source.shape) in (dimensions + 1, dimensions + 2))
        return _with_indices(source, _each(integers(call, "output_size"), dimensions), indices=indices)

    return outputs


def _unpooled(dimensions: int) -> OutputRule:
    def outputs(call: Arguments) -> Result:
        source = call.needed("self")
        return [dense((*source.shape[:-dimensions], *integers(call, "output_size")), source.precision)]

    return outputs


def _resampled(dimensions: int) -> OutputRule:
    """Of the ``output_size``, or the input's size times the scale factors."""

    def outputs(call: Arguments) -> Result:
        source = _source(call)
        check(len(source.shape) == dimensions + 2)
        sizes = source.shape[2:]
        if call.arguments.get("output_size") is not None:
            shape = integers(call, "output_size")
        else:
            factors = reals(call, "scale_factors")
            if factors is None:
                raise ValueError("neither an output size nor scale factors are recorded")
            check(len(factors) == dimensions)
            shape = [int(n * factor) for n, factor in zip(sizes, factors, strict=True)]
        check(len(shape) == dimensions and min(shape) > 0)
        return [dense((*source.shape[:2], *shape), source.precision)]

    return outputs


def _of_input_size(call: Arguments) -> Result:
    return [dense(integers(call, "input_size"), call.needed("grad_output").precision)]


def _padded(name: str, dimensions: int | None = None) -> OutputRule:
    """More elements before and after; pairs of numbers count from the last dimension."""

    def outputs(call: Arguments) -> Result:
        tensor, pads = call.needed("self"), integers(call, name)
        if dimensions is not None:
            pads = _each(pads, 2 * dimensions)
            check(len(tensor.shape) in (dimensions + 1, dimensions + 2))
        check(len(pads) % 2 == 0 and len(pads) // 2 <= len(tensor.shape))
        shape = list(tensor.shape)
        for i, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True), 1):
            shape[-i] += before + after
        return [dense(shape, tensor.precision)]

    return outputs


def _sampled(call: Arguments) -> Result:
    """One value a channel for each position of the grid."""
    source, grid = call.needed("input"), call.needed("grid")
    check(len(source.shape) == len(grid.shape) in (4, 5) and grid.shape[-1] == len(source.shape) - 2)
    check(source.shape[0] == grid.shape[0])
    return [dense((*source.shape[:2], *grid.shape[1:-1]), source.precision)]


def _affine_grid(call: Arguments) -> Result:
    batch, _, *sizes = integers(call, "size")
    return [dense((batch, *sizes, len(sizes)), call.needed("theta").precision)]


def _columns(call: Arguments) -> Result:
    """The elements of each window as a column."""
    source = call.needed("self")
    kernel, dilation, padding, stride = (
        _each(integers(call, name), 2) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    check(len(source.shape) in (3, 4) and min(stride) > 0)
    positions = [
        (n + 2 * pad - gap * (k - 1) - 1) // step + 1
        for n, k, gap, pad, step in zip(source.shape[-2:], kernel, dilation, padding, stride, strict=True)
    ]
    check(min(positions) > 0)
    shape = (*source.shape[:-3], source.shape[-3] * math.prod(kernel), math.prod(positions))
    return [dense(shape, source.precision)]


def _image(call: Arguments) -> Result:
    source, kernel = call.needed("self"), _each(integers(call, "kernel_size"), 2)
    check(len(source.shape) in (2, 3) and math.prod(kernel) > 0)
    size = _each(integers(call, "output_size"), 2)
    return [dense((*source.shape[:-2], source.shape[-2] // math.prod(kernel), *size), source.precision)]


def _shuffled(name: str, *, inverse: bool = False) -> OutputRule:
    """Channels to pixels, or back."""

    def outputs(call: Arguments) -> Result:
        source, factor = call.needed("self"), integer(call, name)
        check(len(source.shape) >= 3 and factor > 0)
        *batch, channels, height, width = source.shape
        if inverse:
            check(height % factor == 0 and width % factor == 0)
            return [dense((*batch, channels * factor**2, height // factor, width // factor), source.precision)]
        check(channels % factor**2 == 0)
        return [dense((*batch, channels // factor**2, height * factor, width * factor), source.precision)]

    return outputs


_FILTERS = {
    1: "upsample_nearest1d _upsample_nearest_exact1d upsample_linear1d",
    2: "upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa"
    " _upsample_bicubic2d_aa _upsample_lanczos2d_aa",
    3: "upsample_nearest3d _upsample_nearest_exact3d upsample_trilinear3d",
}

RULES = table(
    ("convolution _convolution conv1d conv2d conv3d cudnn_convolution mkldnn_convolution miopen_convolution"
     " cudnn_convolution_relu cudnn_convolution_add_relu miopen_convolution_relu miopen_convolution_add_relu"
     " miopen_depthwise_convolution convolution_overrideable _slow_conv2d_forward slow_conv3d_forward slow_conv3d"
     " thnn_conv2d slow_conv_dilated2d slow_conv_dilated3d"
     " _nnpack_spatial_convolution _convolution_mode", convolved),
    ("_conv_depthwise2d conv_depthwise3d", _depthwise),
    ("conv_transpose1d conv_transpose2d conv_transpose3d cudnn_convolution_transpose miopen_convolution_transpose"
     " slow_conv_transpose2d slow_conv_transpose3d", _transposed),
    ("convolution_backward convolution_backward_overrideable", _convolution_gradients),
    ("_slow_conv2d_backward", _convolution_gradients),
    ("max_pool1d", _pooled(1)), ("max_pool2d", _pooled(2)), ("max_pool3d", _pooled(3)),
    ("avg_pool1d", _pooled(1)), ("avg_pool2d", _pooled(2)), ("avg_pool3d", _pooled(3)),
    ("max_pool1d_with_indices", _pooled(1, indices=True)),
    ("max_pool2d_with_indices", _pooled(2, indices=True)),
    ("max_pool3d_with_indices", _pooled(3, indices=True)),
    ("max_pool2d_with_indices_backward max_pool3d_with_indices_backward avg_pool2d_backward avg_pool3d_backward"
     " _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_max_pool2d_backward"
     " adaptive_max_pool3d_backward reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward"
     " replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward"
     " max_pool2d_backward fractional_max_pool2d_backward", same_as("self")),
    ("adaptive_avg_pool1d", _adaptive(1)),
    ("adaptive_avg_pool2d _adaptive_avg_pool2d", _adaptive(2)),
    ("adaptive_avg_pool3d _adaptive_avg_pool3d", _adaptive(3)),
    ("adaptive_max_pool1d", _adaptive(1, indices=True)),
    ("adaptive_max_pool2d", _adaptive(2, indices=True)),
    ("adaptive_max_pool3d", _adaptive(3, indices=True)),
    ("fractional_max_pool2d", _adaptive(2, indices=True)),
    ("fractional_max_pool3d", _adaptive(3, indices=True)),
    ("max_unpool2d", _unpooled(2)), ("max_unpool3d", _unpooled(3)),
    *((names, _resampled(dimensions)) for dimensions, names in _FILTERS.items()),
    *((" ".join(f"{name}_backward" for name in names.split()), _of_input_size) for names in _FILTERS.values()),
    ("constant_pad_nd pad _pad_circular _pad_enum", _padded("pad")),
    ("reflection_pad1d replication_pad1d", _padded("padding", 1)),
    ("reflection_pad2d replication_pad2d", _padded("padding", 2)),
    ("reflection_pad3d replication_pad3d", _padded("padding", 3)),
    ("grid_sampler grid_sampler_2d grid_sampler_3d cudnn_grid_sampler", _sampled),
    ("grid_sampler_2d_backward grid_sampler_3d_backward", wanted("input", "grid")),
    ("affine_grid_generator", _affine_grid),
    ("im2col", _columns), ("col2im", _image),
    ("pixel_shuffle", _shuffled("upscale_factor")),
    ("pixel_unshuffle", _shuffled("downscale_factor", inverse=True)),
    ("channel_shuffle native_channel_shuffle", same_as("self")),
)  # fmt: skip
