"""What kernels of known operators touch."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest

from ridgeline.analyze.cache_model import launches
from ridgeline.analyze.cache_model.launches import operands
from ridgeline.analyze.cache_model.launches.launch import PARTIAL_SUMS, Launch, Node, call_of
from ridgeline.analyze.cache_model.operands import Tensor, Touch, view

SQUARE = "nvjet_sm90_tst_192x192_64x4_2x1_v_bz_coopB_TNN"
SPLIT = "nvjet_sm90_tst_64x8_64x16_2x1_v_bz_splitK_TNT"


def dense(storage: int, *shape: int, itemsize: int = 2) -> Tensor:
    return view(storage, 0, shape, None, itemsize)


def touched(operator: str, inputs: list[Tensor], outputs: list[Tensor], *kernels: str) -> list[list[Touch]]:
    names = kernels or ("kernel",)
    frame = pl.DataFrame({"kernel": range(len(names)), "name": names, "call": [1] * len(names)})
    found = operands(frame, {1: call_of(Node(operator, inputs, outputs))})
    return [[Touch(*row[1:]) for row in found.rows() if row[0] == kernel] for kernel in range(len(names))]


def sizes(touches: list[Touch]) -> list[tuple[int, int, bool]]:
    return [(touch.storage, touch.bytes, touch.write) for touch in touches]


def test_broadcast_counts_once() -> None:
    table = view(2, 0, [1, 32, 1152, 128], [147456, 0, 128, 1], 2)
    assert sizes(touched("aten::mul.Tensor", [dense(1, 32, 1152, 128), table], [dense(3, 32, 1152, 128)])[0]) == [
        (1, 9437184, False),
        (2, 294912, False),
        (3, 9437184, True),
    ]


def test_the_same_argument_twice_counts_once() -> None:
    x = dense(1, 1024)
    assert sizes(touched("aten::mul.Tensor", [x, x], [dense(2, 1024)])[0]) == [(1, 2048, False), (2, 2048, True)]


def test_a_strided_view_pays_for_whole_sectors_within_its_span() -> None:
    assert view(1, 0, [100], [64], 2)[2:4] == (3200, 12674)
    assert view(1, 64, [32, 64], [128, 1], 2)[1:4] == (128, 4096, 8064)


def test_in_place_reads_and_writes_but_a_copy_only_writes() -> None:
    x, y = dense(1, 1024), dense(2, 1024)
    assert sizes(touched("aten::add_.Tensor", [x, y], [x])[0]) == [(1, 2048, False), (2, 2048, False), (1, 2048, True)]
    assert sizes(touched("aten::copy_", [x, y], [x])[0]) == [(2, 2048, False), (1, 2048, True)]


def test_a_product_reads_its_left_operand_in_every_wave() -> None:
    left, right, result = touched(
        "aten::mm", [dense(1, 1152, 4096), dense(2, 4096, 12288)], [dense(3, 1152, 12288)], SQUARE
    )[0]
    assert (left.waves, left.parts, left.stay, left.shared) == (3, 1, 1, True)
    assert (right.waves, right.parts, right.stay, right.shared) == (3, 3, 1, True)
    assert (result.waves, result.write) == (3, True)


def test_addmm_reads_its_bias() -> None:
    found = touched("aten::addmm", [dense(4, 64), dense(1, 8, 32), dense(2, 32, 64)], [dense(3, 8, 64)], SQUARE)[0]
    assert sizes(found) == [(4, 128, False), (1, 512, False), (2, 4096, False), (3, 1024, True)]


def test_split_sums_go_through_a_workspace() -> None:
    product, reduction = touched(
        "aten::mm",
        [dense(1, 1, 4096), dense(2, 4096, 4096)],
        [dense(3, 1, 4096)],
        SPLIT,
        "cublasLt::splitKreduce_kernel",
    )
    assert sizes(product) == [(1, 8192, False), (2, 33554432, False), (PARTIAL_SUMS, 32768, True)]
    assert sizes(reduction) == [(PARTIAL_SUMS, 32768, False), (3, 8192, True)]


def test_a_product_that_a_sum_follows_leaves_partial_sums() -> None:
    inputs, outputs = [dense(1, 512, 4096), dense(2, 4096, 512)], [dense(3, 512, 512)]
    kernels = "cutlass::Kernel2<cutlass_80_simt_sgemm_128x64_8x5_nt_align1>", "cublasLt::splitKreduce_kernel"
    product, reduction = touched("aten::mm", inputs, outputs, *kernels)
    # 4 times 8 tiles on 132 multiprocessors: 4 partial sums in fp32
    assert sizes(product)[2:] == [(PARTIAL_SUMS, 4194304, True)]
    assert sizes(reduction) == [(PARTIAL_SUMS, 4194304, False), (3, 524288, True)]


def test_kernels_named_xmma_take_whole_columns_of_two_tiles_a_multiprocessor() -> None:
    kernel = "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize128x128x8_stage3_execute_kernel__5x_cublas"
    inputs, outputs = [dense(1, 8448, 768), dense(2, 768, 2304)], [dense(3, 8448, 2304)]
    left, right, result = touched("aten::mm", inputs, outputs, kernel)[0]
    # 66 rows and 18 columns of tiles: a wave of 264 has 4 columns, so the left operand is read whole in 5 waves
    assert (left.waves, left.parts, right.parts, result.waves) == (5, 1, 5, 5)
    assert (left.shared, right.shared) == (2, 2)
    # of 1,000 rows of tiles a wave has 132 in both columns, so that the left operand is read about once
    inputs, outputs = [dense(1, 128000, 768), dense(2, 768, 256)], [dense(3, 128000, 256)]
    left, right, result = touched("aten::mm", inputs, outputs, kernel)[0]
    assert (left.waves, round(left.parts, 2), round(right.parts, 2)) == (8, 7.58, 1.06)


def test_small_products_of_a_batch_share_a_wave() -> None:
    kernel = "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize32x32x8_stage3_execute_kernel__5x_cublas"
    inputs, outputs = [dense(1, 528, 27, 64), dense(2, 528, 64, 27)], [dense(3, 528, 27, 27)]
    assert [touch.waves for touch in touched("aten::bmm", inputs, outputs, kernel)[0]] == [2, 2, 2]


def test_transposed_and_repeated_operands_are_read_from_both_halves() -> None:
    out, plain, transposed = dense(1, 64, 32), dense(2, 64, 32), view(3, 0, [64, 32], [1, 64], 2)
    repeated = view(4, 0, [64, 32], [0, 1], 2)
    found = touched("aten::addcmul", [plain, transposed, repeated], [out])[0]
    assert [(touch.storage, touch.shared) for touch in found] == [(2, 0), (3, 2), (4, 2), (1, 0)]
    assert [touch.shared for touch in touched("aten::sum", [dense(2, 64, 32)], [dense(1, 64, 1)])[0]] == [0, 0]


def test_an_argument_that_is_written_is_not_read() -> None:
    mask, x, out = dense(1, 64), dense(2, 64), dense(3, 64)
    assert sizes(touched("aten::where", [mask, x, out], [out])[0]) == [(1, 128, False), (2, 128, False), (3, 128, True)]


@pytest.mark.parametrize(
    ("kernel", "rows"), [("nvjet_sm90_tst_0x0_64x3_TNT", 8), (SQUARE, 0), (SPLIT, 0), (f"{'9' * 30}x1_splitK_", 8)]
)
def test_damaged_sizes_of_a_product_or_its_tiles_end_no_load(kernel: str, rows: int) -> None:
    found = touched("aten::mm", [dense(1, rows, 32), dense(2, 32, 64)], [dense(3, rows, 64)], kernel)[0]
    assert {touch.storage for touch in found if touch.storage > 0} <= {1, 2, 3}
    assert (2, 4096, False) in sizes(found)


def test_a_generated_kernel_writes_its_last_argument() -> None:
    found = touched("triton_poi_fused_add_0", [dense(1, 64), dense(2, 64)], [])[0]
    assert sizes(found) == [(1, 128, False), (2, 128, True)]


def test_a_generated_kernel_that_updates_its_first_argument_reads_the_last_one() -> None:
    first = dense(1, 64)
    found = touched("triton_poi_fused_silu_backward_0", [first, dense(2, 64)], [first])[0]
    assert sizes(found) == [(1, 128, False), (2, 128, False), (1, 128, True)]
    assert sizes(touched("triton_poi_fused_relu_0", [first], [first])[0]) == [(1, 128, False), (1, 128, True)]
    assert sizes(touched("triton_poi_fused_zeros_0", [first], [first])[0]) == [(1, 128, True)]


def test_an_operator_of_an_engine_touches_what_its_rule_says() -> None:
    result, x, weight = dense(1, 8, 64), dense(2, 8, 64), dense(3, 64)

    def of(operator: str, *inputs: Tensor, results: Sequence[Tensor] = ()) -> list[tuple[int, int, bool]]:
        call = Node(operator, inputs, results, arguments=tuple(range(len(inputs))))
        return sizes(launches.touches(Launch(call, ("k",), 0, 132)))

    assert of("_C::rms_norm", result, x, weight) == [(2, 1024, False), (3, 128, False), (1, 1024, True)]
    added = [(1, 1024, False), (2, 1024, False), (3, 128, False), (1, 1024, True), (2, 1024, True)]
    assert of("_C::fused_add_rms_norm", result, x, weight) == added
    returned = [(2, 1024, False), (3, 128, False), (1, 1024, True)]
    assert of("LigerRMSNormFunction", x, weight, results=[result]) == returned
    assert of("mine::unknown", x, weight, results=[result]) == returned


def test_a_permutation_of_jagged_values_moves_its_lengths_apart() -> None:
    """24 features of 16 lengths: 1,536 bytes of lengths and of offsets, 3,072 of values."""
    inputs = [dense(1, 24, itemsize=4), dense(2, 24, 16, itemsize=4), dense(3, 768, itemsize=4)]
    kernels = (
        "permute_2D_lengths_kernel",
        "cub::DeviceScanInitKernel",
        "cub::DeviceScanKernel",
        "permute_2D_data_kernel",
    )
    call = Node("fbgemm::permute_2D_sparse_data", inputs, [dense(4, 1152, itemsize=4)], arguments=(0, 1, 2))
    lengths, start, scan, values = (launches.touches(Launch(call, kernels, at, 132)) for at in range(4))
    assert [size for _, size, _ in sizes(lengths)] == [96, 1536, 1536]
    assert (list(start), [size for _, size, _ in sizes(scan)]) == ([], [1536, 1536])
    assert [size for _, size, _ in sizes(values)] == [96, 1536, 3072, 4608]


def test_kernels_without_a_known_call_touch_nothing() -> None:
    frame = pl.DataFrame({"kernel": [0, 1], "name": ["a", "b"], "call": [None, 5]})
    assert operands(frame, {}).is_empty()


def test_blocks_of_a_tall_product_read_its_right_operand_again() -> None:
    """75 rows of 160, 56 columns of 256: blocks of 6.5 rows, so 11.5 down and 2.8 across, in 32 waves."""
    kernel = "nvjet_sm90_tst_256x160_64x4_2x1_v_bz_coopA_TNT"
    left, right, result = touched(
        "aten::mm", [dense(1, 12000, 4096), dense(2, 4096, 14336)], [dense(3, 12000, 14336)], kernel
    )[0]
    down = 75 / 6.5
    assert (left.waves, left.parts, left.stay) == (32, down, 1)
    assert (right.waves, right.parts, right.stay) == (32, 32 / down, down)
    assert result.waves == 32


def test_a_generated_kernel_touches_of_a_table_what_its_loop_can() -> None:
    table, few, rows = dense(1, 126464, 4096), dense(2, 32, 4096), dense(3, 32, 4096)
    frame = pl.DataFrame({"kernel": [0], "name": ["triton_red_fused_1"], "call": [1]})
    node = Node("triton_red_fused_1", [table, few, rows], [], iterations=32 * 4096)
    assert operands(frame, {1: call_of(node)})["bytes"].to_list() == [262144, 262144, 262144]


def test_what_combines_parts_of_attention_reads_no_keys() -> None:
    q, k, out = dense(1, 4, 32, 1, 128), dense(2, 4, 8, 3000, 128), dense(3, 4, 32, 1, 128)
    split, combine = touched(
        "aten::_cudnn_attention_forward", [q, k, k], [out], "cudnn_generated_sdpa", "void cudnn::fusion::lean_reduction"
    )
    assert {touch.storage for touch in split} == {1, 2, 3}
    assert sizes(combine) == [(3, 32768, True)]


ELEMENTWISE = "void at::native::vectorized_elementwise_kernel<4, exp>(int)"
REDUCE = "void at::native::reduce_kernel<512, 1, max>(int)"


def test_launches_of_an_operator_too_long_for_32_bits_each_touch_a_part() -> None:
    """Logits of 128 sequences of 160 tokens in float32 are 10.4 GB: PyTorch launches eight times, 1.3 GB each."""
    logits, sums = dense(1, 20480, 126464, itemsize=4), dense(2, 20480, itemsize=4)
    found = touched("aten::sub.Tensor", [logits, sums], [logits], *[ELEMENTWISE] * 8)
    for i, (whole, small, written) in enumerate(found):
        assert (whole.offset, whole.bytes, whole.span, whole.write) == (
            i * whole.bytes,
            logits.bytes // 8,
            whole.bytes,
            False,
        )
        assert written == whole._replace(write=True)
        assert (small.offset, small.bytes) == (i * 10240, 10240)
    assert sum(touches[0].bytes for touches in found) == logits.bytes
    odd = touched("aten::max.dim", [dense(1, (1 << 31) + 5, itemsize=1)], [], *[REDUCE] * 3)
    assert [(touch.offset, touch.bytes) for (touch,) in odd] == [
        (0, 715827884),
        (715827884, 715827884),
        (1431655768, 715827885),
    ]


def test_other_kernels_launched_twice_touch_all_each_time() -> None:
    long, short = dense(1, 1 << 30), dense(2, 1 << 30, itemsize=1)
    kernels = [ELEMENTWISE, REDUCE, "sort", "sort"]
    assert [sizes(touches) for touches in touched("aten::sort", [long], [], *kernels)] == [[(1, 1 << 31, False)]] * 4
    assert [sizes(touches) for touches in touched("aten::exp", [short], [], ELEMENTWISE, ELEMENTWISE)] == [
        [(2, 1 << 30, False)]
    ] * 2


@pytest.mark.parametrize(
    ("names", "undivided"),
    [(["first", "second"], {0, 1}), (["first"], set()), (["Memset (Device)", "first"], set())],
)
def test_kernels_that_no_rule_tells_apart_touch_an_unknown_part(names: list[str], undivided: set[int]) -> None:
    frame = pl.DataFrame({"kernel": range(len(names)), "name": names, "call": [1] * len(names)})
    call = call_of(Node("mine::op", [dense(1, 64)], [dense(2, 64)]))
    assert launches.touched(frame, {1: call}, 132).undivided == undivided
