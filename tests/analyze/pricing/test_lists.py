"""Lists of tensors: elements by the kernel's name, sizes of long lists by accumulated gradients, prices by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.lists import elements, with_elements
from ridgeline.analyze.pricing.price import price
from ridgeline.analyze.pricing.signature import parse
from tests.analyze import kineto
from tests.analyze.loading import load, query

N = 3 * 5 + 7
"""Elements of the tensors of ``LIST``."""
LIST = "[[3, 5], [7]]"
ADAM = f"[{LIST}, {LIST}, {LIST}, {LIST}, [], [[], []], [], [], [], [], [], [], [], [], []]"
ADAM_TYPES = '["' + '", "'.join(["TensorList float"] * 6 + ["Scalar"] * 7) + '", "", ""]'
ADAM_VALUES = '["", "", "", "", "", "", "0.001", "0.9", "0.999", "0.01", "1e-08", "False", "False", "", ""]'
SGD = f"[{LIST}, {LIST}, [], [], [], [], [], [], [], [], [], []]"
SGD_TYPES = '["' + '", "'.join(["TensorList float"] * 3 + ["Scalar"] * 7) + '", "", ""]'
SGD_VALUES = '["", "", "", "0.", "0.9", "0.1", "0.", "False", "False", "False", "", ""]'


def priced(name: str, dims: str, types: str, values: str = "") -> Price:
    return price(parse((name, dims.encode(), types.encode(), b"", values.encode())))


@pytest.mark.parametrize(
    ("name", "dims", "types", "values", "flops", "read", "written"),
    [
        # the number is never a list, whether its value is recorded or not
        ("_foreach_lerp_", f"[{LIST}, {LIST}, []]", '["L", "L", "Scalar"]', '["", "", "0.1"]', 3 * N, 8 * N, 4 * N),
        ("_foreach_lerp_", f"[{LIST}, {LIST}, []]", '["L", "L", "Scalar"]', "", 3 * N, 8 * N, 4 * N),
        ("_foreach_mul_", f"[{LIST}, []]", '["L", "Scalar"]', '["", "0.9"]', N, 4 * N, 4 * N),
        ("_foreach_mul_", f"[{LIST}, []]", '["L", "float"]', '["", ""]', N, 4 * N + 4, 4 * N),
        ("_foreach_div_", f"[{LIST}, []]", '["L", "ScalarList"]', '["", "[2., 3.]"]', N, 4 * N, 4 * N),
        # a list of more than 30 numbers
        ("_foreach_div_", f"[{LIST}, []]", '["L", ""]', '["", ""]', N, 4 * N, 4 * N),
        ("_foreach_add", f"[{LIST}, {LIST}, []]", '["L", "L", "Scalar"]', '["", "", "1"]', N, 8 * N, 4 * N),
        ("_foreach_sqrt", f"[{LIST}]", '["L"]', '[""]', N, 4 * N, 4 * N),
        ("_foreach_clamp_min_", f"[{LIST}, []]", '["L", "Scalar"]', '["", "0"]', 0, 4 * N, 4 * N),
        ("_foreach_zero_", f"[{LIST}]", '["L"]', '[""]', 0, 0, 4 * N),
        ("_foreach_norm", f"[{LIST}, [], []]", '["L", "Scalar", ""]', '["", "2", ""]', 2 * N + 2, 4 * N, 8),
        ("_amp_foreach_non_finite_check_and_unscale_", f"[{LIST}, [1], []]", '["L", "float", "float"]', "",
         N, 4 * N + 8, 4 * N + 4),
        # decoupled decay: 13 + 2; gradients are not written
        ("_fused_adamw_", ADAM, ADAM_TYPES, ADAM_VALUES, 15 * N, 16 * N + 8, 12 * N),
        ("_fused_adamw_", ADAM, ADAM_TYPES, ADAM_VALUES.replace('"0.01"', '"0."'), 13 * N, 16 * N + 8, 12 * N),
        # without momentum only the update
        ("_fused_sgd_", SGD, SGD_TYPES, SGD_VALUES, 2 * N, 8 * N, 4 * N),
    ],
)  # fmt: skip
def test_prices_of_lists(name: str, dims: str, types: str, values: str, flops: int, read: int, written: int) -> None:
    types = types.replace('"L"', '"TensorList float"')
    assert priced(f"aten::{name}", dims, types, values)[:3] == (flops, read, written)
    assert priced(f"aten::{name}", dims, types, values).confidence == "high"


def test_scaled_gradients_are_written() -> None:
    dims, types = ADAM.replace("[], []]", "[], [1]]"), ADAM_TYPES.replace('"", ""]', '"float", "float"]')
    found = priced("aten::_fused_adamw_", ADAM[: -len("[], []]")] + "[], []]", types, ADAM_VALUES)
    assert dims.endswith("[], [1]]")
    assert found[:3] == (16 * N, 16 * N + 8 + 4 + 4, 16 * N)


@pytest.mark.parametrize("name", ["_foreach_mul_", "_fused_adamw_", "_foreach_norm"])
def test_a_list_without_sizes_has_no_price(name: str) -> None:
    found = priced(f"aten::{name}", "[[], []]", '["TensorList float", "Scalar"]', '["", "2"]')
    assert (found.flops, found.confidence) == (None, "low")


def test_a_copy_reads_the_type_of_its_source() -> None:
    copy = "multi_tensor_apply_kernel<TensorListMetadata<2>, CopyFunctor<float, c10::BFloat16, 2, 1, 1>>"
    assert elements(copy) == ("float", "c10::BFloat16")
    assert elements("multi_tensor_apply_kernel<TensorListMetadata<1>, UnaryOpFunctor<c10::Half, 1, 1, 0>>") == (
        "c10::Half", None,
    )  # fmt: skip


BLOCK = 65_536
MULTIPLY = "multi_tensor_apply_kernel<TensorListMetadata<1>, BinaryOpScalarFunctor<float, 1, 1, 0>, multiplies<float>>"


def step(at: float, first_id: int, gradients: list[list[int]], blocks: list[int]) -> list[kineto.Event]:
    """A backward pass that accumulates the gradients, and a product with a list of unrecorded sizes."""
    events = [
        kineto.operator(
            "torch::autograd::AccumulateGrad", at + i, 0.5, first_id + i, [shape], ["float"], [""]
        )
        for i, shape in enumerate(gradients)
    ]  # fmt: skip
    call = first_id + 50
    inputs: list[Any] = [[], []]
    events.append(
        kineto.operator("aten::_foreach_mul_", at + 50, 20, call, inputs, ["TensorList", "Scalar"], ["", "0.9"])
    )
    for i, count in enumerate(blocks):
        events.append(kineto.launch(at + 51 + i, call + 10 + i))
        grid: dict[str, Any] = {"External id": call, "grid": [count, 1, 1]}
        events.append(kineto.kernel(MULTIPLY, at + 100 + 3 * i, 2.0, call + 10 + i, **grid))
    return events


def prices(tmp_path: Path, events: list[kineto.Event]) -> list[tuple[Any, ...]]:
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "t.json", events))
    columns = "shapes, flops, read_bytes, write_bytes, confidence"
    return query(tmp_path / "w.duckdb", f"SELECT {columns} FROM signatures WHERE operator = 'aten::_foreach_mul_'")


MATRIX, VECTOR = [2, BLOCK + 1], [3]
"""Of 3 chunks and of 1."""


@pytest.mark.parametrize(
    ("gradients", "blocks", "shapes"),
    [
        # parameters stand in the reverse order of their gradients
        ([VECTOR, MATRIX], [4], "[[[2,65537],[3]],[]]"),
        # in two launches
        ([VECTOR, MATRIX], [1, 3], "[[[2,65537],[3]],[]]"),
        # the matrices alone, and the vectors alone, as in groups of weight decay
        ([VECTOR, MATRIX, VECTOR], [3], "[[[2,65537]],[]]"),
        ([VECTOR, MATRIX, VECTOR], [2], "[[[3],[3]],[]]"),
        # accumulated twice
        ([VECTOR, MATRIX, VECTOR, MATRIX], [4], "[[[2,65537],[3]],[]]"),
        # the input of the program has a gradient too, of 2 chunks
        ([VECTOR, MATRIX, [BLOCK + 1], VECTOR], [5], "[[[3],[2,65537],[3]],[]]"),
        # a number for each tensor
        ([MATRIX, [5, 7], MATRIX], [3], "[[[],[],[]],[]]"),
    ],
)  # fmt: skip
def test_gradients_say_the_sizes_of_a_long_list(
    tmp_path: Path, gradients: list[list[int]], blocks: list[int], shapes: str
) -> None:
    ((found, flops, read, written, confidence),) = prices(tmp_path, step(0, 100, gradients, blocks))
    sizes = {"[[[2,65537],[3]],[]]": 131_077, "[[[2,65537]],[]]": 131_074, "[[[3],[3]],[]]": 6, "[[[],[],[]],[]]": 3}
    sizes["[[[3],[2,65537],[3]],[]]"] = 131_080
    assert found.replace(" ", "") == shapes
    assert (flops, read, written, confidence) == (sizes[shapes], 4 * sizes[shapes], 4 * sizes[shapes], "high")


def test_sizes_that_make_another_number_of_chunks_are_not_taken(tmp_path: Path) -> None:
    ((shapes, *_, confidence),) = prices(tmp_path, step(0, 100, [VECTOR, MATRIX], [7]))
    assert (shapes.replace(" ", ""), confidence) == ("[[],[]]", "low")


def test_a_step_takes_its_own_gradients_before_those_of_another(tmp_path: Path) -> None:
    """Two optimizers of as many chunks; the last step's backward pass was not recorded."""
    events = step(0, 100, [VECTOR, MATRIX], [4]) + step(300, 300, [[3 * BLOCK + 5]], [4]) + step(600, 500, [], [4])
    assert [row[0].replace(" ", "") for row in prices(tmp_path, events)] == [
        "[[[2,65537],[3]],[]]",
        "[[[196613]],[]]",
    ]


