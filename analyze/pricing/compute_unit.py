"""The compute unit and precision of a kernel, which together decide its peak."""

from __future__ import annotations

import re

TENSOR_FAMILIES = frozenset({"matmul", "attention", "convolution"})
TENSOR_PRECISIONS = frozenset({"bf16", "fp16", "fp8", "fp4", "int8", "fp64", "tf32"})
_VECTOR_KERNELS = re.compile(
    r"simt|sgemm|gemv|dgemm_|dot_kernel|splitKreduce|lean_reduction|reduce_kernel|fft2d|elementwise"
    r"|combine|nchwToNhwc|nhwcToNchw|computeOffsets|quantize_with_block|::routing|finalizeKernel|fmhaReduction"
)
_TF32_KERNELS = re.compile(r"tf32|s1688|nvjet_\w*?_?ss[hst]|tf32f32")
_FP64_TENSOR = re.compile(r"dmma|d884|nvjet")


def unit_and_precision(
    family: str, kernel: str, precision: str | None, *, on_cpu: bool
) -> tuple[str | None, str | None]:
    """(``tensor`` or ``vector``, precision) of a kernel by its family, its name and its operands' precision.

    Vector units compute in fp32 for all 16- and 8-bit types. Integer work has no FLOPs, and so no unit.

    >>> unit_and_precision("matmul", "nvjet_sm90_tst_128x8", "bf16", on_cpu=False)
    ('tensor', 'bf16')
    >>> unit_and_precision("pointwise", "vectorized_elementwise_kernel", "bf16", on_cpu=False)
    ('vector', 'fp32')
    """
    if precision is None:
        return None, None
    if on_cpu:
        return ("vector", precision) if precision.startswith(("fp", "bf")) else (None, None)
    if family in TENSOR_FAMILIES and not _VECTOR_KERNELS.search(kernel):
        # fp32 products run on tensor units only as tf32, which the kernel's name shows
        if precision == "fp32":
            return ("tensor", "tf32") if _TF32_KERNELS.search(kernel) else ("vector", "fp32")
        if precision in TENSOR_PRECISIONS and (precision != "fp64" or _FP64_TENSOR.search(kernel)):
            return "tensor", precision
    if precision == "fp64":
        return "vector", "fp64"
    return ("vector", "fp32") if precision.startswith(("fp", "bf", "complex")) else (None, None)
