from __future__ import annotations

import pytest

from ridgeline.analyze.pricing.compute_unit import unit_and_precision


@pytest.mark.parametrize(
    ("family", "kernel", "precision", "expected"),
    [
        ("matmul", "nvjet_sm90_tst_128x8_64x12_2x1_v_bz_splitK_TNT", "bf16", ("tensor", "bf16")),
        ("matmul", "void cublasLt::splitKreduce_kernel<32, 16, int, float>", "bf16", ("vector", "fp32")),
        ("matmul", "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x32_8x5_tn_align1>", "fp32", ("vector", "fp32")),
        ("matmul", "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x128>", "fp32", ("tensor", "tf32")),
        ("matmul", "void gemv2T_kernel_val<int>", "bf16", ("vector", "fp32")),
        ("matmul", "bmm_E4m3_E4m3E4m3_Fp32", "fp8", ("tensor", "fp8")),
        ("matmul", "nvjet_sm90_qqtst_128x32_128x8_2x1_v_bz_TNT", "fp8", ("tensor", "fp8")),
        ("matmul", "sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize64x64x128", "fp8", ("tensor", "fp8")),
        ("matmul", "sm90_xmma_gemm_i8i32_i8i32_i32_tn_n_tilesize64x64x128", "int8", ("tensor", "int8")),
        ("matmul", "void cutlass::Kernel2<cutlass_80_tensorop_i16832gemm_s8_256x128>", "int8", ("tensor", "int8")),
        ("attention", "triton_tem_fused_flex_attention_0", "bf16", ("tensor", "bf16")),
        ("attention", "cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "bf16", ("tensor", "bf16")),
        ("matmul", "sm90_xmma_gemm_f64f64_f64f64_f64_nn_n_tilesize128x128x16_stage4", "fp64", ("tensor", "fp64")),
        ("matmul", "cutlass_80_tensorop_d884gemm_64x64_16x4_nn_align1", "fp64", ("tensor", "fp64")),
        ("matmul", "void dgemm_largek_lds64<true, false, 5, 5, 4, 4, 4, 34>", "fp64", ("vector", "fp64")),
        # complex numbers have the precision of their parts
        ("matmul", "void zgemm_kernel<true, false>", "complex128", ("vector", "fp64")),
        ("matmul", "cutlass_80_tensorop_z884gemm_32x32_8x4_nn_align1", "complex128", ("tensor", "fp64")),
        ("matmul", "void cgemm_kernel<true, false>", "complex64", ("vector", "fp32")),
        ("matmul", "cutlass_80_tensorop_c1688gemm_64x64_16x4_nn_align1", "complex64", ("tensor", "tf32")),
        ("pointwise", "vectorized_elementwise_kernel", "complex128", ("vector", "fp64")),
        # AMD: MI is a matrix instruction
        ("matmul", "Cijk_Ailk_Bljk_DB_MT64x64x16_MI16x16x4x1_SN_1LDSB0", "fp64", ("tensor", "fp64")),
        ("matmul", "Cijk_Ailk_Bljk_SB_MT128x128x16_MI32x32x2x1_SN_K1", "fp32", ("tensor", "fp32")),
        ("matmul", "Cijk_Ailk_Bljk_SB_MT64x64x8_SN_K1_TT4_4", "fp32", ("vector", "fp32")),
        ("matmul", "Cijk_Alik_Bljk_BBS_BH_Bias_HAS_SAV_UserArgs_MT256x256x64_MI16x16x1_SN", "bf16", ("tensor", "bf16")),
        ("convolution", "batched_transpose_64x32_dword", "fp16", ("vector", "fp32")),
        ("convolution", "void cudnn::cnn::kern_precompute_indices<false>(int*, int, int)", "bf16", ("vector", "fp32")),
        # fp32 attention: three products of tf32 from Sm80 on, vector units before
        (
            "attention",
            "fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)",
            "fp32",
            ("tensor", "3xtf32"),
        ),
        (
            "attention",
            "fmha_cutlassB_f32_notaligned_64x64_k65536_sm80(PyTorchMemEffAttention)",
            "fp32",
            ("tensor", "3xtf32"),
        ),
        ("attention", "fmha_cutlassF_f32_aligned_64x64_rf_sm70(PyTorchMemEffAttention)", "fp32", ("vector", "fp32")),
        ("attention", "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention)", "bf16", ("tensor", "bf16")),
        ("pointwise", "vectorized_elementwise_kernel", "bf16", ("vector", "fp32")),
        ("pointwise", "vectorized_elementwise_kernel", "fp64", ("vector", "fp64")),
        ("pointwise", "vectorized_elementwise_kernel", "int64", (None, None)),
        ("matmul", "nvjet", None, (None, None)),
    ],
)
def test_on_a_gpu(family: str, kernel: str, precision: str | None, expected: tuple[str | None, str | None]) -> None:
    assert unit_and_precision(family, kernel, precision, on_cpu=False) == expected


def test_on_a_cpu_there_are_vector_units_of_every_floating_precision() -> None:
    assert unit_and_precision("matmul", "aten::mm", "bf16", on_cpu=True) == ("vector", "bf16")
    assert unit_and_precision("copy", "aten::copy_", "int64", on_cpu=True) == (None, None)
