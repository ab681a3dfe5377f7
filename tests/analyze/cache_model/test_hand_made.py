"""Sequences small enough to count by hand: what DRAM must see of them."""

from __future__ import annotations

import polars as pl
import pytest

from ridgeline.analyze.cache_model.operands import Touch, frame
from ridgeline.analyze.cache_model.policy import Policy
from ridgeline.analyze.cache_model.predict import predict

MIB = 1 << 20
L2 = 60 * MIB
EXACT = Policy(capacity_share=1.0, ways=64, dirty_ways=64, dirty_share=1.0, far_copy_once=0.0, far_copy_shared=0.0)
"""No second copies, nothing cleaned before it is evicted, sets that fill evenly."""


def read(storage: int, size: int) -> Touch:
    return Touch(storage, 0, size, size, False)


def write(storage: int, size: int) -> Touch:
    return Touch(storage, 0, size, size, True)


def moved(*kernels: list[Touch], policy: Policy = EXACT) -> list[tuple[float, float]]:
    """MiB read and written by each kernel, of a sequence that begins with an empty cache: a flood of reads."""
    flood = [read(1_000_000, 10 * L2)]
    sequence = [flood, *kernels]
    operands = frame((i, touch) for i, touches in enumerate(sequence) for touch in touches)
    result = predict(pl.DataFrame({"kernel": range(len(sequence))}), operands, L2, policy=policy)
    rows = result.select("dram_read_bytes", "dram_write_bytes").rows()[1:]
    return [(round(r / MIB, 3), round(w / MIB, 3)) for r, w in rows]


def test_a_tensor_read_twice_within_capacity_costs_once() -> None:
    assert moved([read(1, 20 * MIB)], [read(1, 20 * MIB)]) == [(20, 0), (0, 0)]


def test_a_tensor_larger_than_the_cache_costs_twice() -> None:
    assert moved([read(1, 4 * L2)], [read(1, 4 * L2)]) == [(240, 0), (240, 0)]


def test_what_was_evicted_in_between_is_read_again() -> None:
    assert moved([read(1, 8 * MIB)], [read(2, 3 * L2)], [read(1, 8 * MIB)]) == [(8, 0), (180, 0), (8, 0)]


def test_a_result_is_read_from_the_cache_and_written_back_when_it_is_evicted() -> None:
    assert moved([write(1, 8 * MIB)], [read(1, 8 * MIB)], [read(2, 3 * L2)]) == [(0, 0), (0, 0), (180, 8)]


def test_a_result_whose_memory_is_used_again_is_written_back_once() -> None:
    kernels = [[write(1, 8 * MIB)] for _ in range(5)]
    assert moved(*kernels, [read(2, 3 * L2)]) == [(0, 0)] * 5 + [(180, 8)]


def test_in_place_reads_once_and_writes_back_once() -> None:
    in_place = [read(1, 8 * MIB), write(1, 8 * MIB)]
    assert moved(in_place, in_place, [read(2, 3 * L2)]) == [(8, 0), (0, 0), (180, 8)]


def test_writing_more_than_the_cache_holds_writes_it_back_meanwhile() -> None:
    ((_, first), (_, rest)) = moved([write(1, 4 * L2)], [read(2, 3 * L2)])
    assert first + rest == pytest.approx(240)
    assert first > 170


def test_part_of_a_cache_written_by_a_layer_is_not_read_again() -> None:
    layer = 9 * MIB
    fresh = Touch(1, 3 * layer, MIB, layer, True)
    whole = Touch(1, 3 * layer, layer, layer, False)
    assert moved([fresh], [whole]) == [(0, 0), (8, 0)]


def test_layers_of_one_storage_are_told_apart_by_their_offset() -> None:
    layers = [[Touch(1, i * 4 * MIB, 4 * MIB, 4 * MIB, False)] for i in range(3)]
    assert moved(*layers, layers[0]) == [(4, 0), (4, 0), (4, 0), (0, 0)]


def test_waves_read_a_left_operand_again_that_does_not_stay() -> None:
    left = Touch(1, 0, 10 * MIB, 10 * MIB, False, waves=4, parts=1)
    right = Touch(2, 0, 800 * MIB, 800 * MIB, False, waves=4)
    result = Touch(3, 0, 40 * MIB, 40 * MIB, True, waves=4)
    assert moved([left, right, result])[0][0] == pytest.approx(4 * 10 + 800)


def test_waves_read_a_left_operand_once_that_stays() -> None:
    left = Touch(1, 0, MIB, MIB, False, waves=4, parts=1)
    right = Touch(2, 0, 40 * MIB, 40 * MIB, False, waves=4)
    assert moved([left, right, Touch(3, 0, MIB, MIB, True, waves=4)]) == [(41, 0)]


def test_waves_stay_on_a_part_and_begin_again_after_the_last() -> None:
    left = Touch(1, 0, 400 * MIB, 400 * MIB, False, waves=4, parts=2)
    right = Touch(2, 0, 800 * MIB, 800 * MIB, False, waves=4, parts=2, stay=2)
    assert moved([left, right])[0][0] == pytest.approx(2 * 400 + 2 * 800)


