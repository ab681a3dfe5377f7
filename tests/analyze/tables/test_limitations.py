"""What a trace did not allow: a line with the remedy for each thing that lacks, and silence where nothing lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ridgeline.analyze.ingest import Result, analyze, warning_lines
from ridgeline.analyze.tables import limitations
from tests.analyze import kineto
from tests.analyze.loading import query

BF16 = "c10::BFloat16"
LABEL = kineto.annotation("phase=decode step=0", 0.0, 1000.0)
MODULE = kineto.annotation("module=model", 1.0, 999.0)
AMD: dict[str, Any] = {"deviceProperties": [{"id": 0, "name": "AMD Instinct MI300X VF"}]}
UNKNOWN: dict[str, Any] = {"deviceProperties": [{"id": 0, "name": "Accelerator 9"}]}


def product(number: int, duration_us: float, *, shapes: bool = True, name: str = "aten::mm") -> list[kineto.Event]:
    """An operator that launches one kernel."""
    start_us, inputs = 20.0 * number, ([[64, 64], [64, 64]], [BF16, BF16]) if shapes else ()
    return [
        kineto.operator(name, start_us, 10.0, number, *inputs),
        kineto.launch(start_us + 1.0, number),
        kineto.kernel("nvjet", 1000.0 + 200.0 * number, duration_us, number, **{"External id": number}),
    ]


def bare(duration_us: float, correlation: int | None, *launches: kineto.Event) -> list[kineto.Event]:
    """A kernel without an operator, after the kernels of `product`, with the launches that it may have."""
    return [*launches, kineto.kernel("mine", 9000.0, duration_us, correlation)]


WHOLE = [LABEL, MODULE, *product(1, 99.0)]
OUTSIDE = kineto.launch(500.0, 70)
GRAPH = kineto.launch(500.0, 70, "cudaGraphLaunch")
TRACES: dict[str, tuple[list[kineto.Event], dict[str, Any] | None]] = {
    "whole": (WHOLE, None),
    "no_label": ([MODULE, *product(1, 99.0)], None),
    "half_labelled": ([LABEL, MODULE, *product(1, 99.0), kineto.launch(1500.0, 70), *bare(1.0, 70)], None),
    "no_module": ([LABEL, *product(1, 99.0)], None),
    "no_shapes": ([LABEL, MODULE, *product(1, 99.0, shapes=False)], None),
    "no_message": (
        [
            LABEL,
            MODULE,
            *product(1, 99.0),
            kineto.operator("record_param_comms", 201.0, 5, 8, [[[4]]], ["TensorList"]),
            kineto.launch(202.0, 8),
            kineto.kernel("ncclDevKernel_Generic_4(ncclDevKernelArgsStorage<4096ul>)", 300.0, 1.0, 8),
        ],
        None,
    ),
    "no_price": (
        [
            LABEL,
            MODULE,
            *product(1, 98.0),
            *product(2, 1.0, name="mine::mm"),
            *product(3, 1.0, name="mine::mv", shapes=False),
        ],
        None,
    ),
    "graph": ([*WHOLE, *bare(1.0, 70, GRAPH)], None),
    "graph_below": ([*WHOLE, *bare(0.9, 70, GRAPH)], None),
    "outside": ([*WHOLE, *bare(1.0, 70, OUTSIDE)], None),
    "outside_below": ([*WHOLE, *bare(0.9, 70, OUTSIDE)], None),
    "lost": ([*WHOLE, *bare(1.0, 70)], None),
    "before": ([kineto.kernel("early", 0.0, 1.0, 0), *WHOLE], None),
    "before_below": ([kineto.kernel("early", 0.0, 0.9, 0), *WHOLE], None),
    "no_operators": ([LABEL, MODULE, kineto.launch(5.0, 1), kineto.kernel("k", 30.0, 9.0, 1)], None),
    "no_launches": ([LABEL, MODULE, kineto.operator("aten::mm", 5.0, 9.0, 1), kineto.kernel("k", 30.0, 9.0)], None),
    "on_host": ([LABEL, MODULE, kineto.operator("aten::exp", 5.0, 9.0, 1, [[64]], ["float"])], None),
    "virtual": (WHOLE, AMD),
    "unknown": (WHOLE, UNKNOWN),
    "unnamed": (WHOLE, {"schemaVersion": 1}),
    "slice": (WHOLE, {"deviceProperties": [{"id": 0, "name": "NVIDIA H200 MIG 1g.18gb"}]}),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The results of all traces, loaded by one call."""
    folder = tmp_path_factory.mktemp("limitations")
    for name, (events, header) in TRACES.items():
        kineto.write(folder / f"{name}.json", [*events, kineto.named(name)], header=header)
    return {result.name: result for result in analyze([folder], folder / "w.duckdb")}


