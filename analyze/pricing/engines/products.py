"""Matrix products of engines: 2·M·N·K; adding a bias, scaling and unpacking weights are not counted.

An operand of fp4 holds two numbers in a byte, so its recorded sizes are half of the real ones. Weights that are packed
or repacked show their width only where the rule says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ridgeline.analyze.pricing.rules.matmul import OUT_DTYPES, packed
from ridgeline.analyze.pricing.rules.rule import EngineFlops, EngineRule
from ridgeline.analyze.pricing.signature import Arguments, Tensor

Width = Callable[[Arguments], int]
"""Columns of a product's result."""


def _times(left: str, result: str) -> EngineFlops:
    """Every element of the result sums over the last dimension of the left operand."""

    def flops(call: Arguments) -> int:
        operand = call.needed(left)
        return 2 * call.needed(result).elements * operand.shape[-1] * packed(operand)

    return flops


def _by_sizes(call: Arguments) -> int:
    sizes = [call.number(name) for name in ("m", "n", "k")]
    if any(size is None for size in sizes):
        raise ValueError("the sizes of the product are not recorded")
    return 2 * math.prod(size for size in sizes if size is not None)


def _sized(call: Arguments) -> tuple[int, int]:
    """The result of a product whose packed weights do not show its width. An operand for the result is that result."""
    return 0, (call.number("m") or 0) * (call.number("n") or 0) * call.needed("a").item_bytes


def _columns(call: Arguments) -> int:
    """Of weights with a column for each output."""
    return call.needed("b").shape[-1]


def _rows(call: Arguments) -> int:
    """Of weights with a row for each output."""
    return call.needed("b").shape[0]


def _eighths(call: Arguments) -> int:
    """Of weights with eight columns in each 32-bit integer."""
    return 8 * call.needed("b").shape[-1]


def _recorded(call: Arguments) -> int:
    if (width := call.number("n")) is None:
        raise ValueError("the width of the product is not recorded")
    return width


def _of_shape(call: Arguments) -> int:
    """By the recorded shape of the weights before they were packed."""
    return (call.numbers("shape") or [])[0]


def _item_bytes(call: Arguments, like: Tensor) -> int:
    """Bytes of an element of the result: of ``dtype``, else of the left operand, of 8 bits and less bf16."""
    default = ("bf16", 2) if like.item_bytes == 1 else (like.precision, like.item_bytes)
    return OUT_DTYPES.get(str(call.arguments.get("dtype")), default)[1]


def _product(operators: tuple[str, ...], arguments: str, width: Width, item_bytes: int | None = None) -> EngineRule:
    """The rule of a product that returns its result, which has ``width`` columns and a row for each of ``a``."""

    def flops(call: Arguments) -> int:
        left = call.needed("a")
        return 2 * left.elements * width(call) * packed(left)

    def moved(call: Arguments) -> tuple[int, int]:
        left = call.needed("a")
        written = left.elements // max(left.shape[-1], 1) * width(call)
        return 0, written * (item_bytes or _item_bytes(call, left))

    return EngineRule(operators, arguments, flops, moved)


RULES = (
    EngineRule(
        ("_C::cutlass_scaled_mm", "_C::cutlass_scaled_fp4_mm", "sgl_kernel::cutlass_scaled_fp4_mm"),
        "=out a b scale_a scale_b bias?", _times("a", "out"),
    ),
    EngineRule(("_C::cutlass_scaled_mm_azp",), "=out a b scale_a scale_b adj azp? bias?", _times("a", "out")),
    EngineRule(
        (
            "sgl_kernel::dsv3_fused_a_gemm", "sgl_kernel::dsv3_router_gemm", "_C::dsv3_fused_a_gemm",
            "_C::dsv3_router_gemm",
        ),
        "=out a b", _times("a", "out"),
    ),
    EngineRule(("sgl_kernel::bmm_fp8",), "a b =out scale_a scale_b -workspace?", _times("a", "out")),
    EngineRule(
        ("sglang::deep_gemm_fp8_fp8_bf16_nt",), "a scale_a b scale_b =out", _times("a", "out"),
    ),
    EngineRule(("vllm::fp8_gemm_nt_op",), "a scale_a b scale_b =out", _times("a", "out")),
    # the width of the result is that of the right operand
    _product(
        ("sgl_kernel::fp8_scaled_mm", "sgl_kernel::int8_scaled_mm", "sgl_kernel::fp8_blockwise_scaled_mm"),
        "a b scale_a scale_b _dtype bias?", _columns,
    ),
    _product(("_C::machete_mm",), "a b _type _dtype?", _columns),
    # weights with a row for each output
    _product(
        (
            "vllm::w8a8_block_fp8_matmul", "vllm::w8a8_triton_block_scaled_mm_func", "sglang::w8a8_block_fp8_matmul",
            "sglang::w8a8_block_fp8_matmul_deepgemm", "sglang::w8a8_block_fp8_matmul_triton",
        ),
        "a b scale_a scale_b", _rows,
    ),
    _product(("aiter::gemm_a16w16",), "a b bias? _dtype?", _rows),
    _product(("vllm::rocm_unquantized_gemm",), "a b bias?", _rows),
    _product(("_rocm_C::wvSplitK", "_rocm_C::LLMM1"), "b a", _rows),
    _product(
        ("fbgemm::f8f8bf16_rowwise", "fbgemm::f8f8bf16_blockwise", "fbgemm::f8f8bf16"), "a b scale_a scale_b?", _rows
    ),
    _product(("fbgemm::bf16i4bf16_rowwise", "fbgemm::bf16i4bf16_shuffled"), "a b scale zero", _rows),
    _product(("bitsandbytes::int8_linear_matmul",), "a b", _rows, item_bytes=4),
    # packed weights: the sizes are among the arguments, or follow from the packing
    EngineRule(
        ("_C::gptq_marlin_gemm",),
        "a -c? b bias? scale global? zero? index? permutation? -workspace _type _m _n _k", _by_sizes, _sized,
    ),
    EngineRule(
        ("_C::marlin_gemm",),
        "a -c? b bias? scale scale_a? global? zero? index? permutation? -workspace _type _m _n _k", _by_sizes, _sized,
    ),
    EngineRule(
        ("sgl_kernel::gptq_marlin_gemm",),
        "a -c? b scale global? zero? index? permutation? -workspace _type _m _n _k", _by_sizes, _sized,
    ),
    _product(("_C::gptq_gemm", "sgl_kernel::gptq_gemm"), "a b zero scale index", _columns),
    _product(("_C::awq_gemm",), "a b scale zero", _eighths),
    _product(("_C::allspark_w8a16_gemm",), "a b scale zero? _n", _recorded),
    _product(("bitsandbytes::gemv_4bit",), "a b _shape maximum code", _of_shape),
)  # fmt: skip