COPY = "elementwise_kernel<128, 2, gpu_kernel_impl{}<at::native::direct_copy_kernel_cuda(X)::{{lambda(float)#1}}>"


@pytest.mark.parametrize(("second", "confidence", "moved"), [("_nocast", "high", 40), ("", "low", None)])
def test_a_list_copied_without_conversion_has_one_type(
    tmp_path: Path, second: str, confidence: str, moved: int | None
) -> None:
    """A tensor that is converted on the way has another type than the first one, which the trace does not say."""
    events = [kineto.operator("aten::cat", 0, 20, 1, [[[2, 3], [2, 2]], []], ["TensorList", "Scalar"], ["", "1"])]
    for i, impl in enumerate(("_nocast", second)):
        events.append(kineto.launch(1 + i, 10 + i))
        full_name = COPY.format(impl).replace("gpu_kernel_impl", "at::native::gpu_kernel_impl")
        events.append(kineto.kernel(full_name, 100 + 3 * i, 2.0, 10 + i, **{"External id": 1}))
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "t.json", events))
    found = query(
        tmp_path / "w.duckdb", "SELECT confidence, read_bytes, write_bytes FROM signatures WHERE operator = 'aten::cat'"
    )
    assert found == [(confidence, moved, moved)]


def test_lists_that_are_copied_as_bytes_have_the_type_of_the_tensor() -> None:
    """FSDP divides a gathered buffer of 2 rows into parameters, and joins gradients to one."""
    kernels = (
        "at::native::detail::split_with_sizes_copy_out_contiguous_no_cast_kernel(char**, char**, long*)",
        "void at::native::detail::chunk_cat_cuda_kernel<char, char>(char**, char*, long*)",
    )
    split = (
        b"[[2, 70000], [], [], [[2, 40000], [2, 30000]]]",
        b'["c10::BFloat16", "ScalarList", "Scalar", "TensorList"]',
    )
    joined = b"[[[4, 2], [2, 3]], [], [], [2, 7]]", b'["TensorList", "Scalar", "Scalar", "float"]'
    found = with_elements(("aten::split_with_sizes_copy", *split, b"", b'["", "[40000, 30000]", "1", ""]'), kernels[0])
    assert price(parse(found))[:3] == (0, 280_000, 280_000)
    found = with_elements(("aten::_chunk_cat", *joined, b"", b'["", "0", "2", ""]'), kernels[1])
    assert price(parse(found))[:3] == (0, 56, 56)
