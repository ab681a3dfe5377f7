"""What the launches of convolutions touch; storages below zero are workspaces."""

from __future__ import annotations

import pytest

from ridgeline.analyze.cache_model.launches.launch import Helper
from ridgeline.analyze.cache_model.operands import Tensor
from tests.analyze.cache_model.launches.calls import dense, sizes, touched

IN, OUT = "cudnn::engines_precompiled::nchwToNhwcKernel<float>", "cudnn::engines_precompiled::nhwcToNchwKernel<float>"
FPROP, FPROP_NCHW = "sm90_xmma_fprop_nhwckrsc_nhwc_tilesize64x128x32", "sm80_xmma_fprop_nhwckrsc_nchw_tilesize64x128x32"
DGRAD, WGRAD = "sm90_xmma_dgrad_nhwckrsc_nhwc_tilesize64x64x32", "sm90_xmma_wgrad_nhwckrsc_nhwc_tilesize64x64x32"
INIT = "xmma__5x_cudnn::init_device_workspace_kernel<>"

X, W, Y = dense(1, 2, 8, 6, 6, itemsize=4), dense(2, 16, 8, 3, 3, itemsize=4), dense(3, 2, 16, 6, 6, itemsize=4)
DX, DW = dense(4, 2, 8, 6, 6, itemsize=4), dense(5, 16, 8, 3, 3, itemsize=4)
SMALL, WEIGHT, LARGE = 2304, 4608, 4608  # bytes of X, W and Y


def test_layout_kernels_copy_the_operands_and_the_result() -> None:
    found = touched("aten::cudnn_convolution", [X, W], [Y], IN, IN, "Memset (Device)", FPROP, OUT)
    assert [sizes(launch) for launch in found] == [
        [(0, SMALL, "read"), (-2, SMALL, "written")],
        [(1, WEIGHT, "read"), (-3, WEIGHT, "written")],
        [],
        [(-2, SMALL, "read"), (-3, WEIGHT, "read"), (-4, LARGE, "written")],
        [(-4, LARGE, "read"), (2, LARGE, "written")],
    ]
    assert [isinstance(launch, Helper) for launch in found] == [True, True, False, False, True]


def test_a_kernel_for_nchw_results_writes_the_result() -> None:
    # the weight of one pixel has the same layout both ways
    weight = dense(2, 16, 8, 1, 1, itemsize=4)
    found = touched("aten::cudnn_convolution", [X, weight], [Y], IN, INIT, FPROP_NCHW)
    assert [sizes(launch) for launch in found] == [
        [(0, SMALL, "read"), (-2, SMALL, "written")],
        [],
        [(-2, SMALL, "read"), (1, 512, "read"), (2, LARGE, "written")],
    ]


def test_channels_are_padded_to_16_bytes() -> None:
    image, weight = dense(1, 2, 3, 6, 6), dense(2, 8, 3, 3, 3)
    pad = "void nhwcAddPaddingKernel<__half>"
    first = "sm90_xmma_fprop_image_first_layer_f16f16_nhwckrsc_nhwc_hmma_k64c4r7s7_stride2x2"
    found = touched("aten::cudnn_convolution", [image, weight], [dense(3, 2, 8, 6, 6)], pad, pad, FPROP)
    assert [sizes(launch)[1] for launch in found[:2]] == [
        (-2, 2 * 8 * 36 * 2, "written"),
        (-3, 8 * 8 * 9 * 2, "written"),
    ]
    found = touched("aten::cudnn_convolution", [image, weight], [dense(3, 2, 8, 6, 6)], pad, pad, first)
    assert sizes(found[0])[1] == (-2, 2 * 4 * 36 * 2, "written")


def test_a_backward_pass_computes_the_gradient_of_the_input_then_that_of_the_weight() -> None:
    kernels = (IN, IN, DGRAD, OUT, IN, IN, INIT, WGRAD, OUT)
    found = touched("aten::convolution_backward", [Y, X, W], [DX, DW], *kernels)
    assert [sizes(launch) for launch in found] == [
        [(2, WEIGHT, "read"), (-2, WEIGHT, "written")],
        [(0, LARGE, "read"), (-3, LARGE, "written")],
        [(-2, WEIGHT, "read"), (-3, LARGE, "read"), (-4, SMALL, "written")],
        [(-4, SMALL, "read"), (3, SMALL, "written")],
        [(1, SMALL, "read"), (-2, SMALL, "written")],
        [(0, LARGE, "read"), (-3, LARGE, "written")],
        [],
        [(-2, SMALL, "read"), (-3, LARGE, "read"), (-4, WEIGHT, "written")],
        [(-4, WEIGHT, "read"), (4, WEIGHT, "written")],
    ]


