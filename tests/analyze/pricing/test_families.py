from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from ridgeline.analyze.pricing import families
from ridgeline.analyze.pricing.families import base_name, family
from ridgeline.analyze.pricing.outside import FAMILIES

TABLE = tomllib.loads(Path(families.__file__).with_name("families.toml").read_text())


def test_the_table_names_published_families_and_no_operator_twice() -> None:
    named = set(TABLE["operators"]) | set(TABLE["engines"]) | {row["family"] for row in TABLE["kernels"]}
    assert named <= FAMILIES
    counts = Counter(name for table in ("operators", "engines") for names in TABLE[table].values() for name in names)
    assert [name for name, count in counts.items() if count > 1] == []
    assert [name for name in counts if base_name(name) not in (name, name.rpartition("::")[2])] == []


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
        ("triton_tem_fused_convolution_2", "k", "kernel", "convolution"),
        ("triton_red_fused_addmm_mean_1", "k", "kernel", "fused"),
        ("sgl_kernel::rmsnorm", "k", "kernel", "normalization"),
        ("_c10d_functional::all_gather_into_tensor", "k", "kernel", "communication"),
        ("mine::thing", "nvjet_sm90", "kernel", "matmul"),
        ("mine::thing", "something", "kernel", "other"),
        ("fbgemm::permute_2D_sparse_data", "void cub::DeviceScanKernel<int>", "kernel", "copy"),
        (
            "fbgemm::FloatToBfloat16Quantized",
            "fbgemm_gpu::_float_to_bfloat16_kernel",
            "kernel",
            "quantization",
        ),
        # an operator that nobody lists, by its kernel's words, by its own, and by what the kernel is made of
        ("mine::thing", "void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>(int)", "kernel", "normalization"),
        ("LigerRMSNormFunction", "k", "kernel", "normalization"),
        ("mine::rotary", "void at::native::vectorized_elementwise_kernel<4>", "kernel", "rotary"),
        ("mine::thing", "void at::native::vectorized_elementwise_kernel<4>", "kernel", "pointwise"),
        ("aten::nobody_lists_this_gemm", "k", "kernel", "other"),
        (None, "Memset (Device)", "memset", "memset"),
        (None, "Memcpy HtoD", "memcpy", "memcpy"),
        (None, "", "kernel", "other"),
    ],
)
def test_family(operator: str | None, kernel: str, category: str, expected: str) -> None:
    assert family(operator, kernel, category) == expected


