"""What Inductor says of its own kernels, from the trace to the warehouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from ridgeline.analyze.reading.columns import signature
from ridgeline.analyze.reading.parts import read_part
from tests.analyze import kineto
from tests.analyze.together import Loading, together

BF16 = "c10::BFloat16"
# as torch 2.11 writes them besides the operands, under TORCHINDUCTOR_PROFILE and TORCHINDUCTOR_BENCHMARK_KERNEL
RECORDED: dict[str, Any] = {
    "kernel_kwargs": "XBLOCK=1024",
    "kernel_name": "triton_poi_fused_add_0",
    "stream": 0,
    "num_warps": 4,
    "num_stages": 1,
    "kernel_backend": "triton",
    "kernel_file": "cmw.py",
    "kernel_hash": "cmw",
}


def generated(name: str, external_id: int, **measures: Any) -> list[kineto.Event]:
    """A generated kernel of two bf16 tensors of 512 bytes, with its launch."""
    start_us = 10.0 * external_id
    event = kineto.operator(
        name, start_us, 8.0, external_id, [[8, 32], [8, 32], []], [BF16, BF16, "Scalar"], ["", "", "256"]
    )
    event["args"] |= RECORDED | measures
    return [
        event,
        kineto.launch(start_us + 1, external_id),
        kineto.kernel(name, start_us + 2, 3.0, external_id, **{"External id": external_id}),
    ]


@pytest.mark.parametrize(
    ("name", "measures", "expected"),
    [
        ("triton_tem_fused_mm_0", {"kernel_num_gb": 1.5e-06, "kernel_flop": 77}, (77.0, 1500.0, 0.0, "high")),
        ("triton_poi_fused_add_0", {"kernel_num_gb": 1.5e-06}, (None, 1500.0, 0.0, "high")),
        # of what is no product it counts nothing
        ("triton_poi_fused_add_0", {"kernel_num_gb": 1.5e-06, "kernel_flop": 0}, (None, 1500.0, 0.0, "high")),
        # whether both tensors are added, or a constant to the first, is not recorded
        ("triton_poi_fused_add_0", {}, (None, 512.0, 512.0, "low")),
        # of a wrong type, and of an operator that PyTorch knows
        ("triton_poi_fused_add_0", {"kernel_num_gb": "1", "kernel_flop": [1]}, (None, 512.0, 512.0, "low")),
        ("aten::add.Tensor", {"kernel_num_gb": 1.5e-06, "kernel_flop": 77}, (256.0, 1024.0, 512.0, "high")),
    ],
)
@together
def test_its_own_count_prices_a_kernel(
    folder: Path, name: str, measures: dict[str, Any], expected: tuple[Any, ...]
) -> Loading:
    run = yield kineto.write(folder / "t.json", generated(name, 1, **measures))
    rows = run.query("SELECT flops, read_bytes, write_bytes, confidence FROM signatures")
    assert rows == [expected]


def test_the_signature_of_an_operator_that_torch_knows_stays_as_recorded(tmp_path: Path) -> None:
    path = kineto.write(tmp_path / "t.json", generated("aten::add.Tensor", 1, kernel_num_gb=1.5e-06))
    assert [signature(*coded)[4] for coded in read_part(path).signatures] == [b'["", "", "256"]']


@together
def test_calls_that_differ_in_it_have_signatures_of_their_own(folder: Path) -> Loading:
    events = [
        event
        for external_id, giga in enumerate([1e-06, 2e-06, 1e-06, None], 1)
        for event in generated("triton_poi_fused_add_0", external_id, **({"kernel_num_gb": giga} if giga else {}))
    ]
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query("SELECT kernel_id, dram_bytes FROM kernel_roofline ORDER BY 1")
    assert rows == [(0, 1000.0), (1, 2000.0), (2, 1000.0), (3, 1024.0)]


def test_torch_records_it_where_it_is_looked_for(tmp_path: Path) -> None:
    tensor = torch.ones(8, 32, dtype=torch.bfloat16)
    with (
        profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded,
        torch._C._profiler._RecordFunctionFast(
            "triton_poi_fused_add_0", (tensor, 256), RECORDED | {"kernel_num_gb": 1.5e-06, "kernel_flop": 77}
        ),
    ):
        pass
    recorded.export_chrome_trace(str(tmp_path / "t.json"))
    recorded_calls = [signature(*coded) for coded in read_part(tmp_path / "t.json").signatures]
    (concrete,) = [call[4] for call in recorded_calls if call[0].startswith("triton_")]
    assert concrete == b'["","256",{"kernel_num_gb":1.5e-06,"kernel_flop":77}]'