def test_a_guessed_call_has_one_result_that_holds_both_gradients() -> None:
    whole = Tensor(4, 0, SMALL + WEIGHT + 64, SMALL + WEIGHT + 64, (1744,), 4)
    found = touched("aten::convolution_backward", [Y, X, W], [whole], DGRAD, WGRAD)
    assert [[*launch][-1][:3] for launch in found] == [(3, 0, SMALL), (3, SMALL, WEIGHT)]
    # the gradients of weight and bias together
    found = touched("aten::convolution_backward", [Y, X, W], [DX, whole._replace(bytes=WEIGHT + 64)], DGRAD, WGRAD)
    assert [[*launch][-1][:3] for launch in found] == [(3, 0, SMALL), (3, 0, WEIGHT)]
    # only the weight's gradient is as large
    only = Tensor(4, 0, WEIGHT, WEIGHT, (1152,), 4)
    found = touched("aten::convolution_backward", [Y, X, W], [only], "nvjet_sm90_hsh_64x64_64x13_2x1_v_bz_NTT")
    assert sizes(found[0]) == [(1, SMALL, "read"), (0, LARGE, "read"), (3, WEIGHT, "written")]


def test_products_without_a_direction_in_their_names_come_in_the_order_of_the_gradients() -> None:
    product, split = "nvjet_sm90_hsh_128x192_64x5_1x2_h_bz_coopB_NNN", "nvjet_sm90_hsh_64x64_64x13_2x1_v_bz_splitK_NTT"
    weight, gradient = dense(2, 16, 8, 1, 1), dense(5, 16, 8, 1, 1)
    found = touched(
        "aten::convolution_backward", [dense(3, 2, 16, 6, 6), dense(1, 2, 8, 6, 6), weight],
        [dense(4, 2, 8, 6, 6), gradient], product, split, "cublasLt::splitKreduce_kernel<32>",
    )  # fmt: skip
    partial = 16 * 8 * 4 * 4  # four copies in fp32
    assert [sizes(launch) for launch in found] == [
        [(2, 256, "read"), (0, 2304, "read"), (3, 1152, "written")],
        [(1, 1152, "read"), (0, 2304, "read"), (-1, partial, "written")],
        [(-1, partial, "read"), (4, 256, "written")],
    ]


def test_cutlass_names_the_gradient_in_its_types() -> None:
    mangled = "_ZN17cutlass__5x_cudnn6KernelINS_4conv6kernel23ImplicitGemmConvolutionI52Conv2dWgradOutputGradientTile"
    sums = "void cutlass__5x_cudnn::Kernel<cutlass__5x_cudnn::reduction::kernel::ReduceSplitK<>>"
    found = touched("aten::convolution_backward", [Y, X, W], [DX, DW], "cutlass_s1688gemm_nt", IN, IN, mangled, sums)
    assert [sizes(launch)[-1] for launch in found] == [
        (3, SMALL, "written"), (-2, SMALL, "written"), (-3, LARGE, "written"), (-1, 4 * WEIGHT, "written"),
        (4, WEIGHT, "written"),
    ]  # fmt: skip


def test_the_gradient_of_a_transposed_convolution_is_a_convolution() -> None:
    # 16 channels in, 8 out: the weight's first dimension counts the input's channels
    source, gradient = dense(1, 2, 16, 3, 3, itemsize=4), dense(3, 2, 8, 6, 6, itemsize=4)
    found = touched(
        "aten::convolution_backward", [gradient, source, W], [source, DW], IN, IN, FPROP_NCHW, IN, IN, WGRAD
    )
    assert [sizes(launch)[0] for launch in found[:2]] == [(0, 2304, "read"), (2, WEIGHT, "read")]
    assert [sizes(launch)[0] for launch in found[3:5]] == [(0, 2304, "read"), (1, 1152, "read")]
    found = touched("aten::cudnn_convolution_transpose", [source, W], [gradient], IN, IN, DGRAD, OUT)
    assert [sizes(launch)[0] for launch in found[:2]] == [(1, WEIGHT, "read"), (0, 1152, "read")]