def test_what_a_wave_writes_last_is_still_there() -> None:
    right = Touch(2, 0, 800 * MIB, 800 * MIB, False, waves=4)
    result = Touch(3, 0, 40 * MIB, 40 * MIB, True, waves=4)
    assert moved([right, result], [read(3, 40 * MIB)])[1][0] == pytest.approx(30, rel=1e-3)


def test_passes_read_rows_again_that_do_not_stay() -> None:
    rows = Touch(1, 0, 4 * L2, 4 * L2, False, waves=1, passes=3)
    assert moved([rows, Touch(2, 0, 4 * L2, 4 * L2, True, waves=1, passes=3)])[0][0] == pytest.approx(3 * 240)


def test_half_of_the_capacity_at_most_holds_what_was_not_written_back() -> None:
    kernels = pl.DataFrame({"kernel": [0, 1, 2]})
    operands = frame([(0, read(9, 10 * L2)), (1, write(1, 8 * MIB)), (2, write(2, 50 * MIB))])
    policy = Policy(1.0, 64, 0.5, 64, 0.0, 0.0)
    written = predict(kernels, operands, L2, policy=policy)["dram_write_bytes"].to_list()
    assert sum(written) == pytest.approx(58 * MIB)
    assert written[2] == pytest.approx(28 * MIB, rel=0.15)


def test_code_is_read_once_and_again_when_evicted() -> None:
    kernels = pl.DataFrame({"kernel": range(4), "name": ["flood", "nvjet_a_64x8_b", "nvjet_a_64x8_b", "flood"]})
    operands = frame([(0, read(1, 10 * L2)), (3, read(2, 10 * L2))])
    assert predict(kernels, operands, L2)["dram_read_bytes"].round().to_list()[1:3] == [14000, 0]


def test_kernels_keep_their_order_and_numbers() -> None:
    kernels = pl.DataFrame({"kernel": [7, 3, 5], "step": [1, 0, 1]})
    result = predict(kernels, frame([(3, read(1, MIB))]), L2)
    assert result.columns == ["kernel", "dram_read_bytes", "dram_write_bytes"]
    assert result["kernel"].to_list() == [7, 3, 5]


def test_no_kernels() -> None:
    empty = pl.DataFrame(schema={"kernel": pl.Int64})
    assert predict(empty, frame([]), L2).is_empty()


def drawn(storage: int, size: int, drawn: int, *, writes: bool = False) -> Touch:
    return Touch(storage, 0, size, size, writes, drawn=drawn)


def test_rows_drawn_again_from_a_table_that_fits_cost_once() -> None:
    assert moved([drawn(1, 10 * MIB, 100 * MIB)]) == [(10, 0)]


def test_rows_drawn_again_cost_again_if_other_bytes_fill_the_cache_in_between() -> None:
    """A row of 1 MiB is drawn again 1 MiB later in the mean, after 1000 MiB of the result."""
    read_again, _ = moved([drawn(1, MIB, 10 * MIB), write(2, 10_000 * MIB)])[0]
    # 9 of 10 draws repeat one, and the cache holds a row for 60 / 1000 of a mean gap: 9(1 - 60/1000) + 1 + small terms
    assert read_again == pytest.approx(1 + 9 * 0.94, abs=0.1)


def test_a_sum_into_a_table_that_does_not_fit_reads_and_writes_rows_again() -> None:
    table = drawn(1, 100 * MIB, 1000 * MIB)
    (read_again, written_again), _ = moved([table, table._replace(write=True)], [read(2, 600 * MIB)])
    # A row is lost after g with 100(1 - exp(-g / 100)) = 60, so of draws with a gap of g = 91.6 MiB or more.
    lost = 0.4 * (1000 - (91.6 + 100))
    assert read_again == pytest.approx(100 + lost, rel=0.01)
    # The rest of the table is written back by the next kernel.
    assert written_again == pytest.approx(40 + lost, rel=0.1)


def test_slices_side_by_side_count_together_but_never_more_than_the_whole() -> None:
    """Query, key and value are thirds of one tensor."""
    third = Touch(1, 0, 4 * MIB, 12 * MIB, False)
    assert moved([third] * 2) == [(8, 0)]
    assert moved([third] * 3) == moved([third] * 4) == moved([read(1, 12 * MIB)]) == [(12, 0)]


def test_the_fitted_parameters_give_what_they_gave_when_they_were_fitted() -> None:
    """A percent of any parameter changes a number below."""
    tiles = Touch(4, 0, 32 * MIB, 32 * MIB, False, shared=1)
    pieces = Touch(5, 0, 26 * MIB, 26 * MIB, False, shared=2)
    kernels = [[write(1, 48 * MIB)], [read(1, 48 * MIB)], [read(2, 30 * MIB)], [read(2, 30 * MIB)]]
    kernels += [[write(3, 8 * MIB)], [tiles], [tiles], [pieces], [pieces]]
    assert moved(*kernels, policy=Policy()) == [
        (0, 16.834), (23.627, 16.871), (30, 11.188), (1.162, 0), (0, 1.512), (32, 5.023), (7.588, 0),
        (26, 4.571), (6.56, 0),
    ]  # fmt: skip
