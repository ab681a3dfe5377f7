"""What lookups, scatters and losses by class touch: expected distinct rows, N(1 - (1 - 1/N)^n)."""

from __future__ import annotations

from ridgeline.analyze.cache_model.operands import view
from tests.analyze.cache_model.launches.calls import dense, sizes, touched

INDEX = dense(2, 8, itemsize=8)
GATHER = "void at::native::vectorized_gather_kernel<16, long>"


def test_an_embedding_reads_the_distinct_rows_it_gives() -> None:
    (found,) = touched("aten::embedding", [dense(1, 16, 64), INDEX], [dense(3, 9, 64)], "kernel")
    # 9 draws of 16 rows of 128 bytes: 16(1 - (15/16)^9) = 7.0494 rows
    assert sizes(found) == [(0, 902, "read"), (1, 64, "read"), (2, 1152, "written")]
    assert found[0].drawn == 1152


def test_all_rows_in_another_order_are_read_once() -> None:
    (found,) = touched("aten::index", [dense(1, 8, 64)], [dense(3, 512)], GATHER)
    assert sizes(found) == [(0, 1024, "read"), (1, 1024, "written")]


def test_a_gather_pays_a_sector_for_each_value() -> None:
    logits, index = dense(1, 8, 4096), dense(2, 8, 1, itemsize=8)
    (found,) = touched("aten::gather", [logits, index], [dense(3, 8, 1)], "kernel")
    # 8 draws of 2048 sectors: 7.986 sectors of 32 bytes
    assert sizes(found) == [(0, 256, "read"), (1, 64, "read"), (2, 16, "written")]
    assert found[0].drawn == 0


def test_an_expanded_index_of_a_gather_names_whole_rows() -> None:
    index = view(2, 0, [8, 64], [1, 0], 8)
    (found,) = touched("aten::gather", [dense(1, 4, 64), index, dense(3, 8, 64)], [dense(3, 8, 64)], "kernel")
    # 8 is a multiple of 4: all rows. The result is an argument, too, and not read.
    assert sizes(found) == [(0, 512, "read"), (1, 64, "read"), (2, 1024, "written")]
    assert found[0].drawn == 1024


def test_an_index_along_an_inner_dimension_selects_short_rows() -> None:
    (found,) = touched("aten::index_select", [dense(1, 4, 100, 8), dense(2, 2, itemsize=8)], [dense(3, 4, 2, 8)], "k")
    # 8 rows of 16 bytes, a sector each, of 200 sectors: 7.86 of them
    assert (found[0].bytes, found[0].drawn) == (252, 0)


def test_index_copy_writes_the_rows_it_takes() -> None:
    cache, rows = dense(1, 8, 1152, 128), dense(3, 8, 1, 128)
    (found,) = touched("aten::index_copy_", [cache, dense(2, 1, itemsize=8), rows], [cache], "kernel")
    # 8 draws of 9216 rows of 256 bytes: 7.997 rows
    assert sizes(found) == [(1, 8, "read"), (2, 2048, "read"), (0, 2047, "written")]


def test_a_sum_by_index_reads_the_rows_that_it_writes() -> None:
    table, rows = dense(1, 1000, 64, itemsize=4), dense(3, 2, 64, itemsize=4)
    (found,) = touched("aten::index_add_", [table, dense(2, 2, itemsize=8), rows], [table], "indexFuncLargeIndex")
    # 2 - 1/1000 rows of 256 bytes
    assert sizes(found) == [(1, 16, "read"), (2, 512, "read"), (0, 512, "read"), (0, 512, "written")]
    assert {touch.drawn for touch in found[2:]} == {512}


def test_a_scattered_value_reads_and_writes_a_sector() -> None:
    x, index, values = dense(1, 64, 1000), dense(2, 64, 1, itemsize=8), dense(3, 64, 1)
    (found,) = touched("aten::scatter_", [x, index, values], [x], "kernel")
    # 64 draws of 4000 sectors: 63.5 sectors
    assert sizes(found)[2:] == [(0, 2032, "read"), (0, 2032, "written")]


def test_bags_read_the_rows_of_a_large_table() -> None:
    inputs = [dense(1, 1000, 64, itemsize=4), dense(2, 2, itemsize=8), dense(3, 1, itemsize=8)]
    (found,) = touched("aten::_embedding_bag", inputs, [dense(4, 1, 64, itemsize=4)], "kernel")
    assert sizes(found) == [(0, 512, "read"), (1, 16, "read"), (2, 8, "read"), (3, 256, "written")]


def test_a_loss_touches_a_sector_of_each_row() -> None:
    values, classes = dense(1, 4, 800, itemsize=4), dense(2, 4, itemsize=8)
    (forward,) = touched("aten::nll_loss_forward", [values, classes], [dense(3, 2, itemsize=4)], "nll_loss_forward")
    # 4 draws of 400 sectors: 3.985 sectors
    assert sizes(forward) == [(0, 128, "read"), (1, 32, "read"), (2, 8, "written")]
    loss, gradient, weight = dense(3, 1, itemsize=4), dense(4, 4, 800, itemsize=4), dense(5, 1, itemsize=4)
    (backward,) = touched("aten::nll_loss_backward", [loss, values, classes, weight], [gradient], "nll_loss_backward")
    assert sizes(backward) == [(0, 4, "read"), (2, 32, "read"), (3, 4, "read"), (4, 128, "read"), (4, 128, "written")]
