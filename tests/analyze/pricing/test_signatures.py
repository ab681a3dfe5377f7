"""What ingest adds to a signature that the profiler left incomplete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.pricing.completed_signatures import completed_by
from ridgeline.analyze.pricing.lists import with_elements
from ridgeline.analyze.pricing.signature import Tensor, Unrecorded, Value, parse
from tests.analyze import kineto
from tests.analyze.loading import load, query

FP32 = "float"
FLOATS = Tensor((2, 3), (3, 1), "fp32", 4)


def indexing(name: str, view: list[Any], external_id: int = 1, at: float = 0.0) -> list[kineto.Event]:
    """An indexing operator with a view inside it, and its kernel."""
    inputs = [[9, 16], [], [], []]
    types, view_types = [FP32, "", FP32, "Scalar"], [FP32, "ScalarList", "ScalarList", ""]
    return [
        kineto.operator(name, at + 1.0, 20.0, external_id, inputs, types, ["", "", "", "False"]),
        kineto.operator("aten::as_strided", at + 2.0, 1.0, external_id + 1, inputs, view_types, ["", *view, ""]),
        kineto.launch(at + 5.0, external_id + 10),
        kineto.kernel("index_kernel", at + 30.0, 2.0, external_id + 10, **{"External id": external_id}),
    ]


def bytes_of(tmp_path: Path, events: list[kineto.Event]) -> list[tuple[Any, ...]]:
    warehouse = tmp_path / "w.duckdb"
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    return query(warehouse, "SELECT confidence, dram_bytes FROM kernel_roofline ORDER BY start_ns")


def test_what_an_index_addresses_is_read_off_the_view_inside(tmp_path: Path) -> None:
    """3 rows of 16 written, and the scalar read; sizes differ from call to call."""
    events = indexing("aten::index_put_", ["[3, 16]", "[0, 1]"])
    events += indexing("aten::index_put_", ["[5, 16]", "[0, 1]"], 50, 100.0)
    assert bytes_of(tmp_path, events) == [("high", 3 * 64 + 4), ("high", 5 * 64 + 4)]


@pytest.mark.parametrize(
    ("dims", "types", "strides", "concrete", "inputs"),
    [
        ("[[2, 3]]", '["float"]', "[[1, 2]]", '[""]', [Tensor((2, 3), (1, 2), "fp32", 4)]),
        ("[[2, 3], [4]]", '["float", "c10::Half"]', "[[1], [-1]]", "", [FLOATS, Tensor((4,), (1,), "fp16", 2)]),
        ("[[], []]", '["Scalar", "IntList"]', "", "", [Unrecorded("Scalar"), Unrecorded("ScalarList")]),
        ("[[], [4]]", '["", "Scalar"]', "", "", [Unrecorded(""), Unrecorded("Scalar")]),
        ("[[], []]", '["", "GenericList"]', "", '["", ""]', [None, Unrecorded("GenericList")]),
        ("[[2, 3], [[2, 3], [true]]]", '["", "TensorList float"]', "", '["7"]', ["7", [FLOATS]]),
        ("[[], [3]]", '["TensorList", "TensorList"]', "", "", [[], []]),
        ("[[2, 3]]", '["float", "float", "Scalar", 5]', "", '["", "", "1.5", "2"]', [FLOATS, None, "1.5", None]),
        ("[[2, 3]]", '["float", "float", "Scalar"]', "", '["", "", "1.5"]', [FLOATS, None, "1.5"]),
        ("[[-1], [281474976710656], [0.5], 8]", '["float", "float", "float", "float"]', "", "", [None] * 4),
        ("", "", "", "", []),
        ("[" * 9999, '["float"]', "[[1]]", "", [None]),
    ],
)  # fmt: skip
def test_values_of_a_record(dims: str, types: str, strides: str, concrete: str, inputs: list[Value]) -> None:
    record = ("aten::mm", dims.encode(), types.encode(), strides.encode(), concrete.encode())
    assert parse(record).inputs == inputs


def test_a_view_without_an_index_tells_nothing(tmp_path: Path) -> None:
    assert bytes_of(tmp_path, indexing("aten::index_put_", ["[16, 9]", "[1, 16]"])) == [("low", 9 * 64 + 4)]


def test_a_view_before_the_operator_tells_nothing(tmp_path: Path) -> None:
    index, view, *rest = indexing("aten::index_put_", ["[3, 16]", "[0, 1]"])
    view["ts"] = 0.2
    view["dur"] = 0.5
    assert bytes_of(tmp_path, [index, view, *rest]) == [("low", 9 * 64 + 4)]


@pytest.mark.parametrize(
    ("kernel", "element"),
    [
        ("void at::native::CatArrayBatchedCopy<at::native::OpaqueType<2u>, unsigned int>", "c10::BFloat16"),
        ("void at::native::CatArrayBatchedCopy<float, unsigned int, 3>", "float"),
        (
            "void multi_tensor_apply_kernel<TensorListMetadata<2>, BinaryOpScalarFunctor<c10::Half, 1, 1, 0>>",
            "c10::Half",
        ),
        ("void at::native::multi_tensor_apply_kernel<Copy<long, long>>", "long int"),
        (
            "void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<at::native::"
            "direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}::operator()()::{lambda(c10::Half)#1}>",
            "c10::Half",
        ),
        (
            "void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl<at::native::"
            "direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}::operator()()::{lambda(float)#1}>",
            None,
        ),
        ("something else", None),
    ],
)
def test_the_element_of_a_list_is_in_the_kernels_name(kernel: str, element: str | None) -> None:
    types = with_elements(("aten::cat", b"[[[4]]]", b'["TensorList"]', b"", b""), kernel)[2]
    assert json.loads(types) == ["TensorList" if element is None else f"TensorList {element}"]


@pytest.mark.parametrize(
    ("kernel", "collective"),
    [
        ("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "AllGather"),
        ("ncclKernel_AllReduce_RING_LL_Sum_half(ncclWorkElem)", "AllReduce"),
        ("ncclDevKernel_ReduceScatter_Sum_f32_RING_LL", "ReduceScatter"),
        ("ncclDevKernel_Generic_4", ""),
    ],
)
def test_the_collective_is_in_the_kernels_name(kernel: str, collective: str) -> None:
    concrete = b'["", "", "", "0", "", "[]", "[]", "0", "1", "8"]'
    found = completed_by(("record_param_comms", b"", b"", b"", concrete), kernel)[4]
    assert json.loads(found)[4] == collective
    assert completed_by(("record_param_comms", b"", b"", b"", b"{"), kernel)[4] == b"{"
