"""Storages made up from shapes and order."""

from __future__ import annotations

import json
import math

import pytest

from ridgeline.analyze.cache_model.heuristic import Recorded, alone, guess
from ridgeline.analyze.cache_model.launches.launch import Call

BF16 = "c10::BFloat16"


def recorded(
    operator: str, *shapes: list[int], writes: int | None = None, strides: list[list[int]] | None = None
) -> Recorded:
    kinds = [BF16] * len(shapes)
    strides = strides or [[math.prod(shape[i + 1 :]) for i in range(len(shape))] for shape in shapes]
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


def test_projections_share_an_input_though_heads_are_copied_in_between() -> None:
    """A copy of heads cannot be a view of rows, and a view of rows is no copy of other heads."""
    norm = recorded("aten::native_layer_norm", [8, 64, 128], writes=135168)
    product = recorded("aten::mm", [512, 128], [128, 128], writes=131072)
    heads = [8, 4, 64, 32]
    copy = recorded("aten::copy_", heads, heads, strides=[[8192, 2048, 32, 1], [8192, 32, 128, 1]])
    attention = recorded("aten::_flash_attention_forward", heads, heads, heads, writes=131072)
    bound = storages(guess([norm, *[product, copy] * 3, attention]))
    (_, (normed, _)), *pairs, (read, _) = bound
    assert [inputs[0] for inputs, _ in pairs[::2]] == [normed] * 3
    assert [inputs[1] for inputs, _ in pairs[1::2]] == [outputs[0] for _, outputs in pairs[::2]]
    assert sorted(read) == sorted(outputs[0] for _, outputs in pairs[1::2])


def test_in_place_gives_back_its_argument() -> None:
    ((inputs, outputs),) = storages(guess([recorded("aten::add_.Tensor", [64, 32], [64, 32], writes=4096)]))
    assert outputs == inputs[:1]
    assert inputs[0] != inputs[1]


def test_memory_of_the_dead_is_used_again() -> None:
    calls = [recorded("aten::neg", [256, 256], writes=131072) for _ in range(6)]
    bound = storages(guess(calls))
    # the first input is dead after the first call and keeps its memory for two more
    assert [outputs[0] for _, outputs in bound] == [2, 3, 4, 1, 2, 3]


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


def test_query_key_and_value_are_slices_of_their_projection() -> None:
    rows, head = [192, 64, 192, 1], [1, 2, 32, 32]
    calls = [
        recorded("aten::addmm", [192], [32, 64], [64, 192], writes=12288),
        recorded("aten::neg", [32, 64], writes=4096),
        recorded("aten::_cudnn_attention_forward", head, head, head, writes=4352, strides=[[6144, 32, *rows[2:]]] * 3),
    ]
    *_, attention = guess(calls)
    result = storages(guess(calls))[0][1]
    tensors = attention.node().inputs
    assert [(tensor.storage, tensor.offset, tensor.bytes) for tensor in tensors] == [
        (result[0], at, 4096) for at in (0, 128, 256)
    ]


def test_a_cache_that_grows_comes_from_an_earlier_step_and_stays() -> None:
    cat = Recorded(
        "aten::cat", b"[[[4,2,255,64],[4,2,1,64]],[]]", b'["TensorList","Scalar"]',
        b"[[[32768,16384,64,1],[128,64,64,1]],[]]", 262144,
    )  # fmt: skip
    copy = recorded("aten::neg", [4, 2, 256, 64], writes=262144)
    bound = storages(guess([cat, copy, copy, copy, cat, copy]))
    assert bound[1][0] == bound[0][1]
    later = [storage for inputs, outputs in bound[1:] for storage in (*inputs[:1], *outputs)]
    assert bound[4][0][0] not in {storage for inputs, outputs in bound[:4] for storage in (*inputs, *outputs)}
    assert bound[0][1][0] not in later[2:]


def test_keys_and_values_are_written_into_caches_of_their_own() -> None:
    write = recorded("aten::index_copy_", [16, 640, 128], [1], [16, 1, 128])
    rows = [[81920, 128, 1]] * 2
    read = recorded("aten::_flash_attention_forward", [16, 513, 128], [16, 513, 128], writes=1024, strides=rows)
    *_, (inputs, _) = bound = storages(guess([write, write, read]))
    assert len({bound[0][1][0], bound[1][1][0]}) == 2
    assert sorted(inputs) == sorted([bound[0][1][0], bound[1][1][0]])


def test_a_residual_connection_comes_back_after_its_branch() -> None:
    x = [64, 1024]
    unary = recorded("aten::silu", x, writes=131072)
    add = recorded("aten::add.Tensor", x, x, writes=131072)
    two = [recorded("aten::neg", [32, 2048], writes=131072) for _ in range(2)]
    *_, (branch, last) = bound = storages(guess([*two, add, unary, unary, unary, add]))
    stream = bound[2][1][0]
    assert sorted(branch) == sorted([stream, bound[5][1][0]])
    assert last[0] not in branch


