"""What the launches of operators on lists touch: each its own tensors, in the order of the list."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ridgeline.analyze.cache_model.launches import operands
from ridgeline.analyze.cache_model.launches.launch import Node, call_of, workspace
from ridgeline.analyze.cache_model.launches.lists import packed
from ridgeline.analyze.cache_model.operands import Tensor, Touch, view
from ridgeline.analyze.reprice import reprice
from tests.analyze import kineto
from tests.analyze.loading import load, query

CHUNK = 65_536
LONG, LONGER = 200 * CHUNK, 200 * CHUNK + 10
"""Elements of two tensors, of which a launch takes the first and 120 chunks of the second, the next one the rest."""
ADD = "multi_tensor_apply_kernel<at::native::(anonymous namespace)::TensorListMetadata<{}>, AddFunctor<float, 1, 1, 0>>"


def dense(storage: int, *shape: int) -> Tensor:
    return view(storage, 0, shape, None, 4)


def touched(
    operator: str, lists: list[list[Tensor]], outputs: list[Tensor], *names: str, arguments: tuple[int, ...] = ()
) -> list[list[Touch]]:
    inputs = [tensor for tensors in lists for tensor in tensors]
    positions = tuple(at for at, tensors in enumerate(lists) for _ in tensors)
    frame = pl.DataFrame({"kernel": range(len(names)), "name": names, "call": [1] * len(names)})
    found = operands(frame, {1: call_of(Node(operator, inputs, outputs, None, arguments or positions))})
    return [[Touch(*row[1:]) for row in found.rows() if row[0] == kernel] for kernel in range(len(names))]


def ranges(touches: list[Touch]) -> list[tuple[int, int, int, bool]]:
    """Storage, first byte, bytes and whether they are written."""
    return [(touch.storage, touch.offset, touch.bytes, touch.write) for touch in touches]


@pytest.mark.parametrize(
    ("sizes", "most_tensors", "most_blocks", "expected"),
    [
        ((LONG, LONGER), 110, 320, [[(0, 0, LONG), (1, 0, 120 * CHUNK)], [(1, 120 * CHUNK, LONGER)]]),
        ((1, 0, 2, 3), 2, 320, [[(0, 0, 1), (2, 0, 2)], [(3, 0, 3)]]),
        # a tensor that fills a launch counts as one of the next
        ((3 * CHUNK, 1, 1), 2, 2, [[(0, 0, 2 * CHUNK)], [(0, 2 * CHUNK, 3 * CHUNK), (1, 0, 1)], [(2, 0, 1)]]),
        ((2 * CHUNK,), 1, 2, [[(0, 0, 2 * CHUNK)]]),
        ((), 1, 1, []),
    ],
)
def test_tensors_are_packed_in_order(
    sizes: tuple[int, ...], most_tensors: int, most_blocks: int, expected: list[list[tuple[int, int, int]]]
) -> None:
    assert packed(sizes, most_tensors, most_blocks) == expected


def test_each_launch_touches_its_own_tensors() -> None:
    tensors = [dense(1, 200, CHUNK), dense(2, LONGER)]
    first, second = touched("aten::_foreach_mul_", [tensors], tensors[:1], *[ADD.format(1)] * 2)
    parts = [(1, 0, 4 * LONG), (2, 0, 4 * 120 * CHUNK)]
    assert ranges(first) == [(*part, written) for written in (False, True) for part in parts]
    rest = (2, 4 * 120 * CHUNK, 4 * (80 * CHUNK + 10))
    assert ranges(second) == [(*rest, False), (*rest, True)]


def test_another_number_of_launches_is_not_explained() -> None:
    """Each then touches all: nothing says which tensors a launch has."""
    tensors = [dense(1, LONG), dense(2, LONGER)]
    found = touched("aten::_foreach_mul_", [tensors], tensors[:1], *[ADD.format(1)] * 3)
    assert [ranges(touches) for touches in found] == [
        [(tensor.storage, 0, tensor.bytes, written) for written in (False, True) for tensor in tensors]
    ] * 3


def test_a_single_launch_of_too_many_chunks_writes_every_list_that_its_operator_changes() -> None:
    lists = [[dense(10 * at, LONG), dense(10 * at + 1, LONGER)] for at in range(1, 5)]
    optimizer = "multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata<4>, FusedAdamMathFunctor<float, 4>>"
    (found,) = touched("aten::_fused_adam_", lists, lists[0][:1], optimizer)
    reads = [(tensor.storage, 0, tensor.bytes, False) for tensors in lists for tensor in tensors]
    changed = [lists[0], *lists[2:]]  # gradients are only read
    assert ranges(found) == [*reads, *((tensor.storage, 0, tensor.bytes, True) for row in changed for tensor in row)]


def test_sizes_beyond_what_the_launches_can_hold_are_damage() -> None:
    huge = dense(1, 1 << 60)
    (found,) = touched("aten::_foreach_mul_", [[huge]], [huge], ADD.format(1))
    assert len(found) == 2


def test_new_results_take_their_parts_of_the_one_that_is_known() -> None:
    tensors = [dense(1, LONG), dense(2, LONGER)]
    _, second = touched("aten::_foreach_sqrt", [tensors], [dense(3, LONG + LONGER)], *[ADD.format(2)] * 2)
    size = 4 * (80 * CHUNK + 10)
    assert ranges(second) == [(2, 480 * CHUNK, size, False), (3, 4 * LONG + 480 * CHUNK, size, True)]


@pytest.mark.parametrize(("scale", "written"), [((), (1, 3, 4)), ((13,), (1, 2, 3, 4))])
def test_a_fused_optimizer_writes_gradients_only_if_it_unscales_them(
    scale: tuple[int, ...], written: tuple[int, ...]
) -> None:
    lists = [[dense(storage, 8)] for storage in (1, 2, 3, 4)] + [[dense(5, 1)]] + [[dense(6, 1)] for _ in scale]
    kernel = "multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata<4>, FusedAdamMathFunctor<float, 4>>"
    (touches,) = touched("aten::_fused_adamw_", lists, [], kernel, arguments=(0, 1, 2, 3, 5, *scale))
    assert ranges(touches) == [
        *((storage, 0, 32, False) for storage in (1, 2, 3, 4)),
        *((storage, 0, 32, True) for storage in written),
    ]


def test_copies_do_not_read_what_they_replace_and_squares_read_the_gradient_once() -> None:
    a, b, c = ([dense(storage, 8)] for storage in (1, 2, 3))
    (copied,) = touched("aten::_foreach_copy_", [a, b], a, ADD.format(2))
    assert ranges(copied) == [(2, 0, 32, False), (1, 0, 32, True)]
    (squared,) = touched("aten::_foreach_addcmul_", [a, b, c], a, ADD.format(3))
    assert ranges(squared) == [(1, 0, 32, False), (2, 0, 32, False), (1, 0, 32, True)]


def test_a_norm_leaves_partial_results_to_its_last_kernel() -> None:
    tensors = [dense(1, LONG), dense(2, LONGER)]
    names = [*[ADD.format(1)] * 2, "void at::native::lpnorm_cleanup<float>"]
    first, second, last = touched("aten::_foreach_norm", [tensors], [dense(3, 2)], *names)
    sums = workspace(1)
    assert ranges(first)[-1] == (sums, 0, 4 * 320, True)
    assert ranges(second)[-1] == (sums, 0, 4 * 81, True)
    # room for 201 blocks of each of two tensors
    assert ranges(last) == [(sums, 0, 4 * 2 * 201, False), (3, 0, 8, True)]


def test_launches_of_a_concatenation_copy_their_tensors() -> None:
    tensors, result = [dense(storage, storage, 8) for storage in (1, 2, 3)], dense(4, 6, 8)
    batched = "CatArrayBatchedCopy_contig<OpaqueType<4u>, unsigned int, 2, 2, 1>"
    first, second = touched("aten::cat", [tensors], [result], batched, batched)
    assert ranges(first) == [(1, 0, 32, False), (2, 0, 64, False), (4, 0, 96, True)]
    assert ranges(second) == [(3, 0, 96, False), (4, 0, 96, True)]
    one_by_one = touched("aten::cat", [tensors], [result], *["elementwise_kernel<direct_copy>"] * 3)
    assert [len(touches) for touches in one_by_one] == [2, 2, 2]


def test_chunks_carry_their_bytes_and_share_the_flops(tmp_path: Path, warehouse: Path) -> None:
    """The bytes sum to those of the list, the FLOPs to one for each element; repricing finds the same."""
    events = [
        kineto.operator(
            "aten::_foreach_mul_", 5.0, 20.0, 1, [[[LONG], [LONGER]], []], ["TensorList", "Scalar"], ["", "0.9"]
        ),
        *(kineto.launch(6.0 + at, 10 + at) for at in range(2)),
        *(kineto.kernel(ADD.format(1), 30.0 + 60 * at, 50.0, 10 + at, **{"External id": 1}) for at in range(2)),
    ]
    load(warehouse, kineto.write(tmp_path / "x.json", events))
    stored = "SELECT launch_bytes, share FROM kernels ORDER BY kernel_id"
    sizes = [8 * (LONG + 120 * CHUNK), 8 * (80 * CHUNK + 10)]
    total = 8 * (LONG + LONGER)
    expected = [(size, pytest.approx(size / total)) for size in sizes]
    assert query(warehouse, stored) == expected
    rows = query(warehouse, "SELECT compulsory_bytes, flops FROM kernel_roofline ORDER BY kernel_id")
    assert [size for size, _ in rows] == sizes
    assert sum(flops for _, flops in rows) == pytest.approx(LONG + LONGER)
    reprice(warehouse)
    assert query(warehouse, stored) == expected
