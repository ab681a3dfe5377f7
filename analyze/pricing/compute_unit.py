"""The compute unit and precision of a kernel, which together decide its peak."""

from __future__ import annotations

import re

TENSOR_FAMILIES = frozenset({"matmul", "attention", "convolution", "recurrent"})
TENSOR_PRECISIONS = frozenset({"bf16", "fp16", "fp8", "fp4", "int8", "tf32"})
_VECTOR_KERNELS = re.compile(
    r"simt|sgemm|gemv|dgemm_|dot_kernel|splitKreduce|lean_reduction|reduce_kernel|fft2d|elementwise"
    r"|combine|nchwToNhwc|nhwcToNchw|computeOffsets|precompute_indices|convert_dq|compute_dot_do_o|batched_transpose"
    r"|SubTensorOp|elem(?:ent)?Wise|quantize_with_block|::routing|finalizeKernel|fmhaReduction"
)
_TF32_KERNELS = re.compile(r"tf32|[cs]1688|nvjet_\w*?_?ss[hst]|tf32f32")
_3XTF32_KERNELS = re.compile(r"fmha_cutlass[FB]_f32_\w*sm8")
"""PyTorch's memory-efficient attention of fp32 from Sm80 on: CUTLASS' OpMultiplyAddFastF32 takes three products of tf32
for one of fp32 (DefaultGemmType in mem_eff_attention/gemm_kernel_utils.h)."""
_FP64_TENSOR = re.compile(r"dmma|[dz]884|xmma_gemm_c?f64|nvjet")
_AMD_MATRIX = re.compile(r"Cijk_\w*_MI\d|mfma", re.IGNORECASE)
"""AMD's matrix instructions, which exist for fp32 and fp64 too. Names of Tensile and hipBLASLt have their shape."""
_REAL = {"complex128": "fp64", "complex64": "fp32", "complex32": "fp16"}


def unit_and_precision(
    family: str, kernel: str, precision: str | None, *, on_cpu: bool
) -> tuple[str | None, str | None]:
    """(``tensor`` or ``vector``, precision) of a kernel by its family, its name and its operands' precision.

    Vector units compute in fp32 for all 16- and 8-bit types. Integer work has no FLOPs, and so no unit. Complex numbers
    have the precision of their parts. ``3xtf32`` is fp32 computed in three products of tf32.

    >>> unit_and_precision("matmul", "nvjet_sm90_tst_128x8", "bf16", on_cpu=False)
    ('tensor', 'bf16')
    >>> unit_and_precision("pointwise", "vectorized_elementwise_kernel", "bf16", on_cpu=False)
    ('vector', 'fp32')
    """
    if precision is None:
        return None, None
    precision = _REAL.get(precision, precision)
    if on_cpu:
        return ("vector", precision) if precision.startswith(("fp", "bf")) else (None, None)
    if family in TENSOR_FAMILIES and not _VECTOR_KERNELS.search(kernel):
        tensor = _tensor_precision(kernel, precision)
        if tensor is not None:
            return "tensor", tensor
    if precision == "fp64":
        return "vector", "fp64"
    return ("vector", "fp32") if precision.startswith(("fp", "bf")) else (None, None)


def _tensor_precision(kernel: str, precision: str) -> str | None:
    """The precision in which tensor units compute a product of operands of ``precision``; None if vector units do.

    NVIDIA's tensor units compute fp32 only as tf32. A kernel's name shows whether they compute fp32 or fp64.
    """
    if precision in ("fp32", "fp64") and _AMD_MATRIX.search(kernel):
        return precision
    if precision == "fp32":
        if _3XTF32_KERNELS.search(kernel):
            return "3xtf32"
        return "tf32" if _TF32_KERNELS.search(kernel) else None
    if precision == "fp64":
        return "fp64" if _FP64_TENSOR.search(kernel) else None
    return precision if precision in TENSOR_PRECISIONS else None
