"""Collectives: what arguments, names of kernels and older annotations say of them, and the bytes over a link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.pricing.engines.collectives import Message, kind
from tests.analyze import kineto
from tests.analyze.pricing.test_price import BF16, priced
from tests.analyze.together import Loading, together

ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
GENERIC = "ncclDevKernel_Generic_4(ncclDevKernelArgsStorage<4096ul>)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("allreduce", "all_reduce"), ("allreduce_coalesced", "all_reduce"), ("_allgather_base", "all_gather"),
        ("allgather_into_tensor_coalesced", "all_gather"), ("_reduce_scatter_base", "reduce_scatter"),
        ("all_to_allv", "all_to_all"), ("alltoall_base", "all_to_all"), ("_broadcast_oop", "broadcast"),
        ("_reduce_oop", "reduce"), ("gather", "gather"), ("scatter", "scatter"), ("send", "send"), ("recv", "recv"),
        ("nccl:all_reduce", "all_reduce"), ("vllm::all_reduce", "all_reduce"), ("wait", None), ("barrier", "barrier"),
        ("coalesced", None), ("record_param_comms", None),
    ],
)  # fmt: skip
def test_the_kind_is_in_the_name(name: str, expected: str | None) -> None:
    assert kind(name) == expected


@pytest.mark.parametrize(
    ("collective", "ranks", "expected"),
    [
        # 800 bytes: nccl-tests' factors 2(n-1)/n, (n-1)/n and 1
        ("all_reduce", 8, 1400.0), ("all_reduce", 2, 800.0), ("all_gather", 8, 700.0), ("reduce_scatter", 4, 600.0),
        ("all_to_all", 8, 700.0), ("broadcast", 8, 800.0), ("reduce", 8, 800.0), ("send", 2, 800.0),
        # nothing leaves a group of one; of an unknown number of ranks two send the least
        ("all_reduce", 1, 0.0), ("broadcast", 1, 0.0), ("all_reduce", None, 800.0), ("all_gather", None, 400.0),
    ],
)  # fmt: skip
def test_bytes_over_a_link(collective: str, ranks: int | None, expected: float) -> None:
    assert Message(collective, 800, ranks).link_bytes == expected


COMMS = [([80], BF16), None, None, "0", "allreduce", "[]", "[]", "0", "1", "8"]


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [
        # the message is the larger side; (kind, message, ranks, over a link, confidence)
        ("record_param_comms", COMMS, ("all_reduce", 160, 8, 280.0, "high")),
        ("record_param_comms", [*COMMS[:4], "_allgather_base", *COMMS[5:]], ("all_gather", 1280, 8, 1120.0, "high")),
        ("record_param_comms", [*COMMS[:4], "AllGather", *COMMS[5:]], ("all_gather", 1280, 8, 1120.0, "high")),
        ("record_param_comms", [*COMMS[:4], "reduce_scatter", *COMMS[5:]], ("reduce_scatter", 160, 8, 140.0, "high")),
        ("record_param_comms", [*COMMS[:4], "send", *COMMS[5:]], ("send", 160, 8, 160.0, "high")),
        ("record_param_comms", [*COMMS[:4], "all_to_all", *COMMS[5:]], ("all_to_all", 160, 8, 140.0, "high")),
        ("record_param_comms", [*COMMS[:4], "wait", *COMMS[5:]], (None, None, None, None, "high")),
        ("record_param_comms", [None, *COMMS[1:4], "barrier", *COMMS[5:]], ("barrier", 0, 8, 0.0, "low")),
        ("_c10d_functional::all_gather_into_tensor", [([80], BF16), "8", "0"], ("all_gather", 1280, 8, 1120.0, "high")),
        ("c10d::_allgather_base_", [([640], BF16), ([80], BF16)], ("all_gather", 1280, None, 640.0, "low")),
        ("c10d::alltoall_base_", [([6], BF16), ([8], BF16)], ("all_to_all", 16, None, 8.0, "low")),
        ("vllm::all_reduce", [([80], BF16), "tp:0"], ("all_reduce", 160, None, 160.0, "low")),
        ("nccl:all_to_all", [([80], BF16)], ("all_to_all", 160, None, 80.0, "low")),
        ("aten::gather", [([80], BF16)], (None, None, None, None, "low")),
    ],
)
def test_the_message_of_a_call(name: str, inputs: list[Any], expected: tuple[Any, ...]) -> None:
    found = priced(name, inputs)
    assert (found.collective, found.message_bytes, found.ranks, found.link_bytes, found.confidence) == expected


def comms(external_id: int, **args: Any) -> kineto.Event:
    """``record_param_comms`` at 10 us a call, with Kineto's arguments if any are given."""
    concrete = ["", "3", "0", "0", "allreduce", "[]", "[]", "0", "1", "8"]
    dims, types = [[[134_217_728]], *[[]] * 9], ["TensorList", *[""] * 9]
    event = kineto.operator("record_param_comms", 10.0 * external_id, 5, external_id, dims, types, concrete)
    event["args"] |= args
    return event


MESSAGE: dict[str, Any] = {
    "Collective name": "allreduce",
    "dtype": "BFloat16",
    "In msg nelems": 134_217_728,
    "Out msg nelems": 134_217_728,
    "Group size": 8,
}
COLUMNS = (
    "SELECT operator, family, link_bytes, dram_bytes, dram_bytes_source, compulsory_bytes, flops, confidence"
    " FROM kernel_roofline ORDER BY start_ns"
)
ROW = ("record_param_comms", "communication", 469_762_048.0, None, "none", None, 0.0, "high")
"""134,217,728 elements of 2 bytes, times 2·7/8."""


