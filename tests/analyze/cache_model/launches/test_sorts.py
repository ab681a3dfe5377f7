"""What the passes of sorts touch; names of kernels as CUB and PyTorch compile them, shortened."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import workspace
from tests.analyze.cache_model.launches.calls import dense, sizes, touched

HUB = "at_cuda_detail::cub::detail::radix::policy_hub<{}, {}, unsigned long long>::Policy1000"
ONE, OTHER, OFFSETS, SUMS = (workspace(number) for number in (1, 2, 3, 4))


def radix(kernel: str, key: str, value: str) -> str:
    hub = HUB.format(key, value)
    return f"void at_cuda_detail::cub::detail::radix_sort::DeviceRadixSort{kernel}Kernel<{hub}, (SortOrder)0>"


def test_segments_are_sorted_as_one_and_then_by_segment() -> None:
    opaque = "at::cuda::cub::detail::OpaqueType<8>"
    values = [radix(kernel, "float", opaque) for kernel in ("Histogram", "ExclusiveSum", "Onesweep", "Onesweep")]
    segments = [radix(kernel, "long", "at_cuda_detail::cub::NullType") for kernel in ("Histogram", "Onesweep")]
    kernels = "fill_index_and_segment_kernel", *values, *segments, "void sort_postprocess_kernel<float>"
    x, indices = dense(1, 10, 100, itemsize=4), dense(3, 10, 100, itemsize=8)
    found = touched("aten::sort.stable", [x], [dense(2, 10, 100, itemsize=4), indices], *kernels)
    assert [sizes(launch) for launch in found] == [
        [(ONE, 8000, "written")],
        [(0, 4000, "read")],
        [],
        [(0, 4000, "read"), (ONE, 8000, "read"), (OTHER, 12000, "written")],
        [(OTHER, 12000, "read"), (ONE, 12000, "written")],
        [(ONE, 8000, "read")],
        [(ONE, 8000, "read"), (OTHER, 8000, "written")],
        [(OTHER, 8000, "read"), (0, 4000, "read"), (1, 4000, "written"), (2, 8000, "written")],
    ]


def test_the_last_pass_of_one_segment_writes_the_results() -> None:
    kernels = [radix(kernel, "float", "long") for kernel in ("Histogram", "Onesweep", "Onesweep")]
    x, y, indices = dense(1, 1000, itemsize=4), dense(2, 1000, itemsize=4), dense(3, 1000, itemsize=8)
    found = touched("aten::sort", [x], [y, indices], "fill_reverse_indices_kernel", *kernels)
    assert sizes(found[-2]) == [(0, 4000, "read"), (ONE, 8000, "read"), (OTHER, 12000, "written")]
    assert sizes(found[-1]) == [(OTHER, 12000, "read"), (1, 4000, "written"), (2, 8000, "written")]


def test_long_segments_are_sorted_one_by_one() -> None:
    kernels = [radix(kernel, "float", "long") for kernel in ("Histogram", "Onesweep")] * 2
    x, y, indices = dense(1, 2, 1000, itemsize=4), dense(2, 2, 1000, itemsize=4), dense(3, 2, 1000, itemsize=8)
    found = touched("aten::sort", [x], [y, indices], "fill_reverse_indices_kernel", *kernels)
    one = [[(ONE, 4000, "read")], [(ONE, 12000, "read"), (OTHER, 12000, "written")]]
    assert [sizes(launch) for launch in found[1:]] == one * 2


def test_short_segments_are_sorted_in_place() -> None:
    (found,) = touched("aten::sort", [dense(1, 8)], [dense(2, 8)], "void bitonicSortKVInPlace<2>")
    assert sizes(found) == [(1, 16, "read"), (1, 16, "written")]


def test_the_largest_values_are_found_digit_by_digit() -> None:
    kernels = "mbtopk::computeBlockDigitCounts", "mbtopk::computeDigitCumSum", "mbtopk::gatherTopK"
    found = touched("aten::topk", [dense(1, 1000)], [dense(2, 4)], *kernels)
    assert [sizes(launch) for launch in found] == [[(0, 2000, "read")], [], [(0, 2000, "read"), (1, 8, "written")]]


def test_the_gradient_of_an_embedding_is_summed_by_index() -> None:
    sort = [radix(kernel, "long", "long") for kernel in ("Histogram", "Onesweep")]
    sums = "compute_grad_weight<float, long>", "sum_and_scatter<float, long>"
    gradient, indices, table = dense(1, 2, 10), dense(2, 2, itemsize=8), dense(3, 1000, 10)
    found = touched("aten::embedding_dense_backward", [gradient, indices], [table], *sort, "krn_partials", *sums)
    # 1.999 distinct rows of 10 sums in fp32, of 20 bytes in the table
    assert [sizes(launch) for launch in found] == [
        [(1, 16, "read")],
        [(1, 16, "read"), (ONE, 16, "read"), (OTHER, 32, "written")],
        [(OFFSETS, 16, "read"), (OFFSETS, 16, "written")],
        [(0, 40, "read"), (1, 16, "read"), (OFFSETS, 16, "read"), (SUMS, 80, "written")],
        [(SUMS, 80, "read"), (OFFSETS, 16, "read"), (2, 40, "written")],
    ]


def test_few_rows_of_a_gradient_are_added_to_the_table() -> None:
    gradient, indices, table = dense(1, 2, 64), dense(2, 2, itemsize=8), dense(3, 1000, 64)
    kernel = "embedding_backward_feature_kernel"
    (found,) = touched("aten::embedding_dense_backward", [gradient, indices], [table], kernel)
    assert sizes(found) == [(0, 256, "read"), (1, 16, "read"), (2, 256, "read"), (2, 256, "written")]


def test_a_sum_by_index_sorts_its_indices_first() -> None:
    table, values = dense(1, 1000, 64, itemsize=4), dense(2, 2, 64, itemsize=4)
    kernels = "Memset (Device)", radix("Onesweep", "long", "long"), "void indexing_backward_kernel<float, 4>"
    found = touched("aten::_index_put_impl_", [table, values], [table], *kernels)
    assert [sizes(launch) for launch in found] == [
        [],
        [(ONE, 32, "read"), (OTHER, 32, "written")],
        [(1, 512, "read"), (OFFSETS, 32, "read"), (0, 512, "read"), (0, 512, "written")],
    ]


def test_values_that_replace_others_are_written_without_a_sort() -> None:
    table, values = dense(1, 1000, 64, itemsize=4), dense(2, 2, 64, itemsize=4)
    (found,) = touched("aten::_index_put_impl_", [table, values], [table], "index_elementwise_kernel<128, 4>")
    assert sizes(found) == [(1, 512, "read"), (0, 512, "written")]


def test_a_table_without_rows_ends_no_load() -> None:
    table, values = dense(1, 0, 64), dense(2, 2, 64)
    (found,) = touched("aten::_index_put_impl_", [table, values], [table], "void indexing_backward_kernel<float, 4>")
    assert sizes(found) == [(1, 256, "read"), (OFFSETS, 32, "read")]