def test_a_dropout_returns_a_mask_beside_its_result() -> None:
    x = [64, 1024]
    calls = [recorded("aten::native_dropout", x, writes=196608), recorded("aten::silu", x, writes=131072)]
    (dropout, silu) = storages(guess(calls))
    assert len({*dropout[0], *dropout[1]}) == 3
    assert silu[0] == dropout[1][:1]


def test_a_backward_reads_gradients_and_in_reverse_order_what_was_kept() -> None:
    x = [64, 1024]
    forward = [recorded("aten::silu", x, writes=131072) for _ in range(3)]
    backward = [recorded("aten::silu_backward", x, x, writes=131072) for _ in range(3)]
    bound = storages(guess(forward + backward))
    made = [outputs[0] for _, outputs in bound]
    assert [inputs[1] for inputs, _ in bound[3:]] == made[2::-1]
    assert [inputs[0] for inputs, _ in bound[4:]] == made[3:5]


def test_the_gradient_of_a_weight_reads_the_gradient_of_the_product_before() -> None:
    loss = recorded("aten::silu_backward", [128, 512], [128, 512], writes=131072)
    product = recorded("aten::mm", [128, 512], [512, 256], writes=65536)
    weight = recorded("aten::mm", [512, 128], [128, 256], writes=262144, strides=[[1, 512], [256, 1]])
    total = recorded("aten::sum.dim_IntList", [128, 512], writes=1024)
    (_, (gradient,)), (first, _), (second, _), (third, _) = storages(guess([loss, product, weight, total]))
    assert (first[0], second[0], third[0]) == (gradient, gradient, gradient)
    assert second[1] != first[1]


def test_a_new_gradient_is_found_by_its_transpose() -> None:
    loss = recorded("aten::silu_backward", [128, 512], [128, 512], writes=131072)
    weight = recorded("aten::mm", [512, 128], [128, 256], writes=262144, strides=[[1, 512], [256, 1]])
    (_, (gradient,)), (inputs, _) = storages(guess([loss, weight]))
    assert inputs[0] == gradient


def test_a_product_with_its_own_transpose_reads_one_tensor() -> None:
    cat = Recorded("aten::cat", b"[[[8,9,64],[8,18,64]],[]]", b'["TensorList float","Scalar"]', b"[[],[]]", 55296)
    shapes, strides = [[8, 27, 64], [8, 64, 27]], [[1728, 64, 1], [1728, 1, 64]]
    dims, steps = (json.dumps(part).encode() for part in (shapes, strides))
    (_, (joined,)), (inputs, _) = storages(
        guess([cat, Recorded("aten::bmm", dims, b'["float","float"]', steps, 23328)])
    )
    assert inputs == [joined, joined]


def test_a_table_is_no_other_table_of_its_size() -> None:
    bag = recorded("aten::_embedding_bag", [4000, 64], [32], writes=4096)
    tables = [inputs[0] for inputs, _ in storages(guess([bag, bag]))]
    assert len(set(tables)) == 2


def test_a_recorded_argument_beyond_the_usual_ones_is_the_result() -> None:
    x = [64, 1024]
    ((inputs, outputs),) = storages(guess([recorded("aten::where", x, x, x, x, writes=131072)]))
    assert outputs == inputs[3:]
    product = recorded("aten::mm", [64, 1024], [1024, 64], [64, 64], writes=8192)
    first, second = (outputs for _, outputs in storages(guess([product, product])))
    assert first != second


@pytest.mark.parametrize(("bias", "more"), [(0, []), (6, [(6,)])])
def test_a_convolution_returns_a_gradient_for_each_operand(bias: int, more: list[tuple[int, ...]]) -> None:
    writes = 2 * (8 * 4 * 81 + 6 * 4 * 9 + bias)
    (call,) = guess([recorded("aten::convolution_backward", [8, 6, 7, 7], [8, 4, 9, 9], [6, 4, 3, 3], writes=writes)])
    assert [tensor.shape for tensor in call.form.outputs] == [(8, 4, 9, 9), (6, 4, 3, 3), *more]


def test_an_operator_of_an_engine_writes_into_its_arguments() -> None:
    """The next call reads what the norm wrote."""
    x, weight = [4096, 4096], [4096]
    first, norm, product = guess(
        [
            recorded("aten::mul", x, x, writes=33554432),
            recorded("_C::rms_norm", x, x, weight, writes=33554432),
            recorded("aten::sum", x, writes=4),
        ]
    )
    result, source, _ = (tensor.storage for tensor in norm.node().inputs)
    assert [tensor.storage for tensor in norm.node().outputs] == [result]
    assert source == first.node().outputs[0].storage != result
    assert product.node().inputs[0].storage == result


def test_a_call_alone_has_a_storage_for_each_tensor() -> None:
    x = [64, 32]
    calls = [recorded("aten::add", x, x, writes=4096), recorded("aten::add_", x, x, writes=4096)]
    assert storages([alone(call) for call in calls]) == [([0, 1], [2]), ([0, 1], [0])]
