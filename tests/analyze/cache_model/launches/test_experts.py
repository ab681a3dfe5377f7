"""What the launches of grouped products touch."""

from __future__ import annotations

import polars as pl
import pytest

from ridgeline.analyze.cache_model.launches.experts import read_shares
from ridgeline.analyze.cache_model.launches.launch import Helper
from ridgeline.analyze.reading.columns import Signature
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


def test_the_product_reads_the_matrices_that_even_routing_reaches() -> None:
    inputs, result = [dense(0, 2, 32), dense(1, 4, 32, 16), dense(2, 4, itemsize=4)], dense(3, 2, 16)
    (found,) = touched("aten::_grouped_mm", inputs, [result], "cutlass::device_kernel<GemmUniversal>")
    # two rows reach 1 - (3/4)² of four experts
    assert sizes(found)[1] == (1, 1792, "read")
    # two stacks multiply pairwise
    (found,) = touched("aten::_grouped_mm", [dense(0, 4, 2, 32), *inputs[1:]], [result], "cutlass::device_kernel")
    assert sizes(found)[1] == (1, 4096, "read")


def grouped(rows: int) -> Signature:
    """The product of rows of 64 values with 100 matrices of 64 x 32, in bf16."""
    dims = f"[[{rows}, 64], [100, 64, 32], [100], [], []]".encode()
    return "aten::_grouped_mm", dims, b'["c10::BFloat16", "c10::BFloat16", "int", "", ""]', b"", b'["", "", "", "", ""]'


def shares(durations: list[int], rows: int, names: tuple[str, ...] = ("cutlass::device_kernel",)) -> list[float]:
    columns = {
        "name": list(range(len(names))) * (len(durations) // len(names)),
        "signature": 1,
        "duration_ns": durations,
    }
    signatures = [("aten::mul", b"[]", b"[]", b"", b""), grouped(rows)]
    return read_shares(pl.DataFrame(columns), names, signatures).tolist()


def test_faster_calls_read_fewer_matrices() -> None:
    # 6400 rows fill 50 tiles of 128 rows, and have 100 if every expert gets tokens: half the time is that of the rows
    matrices, left = 100 * 64 * 32 * 2, 6400 * 64 * 2
    slowest = [1000] * 30
    found = shares([*slowest, 750, 500, 400], 6400)
    assert found[:30] == pytest.approx([1] * 30)
    assert found[30:] == pytest.approx([1 - used * matrices / (matrices + left) for used in (0.5, 1, 1)])


def test_the_time_of_full_tiles_says_nothing_about_experts() -> None:
    assert shares([1000] * 30 + [500], 10_000) == [1] * 31


def test_only_products_are_judged_by_their_time() -> None:
    found = shares([10, 1000, 5, 1000] * 10, 6400, ("prepare_grouped_gemm_data", "cutlass::device_kernel"))
    assert found == [1] * 40
    kernels = pl.DataFrame({"name": [0], "signature": [1]})
    assert read_shares(kernels, ["k"], [grouped(1), grouped(1)]).tolist() == [1]
