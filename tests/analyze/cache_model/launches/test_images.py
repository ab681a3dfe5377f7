"""What the launches of batch norms and pooling touch."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper
from tests.analyze.cache_model.launches.calls import dense, sizes, touched

X, SCALE, Y = dense(1, 4, 200, 5, 5, itemsize=4), dense(2, 200, itemsize=4), dense(3, 4, 200, 5, 5, itemsize=4)
BYTES = 80_000


def test_a_channel_that_does_not_fit_is_read_twice() -> None:
    (found,) = touched("aten::cudnn_batch_norm", [X, SCALE], [Y], "void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>")
    # 200 channels on 132 multiprocessors
    assert [(touch.bytes, touch.write, touch.waves, touch.passes) for touch in found] == [
        (BYTES, False, 2, 2),
        (800, False, 2, 1),
        (BYTES, True, 2, 1),
    ]


def test_a_kernel_that_keeps_a_part_reads_the_rest_twice() -> None:
    kernel = "void cudnn::batchnorm_fwtr_nhwc_semiPersist<__half>"
    # 132 multiprocessors keep 51,904,512 bytes, of 128 channels 64 at a time
    large = dense(1, 64, 128, 200, 100)
    (found,) = touched("aten::cudnn_batch_norm", [large], [large], kernel)
    assert [(touch.bytes, touch.passes, touch.waves) for touch in found] == [
        (103_809_024, 1, 2),
        (223_870_976, 2, 2),
        (327_680_000, 1, 2),
    ]
    small = dense(1, 64, 128, 10, 10)
    (found,) = touched("aten::cudnn_batch_norm", [small], [small], kernel)
    assert [(touch.bytes, touch.passes) for touch in found] == [(1_638_400, 1), (1_638_400, 1)]


def test_other_kernels_of_cudnn_read_once() -> None:
    (found,) = touched("aten::cudnn_batch_norm", [X, SCALE], [Y], "void cudnn::bn_fw_tr_1C11_singleread<float>")
    assert [(touch.bytes, touch.passes) for touch in found] == [(BYTES, 1), (800, 1), (BYTES, 1)]


def test_statistics_are_read_before_the_result_is_written() -> None:
    statistics = "void at::native::batch_norm_collect_statistics_channels_last_kernel<4>"
    small, result = "unrolled_elementwise_kernel", "void at::native::batch_norm_transform_input_channels_last_kernel<4>"
    found = touched("aten::native_batch_norm", [X, SCALE], [Y], statistics, small, result)
    assert [sizes(launch) for launch in found] == [
        [(0, BYTES, "read"), (1, 800, "read")],
        [],
        [(0, BYTES, "read"), (1, 800, "read"), (2, BYTES, "written")],
    ]
    assert [type(launch) for launch in found] == [Chunk, Helper, Chunk]


def test_the_gradient_of_a_maximum_reads_no_input() -> None:
    gradient, indices = dense(2, 4, 200, 2, 2, itemsize=4), dense(4, 4, 200, 2, 2, itemsize=8)
    kernel = "void at::native::(anonymous namespace)::max_pool_backward_nhwc<float, float>"
    (found,) = touched("aten::max_pool2d_with_indices_backward", [gradient, X, indices], [Y], kernel)
    assert sizes(found) == [(0, 12_800, "read"), (2, 25_600, "read"), (3, BYTES, "written")]