NO_STEP = "name the label of a step with --step REGEX, or record with profiler.step() or record_function"
NO_ROOFS = "run `ridgeline ceilings` on it and put its ceilings.json beside the trace"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("whole", []),
        ("no_label", [("no step is labelled, so the whole trace counts as one", NO_STEP)]),
        ("half_labelled", [("1.0% of device time (1 kernel or copy) was launched outside any operator", "custom_op"),
            ("1.0% of device time (1 kernel or copy) belongs to no step", NO_STEP)]),
        ("no_module", [("no module is known", "with_stack=True")]),
        ("no_shapes", [("no operator recorded its shapes, so 100.0% of device time has neither FLOPs nor bytes",
            "record with record_shapes=True")]),
        ("no_message", [
            ("collectives without a message size take 1.0% of device time (record_param_comms 1.0%)", "torch >= 2.1"),
        ]),
        ("no_price", [
            ("operators without a price take 1.0% of device time (mine::mv 1.0%)", "'Add a pricing rule'"),
            ("operators with bytes but without FLOPs take 1.0% of device time (mine::mm 1.0%)", "analyze/README.md"),
        ]),
        ("graph", [("1.0% of device time (1 kernel or copy) is replayed from graphs and has no operator",
            "X.twin.json beside X.json, or --twin")]),
        ("graph_below", []),
        ("outside", [("1.0% of device time (1 kernel or copy) was launched outside any operator", "custom_op")]),
        ("outside_below", []),
        ("lost", [("1.0% of device time (1 kernel or copy) has neither a recorded launch nor an operator", "fewer"),
            ("1.0% of device time (1 kernel or copy) belongs to no step", NO_STEP)]),
        ("before", [("1.0% of device time (1 kernel or copy) was launched before the recording began", "warmup=1")]),
        ("before_below", []),
        ("no_operators", [("the trace has no operators, so 100.0% of device time", "ProfilerActivity.CPU")]),
        ("no_launches", [("the trace has no launches, so 100.0% of device time", "ProfilerActivity.CPU"),
            ("100.0% of device time (1 kernel or copy) belongs to no step", NO_STEP),
            ("no module is known", "with_stack=True")]),
        ("on_host", [("the trace names NVIDIA H200 but has no kernel", "ProfilerActivity.CUDA"),
            ("no roofs are known for this CPU", NO_ROOFS)]),
        ("virtual", []),
        ("unknown", [("no roofs are known for Accelerator 9, so 100.0% of device time has no bound", NO_ROOFS)]),
        ("slice", [("no roofs are known for NVIDIA H200 MIG 1g.18gb (a slice, which has a part of its device's rates)",
            "--device")]),
        ("unnamed", [("no roofs are known for a device without a name", NO_ROOFS)]),
    ],
)  # fmt: skip
def test_each_lack_is_one_line_with_its_remedy(
    name: str, expected: list[tuple[str, str]], results: dict[str, Result]
) -> None:
    lines = results[name].warnings
    assert [
        (start, remedy)
        for line, (start, remedy) in zip(lines, expected, strict=False)
        if line.startswith(start) and remedy in line
    ] == expected, lines
    assert len(lines) == len(expected), lines


