"""What the launches of attention's backward pass touch; storages below zero are workspaces."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Helper
from ridgeline.analyze.cache_model.operands import Tensor
from tests.analyze.cache_model.launches.calls import dense, sizes, touched

DOT, MAIN = "void cudnn::fusion::compute_dot_do_o<true>", "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma"
CONVERT, HEADS = "void cudnn::fusion::convert_dq_to_16bits<true>", "void cudnn::fusion::fmha_reduce_head<true>"

# 4 query heads share 2 key heads: gradient, query, key, value, result, log-sum-exp
QUERY, KEY = 2 * 4 * 16 * 8 * 2, 2 * 2 * 16 * 8 * 2
INPUTS = [
    dense(0, 2, 4, 16, 8), dense(1, 2, 4, 16, 8), dense(2, 2, 2, 16, 8), dense(3, 2, 2, 16, 8), dense(4, 2, 4, 16, 8),
    dense(5, 2, 4, 16, 1, itemsize=4),
]  # fmt: skip
OUTPUTS = [dense(6, 2, 4, 16, 8), dense(7, 2, 2, 16, 8), dense(8, 2, 2, 16, 8)]


def test_the_queries_gradient_is_summed_in_fp32() -> None:
    found = touched("aten::_cudnn_attention_backward", INPUTS, OUTPUTS, DOT, MAIN, CONVERT, HEADS, HEADS)
    assert [sizes(launch) for launch in found] == [
        [(0, QUERY, "read"), (4, QUERY, "read"), (-2, 2 * QUERY, "written")],
        [
            (0, QUERY, "read"), (1, QUERY, "read"), (2, KEY, "read"), (3, KEY, "read"), (-2, 2 * QUERY, "read"),
            (-2, 2 * QUERY, "written"), (-3, 2 * KEY, "written"), (-4, 2 * KEY, "written"),
        ],
        [(-2, 2 * QUERY, "read"), (6, QUERY, "written")],
        [(-3, 2 * KEY, "read"), (7, KEY, "written")],
        [(-4, 2 * KEY, "read"), (8, KEY, "written")],
    ]  # fmt: skip
    assert [isinstance(launch, Helper) for launch in found] == [True, False, True, True, True]


def test_a_guessed_call_has_one_result_that_holds_all_gradients() -> None:
    size = QUERY + 2 * KEY
    tokens_first = [dense(n, 2, 16, 4, 8) for n in range(5)]
    whole = Tensor(6, 0, size, size, (size // 2,), 2)
    found = touched("aten::_flash_attention_backward", tokens_first, [whole], "flash_bwd_dot_do_o_kernel", "flash_bwd")
    # no kernel converts, so the main kernel writes the queries' gradient
    assert [touch[:3] for touch in found[1] if touch.write] == [(5, 0, QUERY), (5, QUERY, QUERY), (5, 2 * QUERY, QUERY)]


def test_a_single_kernel_reads_and_writes_everything() -> None:
    found = touched("aten::_efficient_attention_backward", INPUTS, OUTPUTS, "fmha_cutlassB_f32_aligned_64x64_k64_sm80")
    assert [size for _, size, _ in sizes(found[0])] == [QUERY, QUERY, KEY, KEY, QUERY, 512, QUERY, KEY, KEY]
