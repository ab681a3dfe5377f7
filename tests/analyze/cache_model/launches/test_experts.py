"""What the launches of grouped products touch."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Helper
from tests.analyze.cache_model.launches.calls import dense, sizes, touched


def test_the_preparing_kernel_reads_only_where_groups_end() -> None:
    inputs = [dense(0, 64, 32), dense(1, 4, 32, 16), dense(2, 4, itemsize=4)]
    prepare = "void at::cuda::detail::prepare_grouped_gemm_data<cutlass::bfloat16_t>"
    found = touched("aten::_grouped_mm", inputs, [dense(3, 64, 16)], prepare, "cutlass::device_kernel<GemmUniversal>")
    assert [sizes(launch) for launch in found] == [
        [(2, 16, "read")],
        [(0, 4096, "read"), (1, 4096, "read"), (2, 16, "read"), (3, 2048, "written")],
    ]
    assert isinstance(found[0], Helper)