@together
def test_kinetos_arguments_give_the_message(folder: Path) -> Loading:
    """On operators and on kernels; by the shapes and the kernel's name without them; NCCL's generic kernel too."""
    events = [
        comms(1, **MESSAGE), comms(2), comms(3, **MESSAGE),
        kineto.kernel(ALL_REDUCE, 100.0, 1100.0, 1, **{"External id": 1}),
        kineto.kernel(ALL_REDUCE, 1300.0, 1000.0, 2, **{"External id": 2}),
        kineto.kernel(GENERIC, 2500.0, 1100.0, 3, **{"External id": 3}, **MESSAGE),
        # without any operator: its own arguments say all
        kineto.kernel(GENERIC, 3700.0, 1100.0, 4, **MESSAGE),
        # neither its operator nor its name says the element type
        comms(5), kineto.kernel(GENERIC, 4900.0, 1100.0, 5, **{"External id": 5}),
    ]  # fmt: skip
    run = yield kineto.write(folder / "t.json", events)
    alone = (*ROW[:6], None, "high")
    unknown = (*ROW[:2], None, None, "none", None, None, "low")
    assert run.query(COLUMNS) == [ROW, ROW, ROW, alone, unknown]
    # the shortest of four kernels takes 1 ms: 268 and 470 GB/s
    summary = "SELECT * EXCLUDE (run_id) FROM collective_summary ORDER BY collective"
    assert run.query(summary) == [
        (
            "all_reduce",
            268_435_456.0,
            8,
            4,
            4_300_000,
            1_000_000,
            1_100_000,
            469_762_048.0,
            268_435_456e3,
            469_762_048e3,
        ),
        (None, None, None, 1, 1_100_000, 1_100_000, 1_100_000, None, None, None),
    ]


@together
def test_older_traces_name_the_message_in_an_annotation(folder: Path) -> Loading:
    """PyTorch before 2.1 records the tensors of an all-reduce only there."""
    annotation = kineto.annotation("nccl:all_reduce", 2.0, 5.0)
    annotation["args"] = {"External id": 2, "Input Dims": [[394_241]], "Input type": ["float"]}
    events = [
        kineto.operator("record_param_comms", 1.0, 8.0, 1, [[]] * 7, ["TensorList", *[""] * 6]), annotation,
        kineto.launch(3.0, 70), kineto.kernel("ncclKernel_AllReduce_RING_LL_Sum_float(ncclDevComm*)", 10.0, 100.0, 70),
    ]  # fmt: skip
    run = yield kineto.write(folder / "t.json", events)
    # the least that it can be: 4 bytes an element, times 2·1/2
    assert run.query(COLUMNS) == [("nccl:all_reduce", *ROW[1:2], 1_576_964.0, *ROW[3:7], "low")]


@pytest.mark.parametrize(
    "kernel",
    [
        "void vllm::cross_device_reduce_2stage<__nv_bfloat16, 4>(vllm::RankData*)",
        "void aiter::cross_device_reduce_1stage_naive<__hip_bfloat16, 4>(RankData*)",
        "void two_shot_all_reduce_kernel<c10::BFloat16, 16, 4, false>(c10::BFloat16**)",
    ],
)
@together
def test_a_custom_all_reduce_names_its_ranks(folder: Path, kernel: str) -> Loading:
    operator = kineto.operator(
        "_C_custom_ar::all_reduce", 1.0, 8.0, 1, [[], [80], [80]], ["", BF16, BF16], ["7", "", ""]
    )
    events = [operator, kineto.kernel(kernel, 10.0, 100.0, 70, **{"External id": 1})]
    run = yield kineto.write(folder / "t.json", events)
    # 160 bytes times 2·3/4
    assert run.query(COLUMNS) == [("_C_custom_ar::all_reduce", ROW[1], 240.0, *ROW[3:])]


@together
def test_a_copy_to_another_device_counts_once_over_a_link(folder: Path) -> Loading:
    events = [
        kineto.kernel("Memcpy PtoP (Device -> Device)", 1.0, 50.0, 1, category="gpu_memcpy", bytes=1000),
        kineto.kernel("Memcpy DtoD (Device -> Device)", 101.0, 50.0, 2, category="gpu_memcpy", bytes=1000),
    ]
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query("SELECT link_bytes, dram_bytes, dram_bytes_source FROM kernel_roofline ORDER BY start_ns")
    assert rows == [(1000.0, 1000.0, "trace"), (None, 2000.0, "trace")]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        # 4,000 bytes among an unknown number of ranks: 2·1/2 and 1/2
        ("ncclKernel_AllReduce_RING_LL_Sum_float(ncclDevComm*)", ("all_reduce", 4000.0, "low")),
        ("ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*)", ("all_to_all", 2000.0, "low")),
        ("ncclKernel_Broadcast_RING_LL_Sum_int8_t(ncclDevComm*)", ("broadcast", 4000.0, "high")),
    ],
)
@together
def test_older_traces_name_the_collective_in_the_kernel(
    folder: Path, kernel: str, expected: tuple[Any, ...]
) -> Loading:
    """Without concrete inputs, and so without names of collectives and numbers of ranks."""
    operator = kineto.operator("record_param_comms", 1.0, 8.0, 1, [[1000], *[[]] * 6], ["float", *[""] * 6])
    del operator["args"]["Concrete Inputs"]
    events = [operator, kineto.launch(3.0, 70), kineto.kernel(kernel, 10.0, 100.0, 70)]
    run = yield kineto.write(folder / "t.json", events)
    assert run.query("SELECT collective, link_bytes, confidence FROM signatures") == [expected]
