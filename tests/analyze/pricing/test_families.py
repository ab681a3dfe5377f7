from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from ridgeline.analyze.pricing import families
from ridgeline.analyze.pricing.families import base_name, family

PUBLISHED = {
    "matmul",
    "attention",
    "convolution",
    "normalization",
    "rotary",
    "softmax",
    "pointwise",
    "reduction",
    "gather",
    "copy",
    "embedding",
    "sampling",
    "quantization",
    "fused",
    "memset",
    "memcpy",
    "communication",
    "recurrent",
    "optimizer",
    "other",
}
TABLE = tomllib.loads(Path(families.__file__).with_name("families.toml").read_text())


def test_the_table_names_published_families_and_no_operator_twice() -> None:
    assert set(TABLE["operators"]) | {row["family"] for row in TABLE["kernels"]} <= PUBLISHED
    counts = Counter(name for names in TABLE["operators"].values() for name in names)
    assert [name for name, count in counts.items() if count > 1] == []
    assert [name for name in counts if name != base_name(name)] == []


@pytest.mark.parametrize(
    ("operator", "kernel", "category", "expected"),
    [
        ("aten::add_.Tensor", "k", "kernel", "pointwise"),
        ("aten::mm", "Memset (Device)", "memset", "matmul"),
        ("aten::convolution_backward", "void cudnn::ops::nchwToNhwcKernel<float>", "kernel", "copy"),
        ("aten::miopen_convolution", "batched_transpose_32x32_half", "kernel", "copy"),
        ("aten::miopen_convolution", "SubTensorOpWithScalar1d", "kernel", "copy"),
        ("aten::miopen_convolution", "igemm_fwd_gtcx3_nhwc_bf16", "kernel", "convolution"),
        ("_C::fused_add_rms_norm", "k", "kernel", "normalization"),
        ("triton_poi_fused_add_0", "k", "kernel", "fused"),
        ("triton_tem_fused_addmm_3", "k", "kernel", "matmul"),
        ("triton_tem_fused_flex_attention_0", "k", "kernel", "attention"),
        ("triton_red_fused_addmm_mean_1", "k", "kernel", "fused"),
        ("sgl_kernel::rmsnorm", "k", "kernel", "normalization"),
        ("_c10d_functional::all_gather_into_tensor", "k", "kernel", "communication"),
        ("mine::thing", "nvjet_sm90", "kernel", "matmul"),
        ("mine::thing", "something", "kernel", "other"),
        (None, "Memset (Device)", "memset", "memset"),
        (None, "Memcpy HtoD", "memcpy", "memcpy"),
        (None, "cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "kernel", "attention"),
        (None, "void at::native::vectorized_elementwise_kernel<8>", "kernel", "pointwise"),
        (None, "who knows", "kernel", "other"),
    ],
)
def test_family(operator: str | None, kernel: str, category: str, expected: str) -> None:
    assert family(operator, kernel, category) == expected
