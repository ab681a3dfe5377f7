"""What the launches of recurrent networks touch; storages below zero are workspaces."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper
from ridgeline.analyze.cache_model.operands import Tensor, Touch
from tests.analyze.cache_model.launches.calls import dense, sizes, touched

CELL, STEP, BLOCK = (
    "void elemWiseRNNcell<float>",
    "sm90_xmma_gemm_tilesize64x64x32",
    "sm90_xmma_gemm_tilesize128x128x32",
)
BACK, BIAS = "void LSTM_elementWise_bp1<float>", "void GENERIC_elementWise_bp2<float>"
SUM, FIRST = "sm90_xmma_gemm_nt_tilesize256x128x32", "cutlass_s1688gemm_128x256_nt"


def fp32(storage: int, *shape: int) -> Tensor:
    return dense(storage, *shape, itemsize=4)


# an LSTM of two layers: 2 sequences of 3 steps, 8 values each, 4 hidden; lists have no element type
LIST = [[16, 8], [16, 4], [16], [16], [16, 4], [16, 4], [16], [16]]
ELEMENTS = 16 * (8 + 4 + 4 + 4 + 4)
FORWARD = [
    fp32(0, 2, 3, 8), *(dense(9, *shape) for shape in LIST), fp32(1, ELEMENTS), fp32(2, 2, 2, 4), fp32(3, 2, 2, 4),
]  # fmt: skip
GATES, STATES, INPUT, HIDDEN = 6 * 16 * 4, 6 * 4 * 4, 16 * 8 * 4, 16 * 4 * 4
"""Bytes of the gates and states of a layer, and of the first layer's matrices."""


def places(touches: list[Touch]) -> list[tuple[int, int, int, str]]:
    """Storage, offset, bytes, and whether they are read or written."""
    return [(t.storage, t.offset, t.bytes, "written" if t.write else "read") for t in touches]


def test_the_matrix_of_the_hidden_state_is_read_at_every_step() -> None:
    result = Tensor(4, 0, 4 * (24 + 2 * 16 + 264), 4 * 320, (320,), 4)
    kernels = (BLOCK, *(STEP, CELL) * 3, BLOCK, *(STEP, CELL) * 3)
    found = touched("aten::_cudnn_rnn", FORWARD, [result], *kernels)
    # storage 1 is that of the list, 2 the buffer, 5 the result
    assert places(found[0]) == [(2, 0, INPUT, "read"), (0, 0, 192, "read"), (-2, 0, GATES, "written")]
    assert places(found[3]) == [
        (2, INPUT, HIDDEN, "read"), (-2, GATES // 3, GATES // 3, "read"), (-2, GATES // 3, GATES // 3, "written"),
    ]  # fmt: skip
    assert places(found[4]) == [
        (-2, GATES // 3, GATES // 3, "read"), (-3, STATES // 3, STATES // 3, "written"),
        (-4, STATES // 3, STATES // 3, "written"),
    ]  # fmt: skip
    # the second layer reads the states of the first and writes the result
    assert places(found[7])[1:] == [(-3, 0, STATES, "read"), (-2, GATES, GATES, "written")]
    assert places(found[9])[1] == (5, 0, STATES // 3, "written")
    assert [type(launch) for launch in found[:3]] == [list, list, Helper]


def test_gradients_of_weights_are_added_up_after_the_last_step() -> None:
    arguments = [*FORWARD, fp32(4, 2, 3, 4), fp32(5, 2, 3, 4), dense(6, 240, itemsize=1)]
    result = Tensor(7, 0, 4 * (48 + 2 * 16 + ELEMENTS - 64), 4 * 368, (368,), 4)
    kernels = (*(BACK, STEP) * 8, BIAS, FIRST, SUM, SUM, SUM, SUM)
    found = touched("aten::_cudnn_rnn_backward", arguments, [result], *kernels)
    # an eighth of what the forward pass kept, the gradient from above, the gradients of the gates
    assert places(found[0]) == [(7, 0, 30, "read"), (-3, 0, STATES // 4, "read"), (-2, 0, GATES // 4, "written")]
    # two steps of a layer, then two of the other, whose gradient is an argument
    assert [places(found[at])[1][0] for at in (0, 2, 4, 6)] == [-3, -3, 6, 6]
    assert places(found[1]) == [(2, INPUT, HIDDEN, "read"), (-2, 0, GATES // 4, "read")]
    assert places(found[16]) == [(-2, 0, GATES, "read")]
    assert sizes(found[17]) == [(8, HIDDEN, "written")]
    of_weights = result.bytes - 4 * (ELEMENTS - 64)
    assert places(found[18]) == [
        (-2, 0, GATES, "read"), (0, 0, 192, "read"), (8, of_weights, INPUT, "read"), (8, of_weights, INPUT, "written"),
    ]  # fmt: skip


def test_products_read_transformed_matrices() -> None:
    transform = "void internal::region_transform_ABC_val<int>"
    found = touched("aten::_cudnn_rnn", FORWARD, [fp32(4, 2, 3, 4)], transform, transform, STEP, CELL)
    assert places(found[1]) == [(2, INPUT, HIDDEN, "read"), (-5, INPUT, HIDDEN, "written")]
    assert places(found[2])[0] == (-5, INPUT, HIDDEN, "read")


def test_a_persistent_kernel_reads_the_matrix_once() -> None:
    persistent = "void RNN_blockPersist_fp_LSTM<float>"
    found = touched("aten::_cudnn_rnn", FORWARD, [fp32(4, 2, 3, 4)], BLOCK, persistent, BLOCK, persistent)
    assert places(found[1])[:2] == [(2, INPUT, HIDDEN, "read"), (-2, 0, GATES, "read")]
    assert [touch.bytes for touch in found[3]] == [HIDDEN, GATES, STATES, STATES]


def test_unknown_kernels_share_the_operands() -> None:
    found = touched("aten::_cudnn_rnn", [fp32(0, 6, 8), fp32(1, 16, 8)], [fp32(2, 6, 4)], "one", "two")
    assert [sizes(launch) for launch in found] == [[(0, 96, "read"), (1, 256, "read"), (2, 48, "written")]] * 2
    assert all(isinstance(launch, Chunk) for launch in found)
