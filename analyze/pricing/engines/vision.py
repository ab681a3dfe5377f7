"""torchvision's own operators. Those of images (regions of interest) read at most the whole image.

``nms`` compares every pair of boxes and keeps the results as bits; sorting and the choice of the kept are operators of
``aten`` (``torchvision/csrc/ops/cuda/nms_kernel.cu``, ``roi_align_kernel.cu``, ``deform_conv2d_kernel.cu``).
"""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.rules.rule import EngineRule
from ridgeline.analyze.pricing.signature import Arguments

_IOU = 12
"""Operations of the overlap of two boxes: five areas' sides and products, a union, a comparison with its share."""


def _pairs(call: Arguments) -> int:
    boxes = call.needed("boxes").shape[0]
    return _IOU * boxes * (boxes - 1) // 2


def _kept(call: Arguments) -> tuple[int, int]:
    """Bits of 64 boxes for every box, written and read, and a flag of each box."""
    boxes = call.needed("boxes").shape[0]
    bits = boxes * math.ceil(boxes / 64) * 8
    return bits, bits + boxes


def _regions(call: Arguments, *, samples: bool) -> tuple[int, int]:
    """(elements of the result, samples of each); ValueError for a number of samples that depends on the regions."""
    image, regions = call.needed("image"), call.needed("regions")
    height, width = call.number("height"), call.number("width")
    if height is None or width is None:
        raise ValueError("the size of the pooled regions is not recorded")
    each = (call.number("samples") or 0) ** 2 if samples else 1
    return regions.shape[0] * image.shape[1] * height * width, each


def _aligned_flops(call: Arguments) -> int | None:
    """Four neighbours weighted and added for every sample, and their mean."""
    elements, samples = _regions(call, samples=True)
    return elements * (8 * samples + 1) if samples > 0 else None


def _aligned(call: Arguments) -> tuple[int, int]:
    elements, samples = _regions(call, samples=True)
    image = call.needed("image")
    return min(image.distinct_bytes, 4 * max(samples, 1) * elements * image.item_bytes), elements * image.item_bytes


def _has_samples(call: Arguments) -> bool:
    return (call.number("samples") or 0) > 0


def _pooled(call: Arguments) -> tuple[int, int]:
    """The maxima and their positions, of 32 bits."""
    elements, _ = _regions(call, samples=False)
    image = call.needed("image")
    return image.distinct_bytes, elements * (image.item_bytes + 4)


def _gradient(call: Arguments) -> tuple[int, int]:
    """Every neighbour's gradient is added to the image's."""
    gradient = call.needed("gradient")
    sizes = [call.number(name) for name in ("batch", "channels", "rows", "columns")]
    if None in sizes:
        raise ValueError("the size of the image is not recorded")
    image = math.prod(n or 0 for n in sizes) * gradient.item_bytes
    touched = min(image, 4 * max((call.number("samples") or 1) ** 2, 1) * gradient.distinct_bytes)
    return touched, touched


def _gradient_flops(call: Arguments) -> int | None:
    samples = call.number("samples") or 0
    return 8 * samples**2 * call.needed("gradient").elements if samples > 0 else None


def _deformed(call: Arguments) -> tuple[int, int]:
    """The columns, of which a product follows, hold every sampled neighbourhood; the result has the weight's rows."""
    image, offset, weight = (call.needed(name) for name in ("image", "offset", "weight"))
    return 0, image.shape[0] * weight.shape[0] * math.prod(offset.shape[-2:]) * image.item_bytes


def _deformed_flops(call: Arguments) -> int:
    """A convolution whose every input element is four neighbours weighted and added, and scaled by its mask."""
    image, offset, weight = (call.needed(name) for name in ("image", "offset", "weight"))
    positions = image.shape[0] * math.prod(offset.shape[-2:])
    columns = positions * image.shape[1] * math.prod(weight.shape[2:])
    return 2 * positions * math.prod(weight.shape) + columns * (8 if call.tensor("mask") else 7)


_BACKWARD = "gradient regions _scale _height _width _batch _channels _rows _columns"

RULES = (
    EngineRule(("torchvision::nms",), "boxes -scores _threshold", _pairs, _kept),
    EngineRule(
        ("torchvision::roi_align",), "-image regions _scale _height _width _samples _aligned",
        _aligned_flops, _aligned, _has_samples,
    ),
    EngineRule(
        ("torchvision::_roi_align_backward",), f"{_BACKWARD} _samples _aligned",
        _gradient_flops, _gradient, _has_samples,
    ),
    # a comparison of every element
    EngineRule(("torchvision::roi_pool",), "-image regions _scale _height _width", lambda call: 0, _pooled),
    EngineRule(
        ("torchvision::deform_conv2d",), "image weight offset mask? bias?", _deformed_flops, _deformed
    ),
)  # fmt: skip
