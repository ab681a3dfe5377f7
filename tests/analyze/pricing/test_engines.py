"""Operators of inference engines, and collectives, against counts by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ridgeline.analyze.pricing.compute_unit import unit_and_precision
from ridgeline.analyze.pricing.engines import RULES
from ridgeline.analyze.pricing.families import family
from tests.analyze.pricing.test_price import BF16, FP8, FP32, INT64, priced

INT32, BYTE, FP16 = "int", "unsigned char", "c10::Half"

CASES: list[tuple[str, list[Any], tuple[int | None, int, int, str]]] = [
    # name, inputs, (flops, read bytes, written bytes, precision)
    ("_C::rms_norm", [([8, 64], BF16), ([8, 64], BF16), ([64], BF16), "1e-5"], (4 * 512, 1024 + 128, 1024, "bf16")),
    (
        "_C::fused_add_rms_norm",
        [([8, 64], BF16), ([8, 64], BF16), ([64], BF16), "1e-5"],
        (5 * 512, 2048 + 128, 2048, "bf16"),
    ),
    (
        "sgl_kernel::rmsnorm",
        [([8, 64], BF16), ([8, 64], BF16), ([64], BF16), "1e-5", "False"],
        (2048, 1152, 1024, "bf16"),
    ),
    ("_C::silu_and_mul", [([8, 64], BF16), ([8, 128], BF16)], (5 * 512, 2048, 1024, "bf16")),
    # 3 positions of a table of 100 rows; 2 heads of 8 turn whole, and the key's one
    (
        "_C::rotary_embedding",
        [([3], INT64), ([3, 16], BF16), ([3, 8], BF16), "8", ([100, 8], BF16), "True"],
        (3 * 72, 24 + 144 + 48, 144, "bf16"),
    ),
    # half of every head, from a table with fewer rows than positions; no keys
    (
        "_C::rotary_embedding",
        [([3], INT64), ([3, 16], BF16), None, "8", ([2, 4], BF16), "True"],
        (3 * 24, 24 + 48 + 16, 48, "bf16"),
    ),
    ("_C::static_scaled_fp8_quant", [([8, 64], FP8), ([8, 64], BF16), ([], FP32)], (512, 1024 + 4, 512, "bf16")),
    ("_C::dynamic_scaled_fp8_quant", [([8, 64], FP8), ([8, 64], BF16), ([1], FP32)], (512, 1024, 512 + 4, "bf16")),
    (
        "sgl_kernel::sgl_per_token_group_quant_fp8",
        [([8, 64], BF16), ([8, 64], FP8), ([8, 4], FP32), "16", "1e-10", "-448.", "448.", "False"],
        (512, 1024, 512 + 128, "bf16"),
    ),
    # 6 slots for the tokens of a step padded to 8, in a cache of 16,000 slots of bytes
    (
        "_C_cache_ops::reshape_and_cache_flash",
        [
            ([8, 1, 64], BF16), ([8, 1, 64], BF16), ([1000, 16, 1, 64], BYTE), ([1000, 16, 1, 64], BYTE), ([6], INT64),
            None, ([], FP32), ([], FP32),
        ],
        (0, 2 * 6 * 64 * 2 + 48 + 8, 2 * 6 * 64, "bf16"),
    ),
    (
        "_C_cache_ops::concat_and_cache_mla",
        [([8, 32], BF16), ([8, 16], BF16), ([100, 16, 48], BF16), ([8], INT64), None, ([], FP32)],
        (0, 8 * 48 * 2 + 64 + 4, 8 * 48 * 2, "bf16"),
    ),
    (
        "_C::cutlass_scaled_mm",
        [([4, 8], BF16), ([4, 16], FP8), ([16, 8], FP8), ([1], FP32), ([1], FP32), None],
        (2 * 4 * 8 * 16, 64 + 128 + 8, 64, "fp8"),
    ),
    (
        "sgl_kernel::fp8_scaled_mm",
        [([4, 16], FP8), ([16, 8], FP8), ([4, 1], FP32), ([8], FP32), "15", None],
        (2 * 4 * 8 * 16, 64 + 128 + 16 + 32, 64, "fp8"),
    ),
    (
        "_C::gptq_marlin_gemm",
        [
            ([4, 64], BF16), None, ([4, 64], INT32), None, ([1, 32], BF16), None, None, None, None, ([100], INT32),
            "1", "4", "32", "64", "True", "False", "True", "False",
        ],
        (2 * 4 * 32 * 64, 512 + 1024 + 64, 256, "bf16"),
    ),
    # 10 choices reach both experts
    (
        "vllm::outplace_fused_experts",
        [([5, 16], BF16), ([2, 8, 16], BF16), ([2, 16, 4], BF16), ([5, 2], FP32), ([5, 2], INT32)],
        (2 * 10 * (8 * 16 + 16 * 4), 160 + round((512 + 256) * (1 - 0.5**10)) + 40 + 40, 160, "bf16"),
    ),
    (
        "_moe_C::topk_softmax",
        [([5, 2], FP32), ([5, 2], INT32), ([5, 2], INT32), ([5, 8], BF16)],
        (160, 80, 120, "bf16"),
    ),
    ("symm_mem::multimem_all_reduce_", [([100], BF16), None, None], (0, 200, 200, "bf16")),
    ("_C_custom_ar::all_reduce", ["1", ([100], BF16), ([100], BF16), "0", "0"], (0, 200, 200, "bf16")),
    ("_c10d_functional::all_gather_into_tensor", [([100], BF16), "8", None], (0, 200, 1600, "bf16")),
    ("_c10d_functional::reduce_scatter_tensor", [([80], BF16), "sum", "8", None], (0, 160, 20, "bf16")),
    *(
        (
            "record_param_comms",
            [([80], BF16), None, None, "0", name, "[]", "[]", "0", "1", "8"],
            (0, 160, written, "bf16"),
        )
        for name, written in (("AllGather", 1280), ("ReduceScatter", 20), ("AllReduce", 160))
    ),
    (
        "flash_attn::_flash_attn_forward",
        [([2, 3, 4, 8], BF16), ([2, 5, 1, 8], BF16), ([2, 5, 1, 8], BF16), "0.", "0.1", "True", "-1", "-1"],
        (2 * 2 * 4 * (3 + 4 + 5) * 16, 2 * (192 + 160), 384, "bf16"),
    ),
    # as many rows as queries, from weights with a row for each output; in 16 bits unless the type is recorded
    (
        "aiter::gemm_a16w16",
        [([4, 16], BF16), ([8, 16], BF16), None, "15", None, None, None],
        (2 * 4 * 8 * 16, 128 + 256, 64, "bf16"),
    ),
    (
        "_C::marlin_gemm",
        [
            ([4, 64], BF16), None, ([4, 64], INT32), None, ([1, 32], BF16), None, None, None, None, None,
            ([100], INT32), "1", "4", "32", "64", "True", "False", "True", "False",
        ],
        (2 * 4 * 32 * 64, 512 + 1024 + 64, 256, "bf16"),
    ),
    (
        "_C::awq_gemm",
        [([4, 64], FP16), ([64, 2], INT32), ([1, 16], FP16), ([1, 2], INT32), "8"],
        (2 * 4 * 64 * 16, 512 + 512 + 32 + 8, 128, "fp16"),
    ),
    (
        "bitsandbytes::gemv_4bit",
        [([1, 1, 64], BF16), ([512, 1], BYTE), "[16, 64]", ([16], FP32), ([16], FP32), "64"],
        (2 * 64 * 16, 128 + 512 + 64 + 64, 32, "bf16"),
    ),
    (
        "bitsandbytes::int8_linear_matmul",
        [([4, 64], "signed char"), ([16, 64], "signed char")],
        (2 * 4 * 64 * 16, 256 + 1024, 256, "int8"),
    ),
    (
        "fbgemm::f8f8bf16_rowwise",
        [([4, 64], FP8), ([16, 64], FP8), ([4], FP32), ([16], FP32), None, "True"],
        (2 * 4 * 64 * 16, 256 + 1024 + 16 + 64, 128, "fp8"),
    ),
    (
        "aiter::add_rmsnorm",
        [([8, 64], BF16), ([8, 64], BF16), ([8, 64], BF16), ([8, 64], BF16), ([64], BF16), "1e-6"],
        (5 * 512, 2048 + 128, 2048, "bf16"),
    ),
    ("LigerRMSNormFunction", [([8, 64], BF16), ([64], BF16), "1e-6", "0."], (4 * 512, 1024 + 128, 1024, "bf16")),
    # 2 query heads, 1 key head and 1 value head of 8: three of four are normed and turned
    (
        "_C::fused_qk_norm_rope",
        [
            ([3, 32], BF16), "2", "1", "1", "8", "1e-6", ([8], BF16), ([8], BF16), ([100, 8], BF16), "True",
            ([3], INT64),
        ],
        (7 * 72, 144 + 48 + 32 + 24, 144, "bf16"),
    ),
    (
        "sglang::store_cache",
        [([8, 64], BF16), ([8, 64], BF16), ([1000, 64], BF16), ([1000, 64], BF16), ([8], INT64), "128", "0"],
        (0, 2048 + 64, 2048, "bf16"),
    ),
    (
        "sgl_kernel::top_k_top_p_sampling_from_probs",
        [([8, 1000], FP32), ([8], INT32), None, None, "50", None, "0.9", "True", None],
        (0, 32000, 32, "fp32"),
    ),
    # 60 rows reach all of 4 experts
    (
        "_C::cutlass_moe_mm",
        [([60, 8], BF16), ([60, 16], FP8), ([4, 16, 8], FP8), ([60], FP32), ([4], FP32), ([4], INT32)],
        (2 * 60 * 8 * 16, 960 + 512 + 240 + 16 + 16, 960, "fp8"),
    ),
    ("_C::merge_attn_states",
        [([8, 2, 64], BF16), None, ([8, 2, 64], BF16), ([2, 8], FP32), ([8, 2, 64], BF16), ([2, 8], FP32)],
        (3 * 1024, 2 * (2048 + 64), 2048, "bf16"),
    ),
    (
        "flash_attn::_flash_attn_backward",
        [
            ([2, 3, 4, 8], BF16), ([2, 3, 4, 8], BF16), ([2, 5, 1, 8], BF16), ([2, 5, 1, 8], BF16),
            ([2, 3, 4, 8], BF16), ([2, 4, 3], FP32), ([2, 3, 4, 8], BF16), ([2, 5, 1, 8], BF16), ([2, 5, 1, 8], BF16),
            "0.", "0.1", "True", "-1", "-1",
        ],
        (2 * 2 * 4 * (3 + 4 + 5) * 40, 3 * 384 + 2 * 160 + 96, 384 + 2 * 160, "bf16"),
    ),
    # two sequences of 3 queries and 5 keys, as long as the longest
    (
        "flash_attn::_flash_attn_varlen_forward",
        [
            ([6, 4, 8], BF16), ([10, 1, 8], BF16), ([10, 1, 8], BF16), ([3], INT32), ([3], INT32), "3", "5",
            "0.", "0.1", "False", "-1", "-1",
        ],
        (2 * 2 * 4 * 15 * 16, 384 + 2 * 160 + 2 * 12, 384, "bf16"),
    ),
    (
        "flash_attn_3::fwd",
        [
            ([2, 3, 4, 8], BF16), ([2, 5, 1, 8], BF16), ([2, 5, 1, 8], BF16), None, None, None, None, None, None, None,
            None, None, None, None, None, None, None, None, None, None, None, None, None, "0.1", "False", "-1", "-1",
        ],
        (2 * 2 * 4 * 15 * 16, 384 + 2 * 160, 384, "bf16"),
    ),
    # 3 tables of 16 columns, 20 indices in 4 bags each: a row for each index, a sum for each bag
    (
        "fbgemm::split_embedding_codegen_lookup_adagrad_function",
        [
            ([0], FP32), ([1000], FP16), ([0], FP16), ([0, 0], FP16), ([3], INT32), ([3], INT64), ([4], INT32), "48",
            "16", ([4], INT64), "10", ([20], INT64), ([13], INT64), "0", None, None,
        ],
        (20 * 16, 640 + 20 * 8 + 13 * 8 + 12 + 24 + 16, 12 * 16 * 4, "fp32"),
    ),
    # all of 24 features, 16 lengths each
    (
        "fbgemm::permute_2D_sparse_data",
        [([24], INT32), ([24, 16], INT32), ([768], INT32), None, None],
        (0, 96 + 1536 + 3072, 1536 + 3072, "int32"),
    ),
    ("fbgemm::asynchronous_complete_cumsum", [([384], INT32)], (0, 1536, 1540, "int32")),
    ("fbgemm::FloatToBfloat16Quantized", [([8, 64], FP32)], (0, 2048, 1024, "fp32")),
    ("fbgemm::FloatToFused8BitRowwiseQuantized", [([8, 64], FP32)], (1024, 2048, 8 * 72, "fp32")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "expected"), CASES, ids=[case[0] for case in CASES])
def test_by_hand(
    name: str, inputs: list[Any], expected: tuple[float | None, float | None, float | None, str | None]
) -> None:
    found = priced(name, inputs)
    assert (found.flops, found.read_bytes, found.write_bytes, found.precision) == expected
    ranks_are_unknown = found.collective is not None and found.ranks is None and found.collective != "broadcast"
    assert (found.method, found.confidence) == ("rule", "low" if ranks_are_unknown else "high")


LOW: list[tuple[str, list[Any], tuple[int | None, int, int]]] = [
    # hidden states and the router's scores, and a result as large as the hidden states
    ("vllm::moe_forward", [([8, 64], BF16), ([8, 4], BF16), None], (None, 1024 + 64, 1024)),
    (
        "vllm::unified_attention_with_output",
        [([8, 2, 64], FP8), ([8, 1, 64], BF16), ([8, 1, 64], BF16), ([8, 2, 64], BF16), None, None, None],
        (None, 1024 + 1024 + 1024, 2048),
    ),
    # 2 sequences of at most 20 keys, in a cache of 1,600
    (
        "_C::paged_attention_v1",
        [
            ([2, 4, 64], BF16), ([2, 4, 64], BF16), ([100, 1, 8, 16, 8], BF16), ([100, 1, 64, 16], BF16), "1", "0.1",
            ([2, 10], INT32), ([2], INT32), "16", "20", None, None, ([], FP32), ([], FP32),
        ],
        (4 * 20 * 512, 1024 + 2 * 2 * 20 * 128 + 80 + 8 + 8, 1024),
    ),
    # one choice among 8 experts
    (
        "vllm::outplace_fused_experts",
        [([1, 16], BF16), ([8, 8, 16], BF16), ([8, 16, 4], BF16), ([1, 1], FP32), ([1, 1], INT32)],
        (2 * (128 + 64), 32 + (2048 + 1024) // 8 + 8, 32),
    ),
    # the tables' widths differ, and are not recorded: the indices alone
    (
        "fbgemm::split_embedding_codegen_lookup_adagrad_function",
        [
            ([0], FP32), ([1000], FP16), ([0], FP16), ([0, 0], FP16), ([3], INT32), ([3], INT64), ([4], INT32), "50",
            "32", ([4], INT64), "10", ([20], INT64), ([13], INT64), "0", None, None,
        ],
        (None, 20 * 8 + 13 * 8 + 12 + 24 + 16, 0),
    ),
    # PyTorch until 2.0 recorded no numbers
    (
        "fbgemm::split_embedding_codegen_lookup_rowwise_adagrad_function",
        [
            ([0], FP32), ([1000], FP16), ([0], FP16), ([0, 0], FP16), ([3], INT32), ([3], INT64), ([4], INT32),
            ([], "Scalar"), ([], "Scalar"), ([4], INT64), ([], "Scalar"), ([20], INT64), ([13], INT64), ([], "Scalar"),
        ],
        (None, 20 * 8 + 13 * 8 + 12 + 24 + 16, 0),
    ),
    # 3 of 6 features, half of the values
    (
        "fbgemm::permute_sparse_features",
        [([3], INT32), ([6, 16], INT32), ([768], INT32), None],
        (0, 12 + 192 + 1536, 192 + 1536),
    ),
    # sequences of several lengths: all of them are read
    (
        "flash_attn::_flash_attn_varlen_forward",
        [
            ([6, 4, 8], BF16), ([10, 1, 8], BF16), ([10, 1, 8], BF16), ([3], INT32), ([3], INT32), "4", "5",
            "0.", "0.1", "False", "-1", "-1",
        ],
        (None, 384 + 2 * 160 + 2 * 12, 384),
    ),
    # 2 sequences of at most 40 keys in pages of 16
    (
        "_vllm_fa2_C::varlen_fwd",
        [
            ([2, 4, 8], BF16), ([100, 16, 1, 8], BF16), ([100, 16, 1, 8], BF16), ([2, 4, 8], BF16), ([3], INT32),
            ([3], INT32), ([2], INT32), None, ([2, 10], INT32), None, "1", "40", "0.", "0.1", "False", "True",
        ],
        (4 * 40 * 64, 128 + 2 * 2 * 40 * 16 + 2 * 12 + 8 + 80, 128),
    ),
    ("FlashAttnFunc", [([2, 3, 4, 8], BF16)] * 3, (None, 1152, 384)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "expected"), LOW, ids=[case[0] for case in LOW])
def test_what_is_not_recorded_makes_confidence_low(
    name: str, inputs: list[Any], expected: tuple[float | None, float | None, float | None]
) -> None:
    assert priced(name, inputs)[:3] == expected
    assert priced(name, inputs).confidence == "low"


@pytest.mark.parametrize("name", sorted(RULES))
def test_calls_that_do_not_fit_are_never_free(name: str) -> None:
    """Without recorded operands, as some traces are, and with operands of another form."""
    assert priced(name, [])[:3] == (None, None, None)
    found = priced(name, ["1", "2", "3", ([7], INT64)])
    assert (found.read_bytes, found.confidence) == (56, "low")


def test_a_collective_nobody_named_is_priced_from_its_input() -> None:
    found = priced("record_param_comms", [([80], BF16), None, None, "0", None, "[]", "[]", "0", "1", "8"])
    assert (found.read_bytes, found.method, found.confidence) == (160, "inputs", "low")


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_operator_has_a_family(name: str) -> None:
    assert family(name, "k", "kernel") != "other"


@pytest.mark.parametrize(
    ("operator_family", "kernel"),
    [
        ("matmul", "void tensorrt_llm::kernels::quantize_with_block_size<(BlockScaleQuantizationType)2>"),
        ("matmul", "void moe::dev::routing::routingIndicesHistogramKernel<int>"),
        ("matmul", "void moe::dev::finalize::finalizeKernelVecLoad<int>"),
        ("attention", "void flash_fwd_splitkv_combine_kernel<int>"),
        ("convolution", "void cudnn::ops::nchwToNhwcKernel<float>"),
    ],
)
def test_what_is_done_around_a_product_is_not_done_on_tensor_units(operator_family: str, kernel: str) -> None:
    """So that the product carries its operator's cost."""
    assert unit_and_precision(operator_family, kernel, "bf16", on_cpu=False) == ("vector", "fp32")
