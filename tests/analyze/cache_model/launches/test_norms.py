"""What the launches of norms and of softmax touch."""

from __future__ import annotations

import pytest

from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper, workspace
from tests.analyze.cache_model.launches.calls import dense, sizes, touched

SCALES = workspace(5)


def test_a_group_norm_reads_its_input_for_the_moments_and_for_the_result() -> None:
    x, gamma, beta, y = dense(1, 2, 32, 8, 8), dense(2, 32), dense(3, 32), dense(4, 2, 32, 8, 8)
    kernels = "RowwiseMomentsCUDAKernel<half>", "ComputeFusedParamsCUDAKernel<half>", "vectorized_elementwise_kernel<4>"
    found = touched("aten::native_group_norm", [x, gamma, beta], [y], *kernels)
    # a scale and a shift in fp32 for each of 2 x 32 channels
    assert [sizes(launch) for launch in found] == [
        [(0, 8192, "read")],
        [(1, 64, "read"), (2, 64, "read"), (SCALES, 512, "written")],
        [(0, 8192, "read"), (SCALES, 512, "read"), (3, 8192, "written")],
    ]
    assert [type(launch) for launch in found] == [Chunk, Helper, Chunk]


def test_the_gradient_of_a_group_norm_takes_two_kernels_over_both_tensors() -> None:
    gradient, x, rest, result = dense(1, 2, 32, 8, 8), dense(2, 2, 32, 8, 8), dense(3, 2, 8), dense(4, 2, 32, 8, 8)
    kernels = (
        "ComputeInternalGradients<half>", "elementwise_kernel<128, 4>",
        "ComputeBackwardFusedParams<half>", "elementwise_kernel<128, 4>", "GammaBetaBackwardCUDAKernel1<half>",
    )  # fmt: skip
    found = touched("aten::native_group_norm_backward", [gradient, x, rest], [result], *kernels)
    small = [(2, 32, "read"), (SCALES, 512, "read")]
    assert [sizes(launch) for launch in found] == [
        [(0, 8192, "read"), (1, 8192, "read"), (SCALES, 512, "written")],
        small,
        small,
        [(0, 8192, "read"), (1, 8192, "read"), (SCALES, 512, "read"), (3, 8192, "written")],
        small,
    ]


def test_a_layer_norm_of_uneven_rows_reads_its_input_twice() -> None:
    x, weight, y = dense(1, 8, 63), dense(2, 63), dense(3, 8, 63)
    kernels = "RowwiseMomentsCUDAKernel<half>", "LayerNormForwardCUDAKernel<half>"
    found = touched("aten::native_layer_norm", [x, weight], [y], *kernels)
    assert [sizes(launch) for launch in found] == [
        [(0, 1008, "read")],
        [(0, 1008, "read"), (1, 126, "read"), (2, 1008, "written")],
    ]


def test_the_parameters_of_a_layer_norm_read_both_tensors_and_write_no_gradient_of_the_input() -> None:
    tensors = [dense(1, 8, 64), dense(2, 8, 64), dense(3, 8, 1, itemsize=4), dense(4, 8, 1, itemsize=4)]
    kernels = "layer_norm_grad_input_kernel_vectorized<half>", "GammaBetaBackwardCUDAKernelTemplate<half>"
    found = touched("aten::native_layer_norm_backward", tensors, [dense(5, 8, 64), dense(6, 64)], *kernels)
    reads = [(0, 1024, "read"), (1, 1024, "read"), (2, 32, "read"), (3, 32, "read")]
    assert [sizes(launch) for launch in found] == [[*reads, (4, 1024, "written")], [*reads, (5, 128, "written")]]


@pytest.mark.parametrize(("rows", "columns", "passes"), [(1152, 126464, 3), (4096, 40000, 1), (8, 90000, 1)])
def test_a_softmax_reads_a_row_again_that_the_l1_does_not_hold(rows: int, columns: int, passes: int) -> None:
    """Two blocks of 247 kB and of 78 kB on a multiprocessor, one of 176 kB."""
    x, y = dense(1, rows, columns), dense(2, rows, columns)
    (found,) = touched("aten::_softmax", [x], [y], "cunn_SoftMaxForward<8, half>")
    assert [touch.passes for touch in found] == [passes, 1]
    (found,) = touched("aten::_softmax", [x], [y], "cunn_SoftMaxForwardSmem<8, half>")
    assert [(touch.passes, touch.waves) for touch in found] == [(1, 0), (1, 0)]


@pytest.mark.parametrize(("operator", "passes"), [("_softmax", [2, 2, 1]), ("_log_softmax", [2, 1, 1])])
def test_the_gradient_of_a_softmax_sums_a_row_first(operator: str, passes: list[int]) -> None:
    tensors = [dense(number, 1000, 40000) for number in (1, 2, 3)]
    (found,) = touched(f"aten::{operator}_backward_data", tensors[:2], tensors[2:], "cunn_SoftMaxBackward<4, half>")
    assert [touch.passes for touch in found] == passes
    assert {touch.waves for touch in found} == {4}