def test_miopen_clears_the_result_and_casts_the_weights_gradient() -> None:
    clear, cast = "SubTensorOpWithScalar1d", "SubTensorOpWithCastTensor1d"
    transpose, dgrad, wgrad = "batched_transpose_32x32_half", "igemm_bwd_gtcx3_nhwc_bf16", "igemm_wrw_gtcx3_nhwc_bf16"
    kernels = (clear, transpose, transpose, dgrad, transpose, clear, transpose, transpose, wgrad, cast, transpose)
    found = touched("aten::convolution_backward", [Y, X, W], [DX, DW], *kernels)
    assert [sizes(launch)[0][:2] for launch in found] == [
        (-4, SMALL), (0, LARGE), (2, WEIGHT), (-2, LARGE), (-4, SMALL),
        (-4, WEIGHT), (1, SMALL), (0, LARGE), (-2, SMALL), (-4, WEIGHT), (-4, WEIGHT),
    ]  # fmt: skip
    assert sizes(found[-1])[1] == (4, WEIGHT, "written")


def test_miopen_unfolds_the_input_into_columns() -> None:
    found = touched("aten::miopen_convolution", [X, W], [Y], "Im2d2Col", "Cijk_Ailk_Bljk_SB_MT64x64x8")
    columns = 2 * 36 * 8 * 9 * 4
    assert [sizes(launch) for launch in found] == [
        [(0, SMALL, "read"), (-2, columns, "written")],
        [(-2, columns, "read"), (1, WEIGHT, "read"), (2, LARGE, "written")],
    ]
    assert [isinstance(launch, Helper) for launch in found] == [True, False]


def test_each_of_several_equal_kernels_works_on_a_part_of_the_images() -> None:
    columns, product = "at::native::im2col_kernel<float>", "sgemm_128x64"
    found = touched("aten::_slow_conv2d_forward", [X, W], [Y], columns, product, columns, product)
    assert [sizes(launch) for launch in found[2:]] == [
        [(0, SMALL // 2, "read"), (-2, 36 * 8 * 9 * 4, "written")],
        [(-2, 36 * 8 * 9 * 4, "read"), (1, WEIGHT, "read"), (2, LARGE // 2, "written")],
    ]
    assert found[2][0].offset == SMALL // 2


def test_a_stride_longer_than_the_window_leaves_pixels_out() -> None:
    weight, result = dense(2, 16, 8, 1, 1, itemsize=4), dense(3, 2, 16, 3, 3, itemsize=4)
    (found,) = touched("aten::cudnn_convolution", [X, weight], [result], FPROP)
    assert sizes(found)[0] == (0, SMALL // 4, "read")
    assert [touch.shared for touch in found] == [True, True, False]
    # a window of three pixels covers every pixel
    (found,) = touched("aten::cudnn_convolution", [X, W], [result], FPROP)
    assert sizes(found)[0] == (0, SMALL, "read")


def test_a_strided_gradient_is_read_for_every_place_within_a_stride() -> None:
    gradient = dense(3, 2, 16, 3, 3, itemsize=4)
    strided = "sm90_xmma_dgrad_indexed_nhwckrsc_nhwc_strided_execute_kernel"
    found = touched("aten::convolution_backward", [gradient, X, W], [DX, DW], strided, WGRAD)
    # the weight, a part for each place; the gradient, whole each time; the result
    assert [(touch.storage, touch.waves, touch.parts) for touch in found[0]] == [(2, 4, 0), (0, 4, 1), (3, 4, 0)]
    assert found[1][0].waves == 0


@pytest.mark.parametrize("inputs", [[], [X], [dense(1), dense(2)], [X, dense(2, 0, 0, 3, 3)]])
def test_damaged_calls_touch_their_operands(inputs: list[Tensor]) -> None:
    found = touched("aten::cudnn_convolution", inputs, [Y], IN, "nvjet_splitK", "splitKreduce_kernel")
    assert all(touch.bytes >= 0 for launch in found for touch in launch)