# Names as traces and sources of engines have them, by family.
KERNELS: dict[str, tuple[str, ...]] = {
    "communication": (
        "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)",
        "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)",
        "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(vllm::RankData*)",
        "void (anonymous namespace)::multimem_all_reduce_kernel<c10::BFloat16, 16>(int)",
        "void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<3>(int)",
        "void deep_ep::internode::dispatch<false, 8, false, 16384, 7>(int4*)",
        "void deep_ep::intranode::combine<__nv_bfloat16, 8, 768, 8192>(__nv_bfloat16*)",
        "void ep::internode_ll::dispatch<true, false, 7168>(void*)",
        "mscclKernel_Sum_half_LL_false(ncclDevComm*, mscclAlgo*, mscclWork*)",
        "void mscclpp::allreduce7<__half>(__half*)",
    ),
    "gather": (
        "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, unsigned char, 1>(__nv_bfloat16 const*)",
        "void vllm::reshape_and_cache_kernel<unsigned short, unsigned short, 0>(unsigned short const*)",
        "void vllm::concat_and_cache_mla_kernel<__nv_bfloat16, __nv_bfloat16, 0>(__nv_bfloat16 const*)",
        "void (anonymous namespace)::store_kvcache<2048l, 4, false, long>(StoreKVCacheParams)",
        "void flashinfer::AppendPagedKVCacheKernel<128u, 4u, __nv_bfloat16, int>(int)",
        "create_flashinfer_kv_indices_triton",
        "write_req_to_token_pool_triton",
        "void vllm::moe::moe_align_block_size_kernel<int>(int const*)",
        "void tensorrt_llm::kernels::cutlass_kernels::expandInputRowsKernel<__nv_bfloat16>(int)",
        "void at::native::index_elementwise_kernel<128, 4, at::native::gpu_index_kernel<int>>(long)",
        "void at::native::(anonymous namespace)::indexSelectLargeIndex<float, long, unsigned int, 2, 2, -2, true>(int)",
        "void at::native::_scatter_gather_elementwise_kernel<256, 4, int>(int)",
        "void at::native::vectorized_gather_kernel<16, long>(char*, char*)",
        "void (anonymous namespace)::indexing_backward_kernel<float, 4>(long const*)",
        "void at_cuda_detail::cub::DeviceSelectSweepKernel<at_cuda_detail::cub::policy_hub<int>>(int)",
    ),
    "embedding": (
        "void split_embedding_codegen_forward_unweighted_kernel<float, float, float, false>(int)",
        "void split_embedding_backward_codegen_adagrad_unweighted_kernel_cta_per_row_1<float>(int)",
        "void bounds_check_indices_kernel<long>(int)",
        "void linearize_index_kernel<long>(at::GenericPackedTensorAccessor<long>)",
        "void at::native::(anonymous namespace)::EmbeddingBag_updateOutputKernel_sum_mean<float, long>(long const*)",
        "void at::native::(anonymous namespace)::embedding_backward_feature_kernel<float, float, long>(long const*)",
        "void at::native::(anonymous namespace)::compute_grad_weight<float, long>(long const*)",
        "void at::native::(anonymous namespace)::krn_partial_segment_offset<long>(long*)",
        "void fbgemm_gpu::lxu_cache_lookup_kernel<long>(int)",
    ),
    "reduction": (
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float, float>>>(int)",
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::NormTwoOps<float>>>(int)",
        "void at::native::multi_tensor_apply_kernel<TensorListMetadata<1>, at::native::LpNormFunctor<float>>",
        "void at::native::lpnorm_cleanup<float, (at::native::NormType)1, float>(float const*)",
        "void at::native::tensor_kernel_scan_innermost_dim<float, std::plus<float> >(float*)",
        "void cub::DeviceScanKernel<cub::DeviceScanPolicy<int>::Policy600, int*, int*>(int*)",
        "void cub::DeviceReduceByKeyKernel<cub::DispatchReduceByKey<long*>>(long*)",
        "void cudnn::pooling_fw_4d_kernel<float, float, cudnn::maxpooling_func<float>>(int)",
        "void at::native::(anonymous namespace)::max_pool_forward_nchw<float, float>(int)",
        "void at::native::(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d<float>(float*)",
        "void vllm::moe::moe_sum_kernel<__nv_bfloat16, 8>(__nv_bfloat16*)",
        "void moe::dev::finalize::finalizeKernelVecLoad<int>",
        "void tensorrt_llm::kernels::finalizeMoeRoutingKernel<__nv_bfloat16>(int)",
    ),
    "recurrent": (
        "void LSTM_elementWise_fp<float, float, float, (cudnnRNNBiasMode_t)2>(int)",
        "void GRU_elementWise_bp2<float, float, float, 3, (cudnnRNNBiasMode_t)2>(int)",
        "void RNN_blockPersist_fp_LSTM<float, float, float, 256>(int)",
        "void elemWiseRNNcell<float, float, float, (cudnnRNNMode_t)2>(int)",
        "void at::native::(anonymous namespace)::kernel::lstm_cell_forward<float, float, int, 1>(int)",
        "void selective_scan_fwd_kernel<Selective_Scan_fwd_kernel_traits<128, 16>>(SSMParamsBase)",
        "_chunk_scan_fwd_kernel",
        "_state_passing_fwd_kernel",
        "fused_recurrent_gated_delta_rule_fwd_kernel",
    ),
    "attention": (
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0",
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64, 64, 4>>(Flash_fwd_params)",
        "void flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64>>(int)",
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<int>>>(int)",
        "fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<int>::Params)",
        "fmhaSm100aKernel_QkvE4m3OBfloat16H64PagedKvCausalP16VarSeqQ128Kv128PersistentContext",
        "void vllm::paged_attention_v1_kernel<unsigned short, unsigned short, 128, 16, 128>(unsigned short*)",
        "void paged_attention_ll4mi_QKV_mfma16_kernel<__hip_bfloat16>(int)",
        "void flashinfer::BatchPrefillWithPagedKVCacheKernel<flashinfer::KernelTraits<0>>(int)",
        "void flashinfer::BatchDecodeWithPagedKVCacheKernel<0, 2u, 4u, 8u, 16u>(int)",
        "void flashinfer::MergeStateInPlaceKernel<8u, float>(float*)",
        "void vllm::merge_attn_states_kernel<__nv_bfloat16, uint4, 128u>(__nv_bfloat16*)",
        "kernel_unified_attention_2d",
        "_fwd_kernel",
        "_fwd_grouped_kernel_stage1",
        "_fwd_kernel_stage2",
        "attn_fwd",
        "bwd_kernel_dk_dv",
        "void flash_mla::flash_fwd_splitkv_mla_kernel<int>(int)",
        "_ZN7ck_tile6kentryILi256ELi2ENS_13FmhaFwdKernelINS_28BlockFmhaPipelineQRKSVSAsyncEEEEEvDpT2_",
        "kernel_mha",
    ),
    "normalization": (
        "void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>(__nv_bfloat16*)",
        "void flashinfer::norm::FusedAddRMSNormKernel<8u, __nv_bfloat16>(__nv_bfloat16*)",
        "void layer_norm::ln_fwd_kernel<layer_norm::Kernel_traits<__nv_bfloat16>>(layer_norm::FwdParams)",
        "void transformer_engine::normalization::rmsnorm_fwd_tuned_kernel<int>(int)",
        "std::enable_if<vllm::_typeConvert<c10::BFloat16>::exists>::type vllm::fused_add_rms_norm_kernel<int>",
        "_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi256ELi16ELb1ELb0ELb1ELi1EEEvPT0_",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>(int, float)",
        "void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<float, float, 32u>(long)",
        "void at::native::(anonymous namespace)::RowwiseMomentsCUDAKernel<c10::Half>(long)",
        "void at::native::batch_norm_transform_input_channels_last_kernel<c10::Half, float, c10::Half, 4>(int)",
        "void cudnn::bn_fw_tr_1C11_singleread<float, 512, true, 1, 2, 0>(int)",
        "MIOpenBatchNormFwdTrainSpatial",
        "_layer_norm_fwd_1pass_kernel",
        "_rms_norm_forward_kernel",
        "l2norm_fwd_kernel",
        "void cuApplyLayerNorm<float, float, float>(float*)",
        "void tensorrt_llm::kernels::fusedQKNormRopeKernel<128, true>(void*)",
    ),
    "rotary": (
        "void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*)",
        "void flashinfer::BatchQKApplyRotaryPosIdsCosSinCacheHeadParallelismKernel<true, 128u>(int)",
        "rotary_kernel",
        "_rope_kernel",
        "void transformer_engine::fused_rope_forward_kernel<__nv_bfloat16>(int)",
    ),
    "convolution": (
        "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64_kernel__5x_cudnn",
        "sm80_xmma_dgrad_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize256x64x32_stage3_execute_kernel__5x_cudnn",
        "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_f16_s16816fprop_optimized_f16_64x64_64x5_nhwc_align8>(int)",
        "void cudnn::winograd_nonfused::winogradForwardData4x4<float, float>(int)",
        "void implicit_convolve_sgemm<float, float, 128, 5, 5, 3, 3, 3, 1>(int)",
        "igemm_fwd_gtcx3_nhwc_bf16_bx0_ex0_bt128x128x32_wt32x32x4_ws1x1_wr2x2",
        "igemm_wrw_gtcx2_nhwc_fp16_bx0_ex1_bt256x128x16",
        "void at::native::(anonymous namespace)::conv_depthwise2d_forward_kernel<1, float, int>(int)",
        "void causal_conv1d_fwd_kernel<Causal_conv1d_fwd_kernel_traits<128, 4, true>>(ConvParamsBase)",
        "naive_conv_ab_nonpacked_fwd_nchw_half_double_half",
        "void at::native::im2col_kernel<float>(long, float const*)",
        "void fft2d_r2c_32x32<float, false, 1u, false>(float2*)",
        "void cudnn::cnn::something<float>(int)",
    ),
    "matmul": (
        "nvjet_sm90_tst_128x8_64x12_4x1_v_bz_TNT",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_kernel__5x_cublas",
        "ampere_sgemm_128x64_tn",
        "ampere_gcgemm_64x64_nt",
        "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false>(int)",
        "void gemvNSP_kernel<float, float, float, float, 1, 32, 4, 1024>(int)",
        "void dot_kernel<float, 128, 0, int>(int)",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float>(int)",
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x64_32x4_tn_align8>(int)",
        "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<int>>(int)",
        "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x256x64_MI16x16x1",
        "bmm_Bfloat16_MxE2m1MxE4m3_Fp32_t128x16x256u2_s3_et128x16_m128x16x32",
        "fused_moe_kernel",
        "fused_moe_kernel_gptq_awq",
        "void marlin::Marlin<__nv_bfloat16, 1125899906909960l, 256, 1, 8, 8, false, 4, 8>(int4 const*)",
        "_w8a8_block_fp8_matmul",
        "void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 2112u, 7168u>(float*)",
        "void ck::kernel_gemm_xdl_cshuffle_v3<ck::GridwiseGemm<int>>(int)",
        "void wvSplitK_hf_sml_<__hip_bfloat16, 64, 2, 16, 8, 2, 1>(int)",
        "void kgemm_4bit_inference_naive<__nv_bfloat16, 128, 16>(int)",
        "ampere_int8_i16832gemm_int8_128x128_ldg16_relu_stages_64x3_tn",
        "volta_igemm_int8_128x128_ldg4_nn",
    ),
    "optimizer": (
        "void at::native::multi_tensor_apply_kernel<TensorListMetadata<4>, at::native::FusedAdamMathFunctor<float>>",
        "void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float, float, int>>(long)",
        "void kOptimizerStatic8bit2StateBlockwise<__nv_bfloat16, 0, 256, 1>(int)",
    ),
    "quantization": (
        "void vllm::scaled_fp8_quant_kernel_strided<c10::BFloat16, c10::Float8_e4m3fn>(int)",
        "void per_token_group_quant_8bit_kernel<c10::BFloat16, c10::Float8_e4m3fn>(int)",
        "void tensorrt_llm::kernels::quantize_with_block_size<(tensorrt_llm::BlockScaleQuantizationType)2>(int)",
        "void kDequantizeBlockwise<__nv_bfloat16, 512, 64, 8, 2>(float*)",
        "void vllm::cvt_fp16_to_fp4<__nv_bfloat16, false>(int)",
        "void vllm::awq::dequantize_weights(int*)",
        "_per_token_group_quant_fp8",
        "void fbgemm_gpu::_float_to_FP8rowwise_quantized_cuda_kernel<float>(int)",
    ),
    "sampling": (
        "void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1024u, 1, true>(float*)",
        "void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>(int)",
        "void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel<float, 4>(long)",
        "void at::native::radixSortKVInPlace<-2, -1, 32, 4, float, long, unsigned int>(int)",
        "void at_cuda_detail::cub::detail::radix_sort::DeviceRadixSortOnesweepKernel<int>(int)",
        "void vllm::moe::topkGatingSoftmax<8, 128, 4, 16, 32, int>(float const*)",
        "void moe::dev::routing::routingIndicesHistogramKernel<int>",
        "void at_cuda_detail::cub::detail::unique_by_key::DeviceUniqueByKeySweepKernel<int>(int)",
    ),
    "softmax": (
        "void at::native::(anonymous namespace)::cunn_SoftMaxForward<4, float, float, float>(float*)",
        "void (anonymous namespace)::softmax_warp_backward<float, float, float, 9, true, false>(float*)",
        "void (anonymous namespace)::scaled_masked_softmax_warp_forward<__half, __half, float, 10>(__half*)",
        "liger_cross_entropy_kernel",
        "void flashinfer::OnlineSoftmaxFusedKernel<1024u, 4u, float>(float*)",
    ),
    "copy": (
        "void at::native::(anonymous namespace)::CatArrayBatchedCopy_vectorized<OpaqueType<2u>, 3, 64, 64>(char*)",
        "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, std::array<char*>>",
        "void at::native::elementwise_kernel<128, 4, gpu_kernel_impl_nocast<at::native::direct_copy_kernel_cuda>>",
        "void (anonymous namespace)::elementwise_kernel_with_index<int, at::native::arange_cuda_out>(int)",
        "void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>(int)",
        "void nhwcAddPaddingKernel<float, float, float, true>(int)",
        "batched_transpose_64x32_half",
        "SubTensorOpWithScalar1d",
        "void tensorTransformGeneric<__half, __half, float, true, false, false>(int)",
        "void fbgemm_gpu::permute_2D_data_kernel<false, int, int>(int)",
        "__amd_rocclr_copyBuffer",
        "__amd_rocclr_fillBufferAligned",
        "void at::native::triu_tril_kernel<float, int, true, 1, false>(int)",
    ),
    "pointwise": (
        "void at::native::vectorized_elementwise_kernel<8, at::native::CUDAFunctor_add<c10::BFloat16>>(int)",
        "void vllm::act_and_mul_kernel<c10::BFloat16, vllm::silu_kernel<c10::BFloat16>, true>(c10::BFloat16*)",
        "void at::native::multi_tensor_apply_kernel<TensorListMetadata<1>, at::native::BinaryOpScalarFunctor<float>>",
        "void at::native::(anonymous namespace)::fused_dropout_kernel_vec<float, float, unsigned int, 1, 4, bool>(int)",
        "_swiglu_forward_kernel",
        "void tensorrt_llm::kernels::doActivationKernel<__nv_bfloat16, cutlass::epilogue::thread::SiLu>(int)",
    ),
    "fused": ("triton_poi_fused_add_silu_3", "triton_per_fused__softmax_native_layer_norm_0"),
    "other": ("who knows", "void mine::kernel<float>(int)", "fbgemm_thing", "flashinfer_thing", "converter"),
}  # fmt: skip


@pytest.mark.parametrize(("expected", "kernel"), [(f, kernel) for f, kernels in KERNELS.items() for kernel in kernels])
def test_words_of_a_kernel_without_an_operator(expected: str, kernel: str) -> None:
    assert family(None, kernel, "kernel") == expected