def test_ceilings_of_another_device_are_named(tmp_path: Path) -> None:
    kineto.write(tmp_path / "t.json", WHOLE, header=UNKNOWN)
    (tmp_path / "ceilings.json").write_text('{"format": 1, "device": "NVIDIA A100", "ceilings": []}')
    ((line,),) = [result.warnings for result in analyze([tmp_path], tmp_path / "w.duckdb")]
    assert line.startswith("no roofs are known for Accelerator 9 (the ceilings.json beside it is of NVIDIA A100), so")


@pytest.mark.parametrize("record_id", [None, 7])
def test_an_execution_trace_that_joins_nothing_leaves_the_model_to_recorded_shapes(
    record_id: int | None, tmp_path: Path
) -> None:
    """The node of the execution trace has the id 7: of one operator where it is recorded, else of none."""
    products = [event for number in range(1, 41) for event in product(number, 90.0)]
    for event in products:
        if record_id and event["cat"] == "cpu_op":
            event["args"]["Record function id"] = record_id
    kineto.write(tmp_path / "t.json", [LABEL, MODULE, *products])
    tensors = [[1, storage, 0, 4096, 2, "cuda:0"] for storage in (1, 2, 3)]
    sizes = {"shapes": [[64, 64], [64, 64]], "strides": [[64, 1], [64, 1]]}
    node = {
        "name": "aten::mm",
        "attrs": [{"name": "rf_id", "value": 7}],
        "inputs": {"values": tensors[:2], **sizes},
        "outputs": {"values": tensors[2:], "shapes": [[64, 64]], "strides": [[64, 1]]},
    }
    (tmp_path / "t.et.json").write_text(json.dumps({"nodes": [node]}))
    (result,) = analyze([tmp_path], tmp_path / "w.duckdb")
    operands = query(tmp_path / "w.duckdb", "SELECT cache_model_operands FROM runs")
    if record_id:
        assert (result.warnings, operands) == ((), [("execution_trace",)])
    else:
        (line,) = result.warnings
        assert line.startswith("the execution trace joins no operator (the trace has no Record function id), so the L2")
        assert operands == [("recorded_shapes",)]


def test_the_same_remark_of_several_runs_is_one_line(results: dict[str, Result]) -> None:
    named = [results[name] for name in ("before", "whole", "lost", "half_labelled", "unknown", "unnamed")]
    steps = [line for line in warning_lines(named) if "belongs to no step" in line]
    assert [line.partition(" (1 kernel")[0] for line in steps] == ["lost: warning: 1.0% of device time"]
    assert steps[0].endswith(" (and 1 more run)")
    assert len([line for line in warning_lines(named) if "no roofs" in line]) == 2


@pytest.mark.parametrize("folder", ["h200", "h200-counted"])
def test_captures_of_the_project_lack_only_what_no_rule_prices(folder: str, tmp_path: Path) -> None:
    data = Path(__file__).parents[2] / "data" / folder
    lines = [line for result in analyze([data], tmp_path / "w.duckdb") for line in result.warnings]
    compiled = "operators with bytes but without FLOPs take 42.4% of device time (triton_red_fused_"
    assert all(line.startswith((compiled, "no module is known")) for line in lines), lines
    assert len(lines) == (2 if folder == "h200-counted" else 0)


def test_a_condition_on_all_holds_for_any_number_of_parts() -> None:
    """Polars evaluates a filter of a long frame in pieces."""
    parts = pl.DataFrame({"operator": "aten::mm", "kernels": 1, "duration_ns": [1] * 50_000})
    lines = limitations._lines(parts, pl.lit(value=True), "{share} {kernels}")
    assert list(lines) == ["100.0% 50,000 kernels and copies"]
