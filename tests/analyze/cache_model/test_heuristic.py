"""Storages made up from shapes and order."""

from __future__ import annotations

import json

import pytest

from ridgeline.analyze.cache_model.heuristic import Recorded, guess
from ridgeline.analyze.cache_model.launches.launch import Call

BF16 = "c10::BFloat16"


def recorded(operator: str, *shapes: list[int], writes: int | None = None) -> Recorded:
    kinds = [BF16] * len(shapes)
    strides = [[shape[1], 1] for shape in shapes]
    dims, types, steps = (json.dumps(part).encode() for part in (shapes, kinds, strides))
    return Recorded(operator, dims, types, steps, writes)


def storages(calls: list[Call]) -> list[tuple[list[int], list[int]]]:
    nodes = [call.node() for call in calls]
    return [([t.storage for t in node.inputs], [t.storage for t in node.outputs]) for node in nodes]


def test_a_result_is_what_the_next_reads() -> None:
    calls = [recorded("aten::neg", [64, 32], writes=4096), recorded("aten::silu", [64, 32], writes=4096)]
    (first, second) = storages(guess(calls))
    assert second[0] == first[1]
    assert second[1] != second[0]


def test_projections_of_one_input_share_it_and_each_has_its_own_weight() -> None:
    calls = [recorded("aten::mm", [8, 64], [64, 64], writes=1024) for _ in range(3)]
    calls.append(recorded("aten::addcmul", [8, 64], [8, 64], [8, 64], writes=1024))
    *bound, (taken_up, _) = storages(guess(calls))
    assert len({inputs[0] for inputs, _ in bound}) == 1
    assert len({inputs[1] for inputs, _ in bound}) == 3
    assert sorted(taken_up) == sorted(outputs[0] for _, outputs in bound)
    assert len(set(taken_up)) == 3


def test_in_place_gives_back_its_argument() -> None:
    ((inputs, outputs),) = storages(guess([recorded("aten::add_.Tensor", [64, 32], [64, 32], writes=4096)]))
    assert outputs == inputs[:1]
    assert inputs[0] != inputs[1]


def test_memory_of_the_dead_is_used_again() -> None:
    calls = [recorded("aten::neg", [256, 256], writes=131072) for _ in range(6)]
    bound = storages(guess(calls))
    assert len({outputs[0] for _, outputs in bound}) <= 3


def test_lists_and_odd_records() -> None:
    lists = Recorded("aten::cat", b"[[[2,4],[2,4]],[]]", b'["TensorList","Scalar"]', b"[[[4,1],[4,1]],[]]", 32)
    assert [len(call.form.inputs) for call in guess([lists, Recorded("aten::x", b"", b"", b"", None)])] == [2, 0]


def test_damaged_sizes_and_strides_are_not_recorded() -> None:
    lists = Recorded("aten::cat", b'[[[2,-4],[2,4],["x"]],[]]', b'["TensorList"]', b'[[[4,1],[4,"x"],[1]]]', 32)
    single = Recorded("aten::add", b"[[2,4],[2,-4]]", b'["float","float"]', b"[[-9223372036854775807,1],[4,1]]", 32)
    inputs = [[(tensor.bytes, tensor.span) for tensor in call.form.inputs] for call in guess([lists, single])]
    assert inputs == [[(16, 16)], [(32, 32)]]


@pytest.mark.parametrize(
    ("operator", "written"), [("triton_poi_fused_silu_backward_0", 0), ("triton_poi_fused_silu_0", 1)]
)
def test_a_generated_kernel_writes_one_of_its_arguments(operator: str, written: int) -> None:
    """The first one, if it is updated in place, else the last one: the next call reads what was written."""
    numbers = b'["","","16777216"]'
    call = recorded(operator, [4096, 4096], [4096, 4096], writes=67108864)._replace(concrete=numbers)
    first, second = guess([call, recorded("aten::sum", [4096, 4096], writes=4)])
    used = [tensor.storage for tensor in first.node().inputs]
    assert [tensor.storage for tensor in first.node().outputs] == [used[written]]
    assert second.node().inputs[0].storage == used[written]
