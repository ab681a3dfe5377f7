from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.errors import AnalyzeError
from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse.load import remove
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, dump, load, query, run_directory
from tests.analyze.together import Loading, together
from tests.sampling import examples


@together
def test_every_kernel_gets_its_row(folder: Path) -> Loading:
    path = kineto.write(folder / "step.json.gz", kineto.matmul_step())
    run = yield path
    assert run.result.outcome == "loaded"
    rows = run.query(
        "SELECT name, kernel, family, operator, module, phase, kind, step, start_ns, duration_ns,"
        " attribution, confidence, precision, unit,"
        " round(flops, 3), flops_source, round(dram_bytes, 3), dram_bytes_source"
        " FROM kernel_roofline ORDER BY kernel_id",
    )
    module, step = "model.layers.0.mlp", ("decode", "decode", 3)
    mm_flops, mm_bytes = 2 * 4 * 64 * 32, 2 * (4 * 64 + 64 * 32 + 4 * 32)
    # the reduction reads four partial results of fp32 and writes the run.result
    reduced_bytes = 4 * 4 * 32 * 4 + 2 * 4 * 32
    assert rows == [
        ("step", "nvjet_sm90_tst_64x8", "matmul", "aten::mm", module, *step, 10_000, 4_000,
         "external_id", "high", "bf16", "tensor",
         mm_flops, "algorithm", mm_bytes, "compulsory"),
        ("step", "void cublasLt::splitKreduce_kernel", "matmul", "aten::mm", module, *step, 14_500, 1_500,
         "external_id", "high", "fp32", "vector",
         0, "algorithm", reduced_bytes, "compulsory"),
        ("step", "void at::native::vectorized_elementwise_kernel", "pointwise", "aten::add.Tensor", None, *step,
         65_000, 2_250, "external_id", "high", "fp32", "vector", 128, "algorithm", 768, "compulsory"),
        ("step", "Memcpy DtoD (Device -> Device)", "copy", "aten::copy_", None, *step,
         85_000, 1_125, "external_id", "high", None, None, 0, "algorithm", 512, "trace"),
    ]  # fmt: skip


@together
def test_the_step_from_its_first_activity_to_its_last(folder: Path) -> Loading:
    run = yield kineto.write(folder / "step.json", kineto.matmul_step())
    rows = run.query("SELECT phase, kind, step, wall_ns, busy_ns, gap_ns, kernels FROM step_summary")
    assert rows == [("decode", "decode", 3, 76_125, 8_875, 67_250, 4)]


@together
def test_overlapping_streams_are_busy_once(folder: Path) -> Loading:
    events = [
        kineto.annotation("phase=decode step=0", 0.0, 50.0),
        kineto.launch(1.0, 1),
        kineto.launch(2.0, 2),
        kineto.launch(3.0, 3),
        kineto.kernel("a", 10.0, 10.0, 1),
        kineto.kernel("b", 12.0, 3.0, 2, stream=8),
        kineto.kernel("c", 18.0, 5.0, 3, stream=8),
    ]
    run = yield kineto.write(folder / "t.json", events)
    assert run.query("SELECT wall_ns, busy_ns, gap_ns FROM step_summary") == [(13_000, 13_000, 0)]


def test_loading_again_changes_nothing(tmp_path: Path, warehouse: Path) -> None:
    path = kineto.write(tmp_path / "step.json", kineto.matmul_step())
    load(warehouse, path)
    before = dump(warehouse)
    assert before["kernels"]
    assert load(warehouse, path) == [("step", "unchanged")]
    assert dump(warehouse) == before


def test_new_ceilings_beside_a_trace_replace_the_run(tmp_path: Path, warehouse: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    kineto.write(folder / "step.json", kineto.matmul_step())
    load(warehouse, folder)
    ceiling = {"resource": "bandwidth", "level": "dram", "value": 4e12, "unit_of_value": "byte/s", "source": "measured"}
    (folder / "ceilings.json").write_text(json.dumps({"format": 1, "device": "NVIDIA H200", "ceilings": [ceiling]}))
    assert load(warehouse, folder) == [("step", "replaced")]
    assert query(warehouse, "SELECT value, source FROM roofs WHERE level = 'dram'") == [(4e12, "measured")]
    assert query(warehouse, "SELECT count(*) FROM runs") == [(1,)]
    (roof_time_ns,) = query(warehouse, "SELECT roof_time_ns FROM kernel_roofline WHERE family = 'pointwise'")[0]
    assert roof_time_ns == pytest.approx(768 / 4e12 * 1e9)


def test_a_label_of_the_call_takes_the_place_of_the_run_s(tmp_path: Path, warehouse: Path) -> None:
    folder = tmp_path / "step"
    folder.mkdir()
    kineto.write(folder / "trace.json", kineto.matmul_step())
    (folder / "run.json").write_text('{"format": 1, "name": "step", "outcome": "ok", "experiment": "mine"}')
    for experiment, outcome, label in [
        (None, "loaded", "mine"),
        ("after", "replaced", "after"),
        ("after", "unchanged", "after"),
        (None, "replaced", "mine"),
    ]:
        (result,) = analyze(folder, warehouse, experiment=experiment)
        assert (result.outcome, query(warehouse, "SELECT experiment FROM runs")) == (outcome, [(label,)])


@together
def test_without_measured_ceilings_the_datasheet_holds(folder: Path) -> Loading:
    run = yield kineto.write(folder / "step.json", kineto.matmul_step())
    assert run.query("SELECT value, source FROM roofs WHERE level = 'dram'") == [(4.8e12, "datasheet")]


@together
def test_a_machine_without_a_device_has_operators_for_kernels(folder: Path) -> Loading:
    bf16 = "c10::BFloat16"
    events = [
        kineto.annotation("phase=denoise step=1 kind=refresh", 0.0, 100.0),
        kineto.operator("aten::linear", 1.0, 50.0, 1, [[4, 64], [32, 64], []], [bf16, bf16, ""]),
        kineto.operator("aten::t", 2.0, 4.0, 2, [[32, 64]], [bf16]),
        kineto.operator(
            "aten::transpose.int", 3.0, 2.0, 3, [[32, 64], [], []], [bf16, "Scalar", "Scalar"], ["", "0", "1"]
        ),
        kineto.operator("aten::mm", 10.0, 30.0, 4, [[4, 64], [64, 32]], [bf16, bf16]),
        kineto.operator("aten::empty", 12.0, 5.0, 5),
    ]
    run = yield kineto.write(folder / "cpu.json", events)
    rows = run.query("SELECT operator, duration_ns, flops, phase, attribution FROM kernel_roofline ORDER BY start_ns")
    assert rows == [
        ("aten::linear", 16_000, 0, "denoise", "cpu"),
        ("aten::t", 4_000, 0, "denoise", "cpu"),
        ("aten::mm", 30_000, 2 * 4 * 64 * 32, "denoise", "cpu"),
    ]
    assert run.query("SELECT device_kind, device_time_ns FROM runs") == [("cpu", 50_000)]


@together
def test_counter_ranges_bring_their_counters(folder: Path) -> Loading:
    metrics = {
        "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum": 10,
        "smsp__sass_thread_inst_executed_op_fadd_pred_on.sum": 3,
    }
    events = [kineto.kernel("range", 0.0, 9.0, category="cuda_profiler_range", **metrics)]
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query("SELECT attribution, counter_flops, flops, flops_source FROM kernel_roofline")
    assert rows == [("profiler_range", 23, 23, "counter")]


def test_a_run_directory_brings_its_configuration_and_timings(tmp_path: Path, warehouse: Path) -> None:
    run_directory(tmp_path / "runs" / "a", RUN_JSON)
    assert load(warehouse, tmp_path / "runs") == [("a", "loaded")]
    rows = query(
        warehouse,
        "SELECT name, mode, model, batch, step_ns, tokens_per_s, ttft_ns, tpot_ns, peak_memory_bytes FROM mode_summary",
    )
    assert rows == [("a", "ar", "tiny", 2, 200, 8000, 400_000, 200_000, 77)]
    assert not any("somebody" in str(row) for rows in dump(warehouse).values() for row in rows)


def test_out_of_memory_is_a_run_without_kernels(tmp_path: Path, warehouse: Path) -> None:
    oom = RUN_JSON | {"outcome": "oom", "message": "CUDA out of memory", "timings": [], "memory": None}
    run_directory(tmp_path / "runs" / "big", oom, trace=False)
    assert load(warehouse, tmp_path / "runs") == [("big", "loaded")]
    assert query(warehouse, "SELECT name, outcome FROM mode_summary") == [("big", "oom")]
    assert load(warehouse, tmp_path / "runs") == [("big", "unchanged")]


@st.composite
def traces(draw: st.DrawFn) -> list[kineto.Event]:
    """Any mixture of operators, launches and device activities that join in some way or not at all."""
    times = st.integers(1, 200).map(float)  # a start of 0 may be none: tests/analyze/test_writers.py
    numbers = st.integers(1, 6)
    bf16 = "c10::BFloat16"
    events: list[kineto.Event] = []
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(["aten::mm", "aten::add.Tensor", "aten::linear", "mine::op"]))
        events.append(kineto.operator(name, draw(times), draw(times), draw(numbers), [[4, 4], [4, 4]], [bf16, bf16]))
    for _ in range(draw(st.integers(0, 6))):
        events.append(
            kineto.launch(draw(times), draw(numbers), draw(st.sampled_from(["cudaLaunchKernel", "cudaGraphLaunch"])))
        )
    for _ in range(draw(st.integers(0, 8))):
        category = draw(st.sampled_from(["kernel", "kernel", "gpu_memcpy", "gpu_memset"]))
        extra = {"External id": draw(numbers)} if draw(st.booleans()) else {}
        extra |= {"bytes": draw(numbers)} if category != "kernel" else {}
        events.append(kineto.kernel("k", draw(times), draw(times), draw(numbers), category=category, **extra))
    events.append(kineto.annotation("phase=decode step=1", 20.0, 90.0))
    return draw(st.permutations(events))


@pytest.fixture(scope="module")
def shared_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("property") / "w.duckdb"


@examples("warehouse")
@given(events=traces())
def test_every_account_sums_to_the_device_time(
    events: list[kineto.Event], tmp_path: Path, shared_warehouse: Path
) -> None:
    device = [e for e in events if e["cat"] in ("kernel", "gpu_memcpy", "gpu_memset")]
    for stream, event in enumerate(device):  # one stream each: on one stream they could not overlap
        event["args"]["stream"] = stream
    analyze([kineto.write(tmp_path / "t.json", events)], shared_warehouse)
    connection = duckdb.connect(str(shared_warehouse))
    (run_id, total) = connection.execute("SELECT run_id, device_time_ns FROM runs").fetchone() or ("", -1)
    if device:
        assert total == sum(round(e["dur"] * 1000) for e in device)
    for sql in (
        "SELECT sum(duration_ns) FROM ledger WHERE account = 'attribution'",
        "SELECT sum(duration_ns) FROM ledger WHERE account = 'price'",
        "SELECT sum(duration_ns) FROM kernel_roofline",
        "SELECT sum(duration_ns) FROM operator_summary",
        "SELECT sum(duration_ns) FROM module_summary",
    ):
        assert (connection.execute(sql).fetchone() or (0,))[0] in (total, None if total == 0 else total)
    shares = connection.execute(
        "SELECT sum(share) FROM kernels JOIN kernel_classes USING (run_id, class_id)"
        " WHERE operator_id IS NOT NULL AND category = 'kernel' GROUP BY operator_id"
    ).fetchall()
    assert [share for (share,) in shares] == pytest.approx([1.0] * len(shares))
    remove(connection, [run_id])
    connection.close()
    assert run_id


@together
def test_rocm_numbers_its_agents_otherwise_than_its_devices(folder: Path) -> Loading:
    header = {"deviceProperties": [{"id": 0, "name": "AMD Instinct MI300X", "totalGlobalMem": 206141652992}]}
    events = [kineto.launch(0.0, 1, "hipLaunchKernel"), kineto.kernel("k", 1.0, 2.0, 1, device=9)]
    run = yield kineto.write(folder / "t.json", events, header=header)
    # the compute units of its datasheet, and its Infinity Cache of 256 MiB behind an L2 of 32
    assert run.query("SELECT device_index, name, datasheet, multiprocessors, l2_bytes FROM devices") == [
        (9, "AMD Instinct MI300X", "AMD Instinct MI300X", 304, 268_435_456)
    ]
    assert run.query("SELECT device_kind FROM runs") == [("hip",)]


@together
def test_kernels_that_do_the_same_work_share_its_cost_by_time(folder: Path) -> Loading:
    events = [
        *kineto.matmul_step(),
        kineto.kernel("nvjet_sm90_tst_other", 20.0, 12.0, 11, **{"External id": 2}),
    ]
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query("SELECT kernel, flops, diagnosis FROM kernel_roofline WHERE operator = 'aten::mm' ORDER BY 1")
    assert [(kernel, flops) for kernel, flops, _ in rows] == [
        ("nvjet_sm90_tst_64x8", 2 * 4 * 64 * 32 / 4),
        ("nvjet_sm90_tst_other", 2 * 4 * 64 * 32 * 3 / 4),
        ("void cublasLt::splitKreduce_kernel", 0),
    ]
    assert rows[2][2] == (
        "overhead of its operator: the main kernels carry the cost; "
        "adds up partial products: the product was split along K"
    )


@together
def test_inner_labels_add_to_outer_ones_and_profiler_steps_fill_gaps(folder: Path) -> Loading:
    events = [
        kineto.annotation("phase=decode", 0.0, 100.0),
        kineto.annotation("step=3 kind=reuse", 1.0, 40.0),
        kineto.annotation("ProfilerStep#9", 2.0, 30.0),
        kineto.launch(5.0, 1),
        kineto.kernel("inner", 6.0, 1.0, 1),
        kineto.launch(50.0, 2),
        kineto.kernel("outer", 51.0, 1.0, 2),
    ]
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query("SELECT kernel, phase, kind, step FROM kernel_roofline ORDER BY start_ns")
    assert rows == [("inner", "decode", "reuse", 3), ("outer", "decode", None, None)]


@together
def test_on_a_cpu_a_wrapper_leaves_the_work_to_what_runs_inside(folder: Path) -> Loading:
    bf16 = "c10::BFloat16"
    events = [
        kineto.operator("autograd::engine::evaluate_function: MmBackward0", 0.0, 50.0, 1),
        kineto.operator("aten::mm", 10.0, 30.0, 2, [[4, 64], [64, 32]], [bf16, bf16]),
        kineto.operator("mine::fused", 60.0, 10.0, 3, [[4, 64]], [bf16]),
    ]
    run = yield kineto.write(folder / "t.json", events)
    rows = run.query("SELECT operator, duration_ns, flops, dram_bytes FROM kernel_roofline ORDER BY start_ns")
    assert rows == [
        ("autograd::engine::evaluate_function: MmBackward0", 20_000, None, None),
        ("aten::mm", 30_000, 16384, 2 * (256 + 2048 + 128)),
        ("mine::fused", 10_000, None, 512),
    ]


@together
def test_ceilings_of_another_device_are_not_used(folder: Path) -> Loading:
    kineto.write(folder / "step.json", kineto.matmul_step())
    ceiling = {"resource": "bandwidth", "level": "dram", "value": 4e12, "unit_of_value": "byte/s", "source": "measured"}
    (folder / "ceilings.json").write_text(json.dumps({"format": 1, "device": "NVIDIA A100", "ceilings": [ceiling]}))
    run = yield folder
    assert run.query("SELECT value, source FROM roofs WHERE level = 'dram'") == [(4.8e12, "datasheet")]


COPY_FROM_HOST = [kineto.kernel("Memcpy HtoD (Pageable -> Device)", 1.0, 50.0, 1, category="gpu_memcpy", bytes=64_000)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # an H200's link to the host carries 64 GB/s in one direction
        ("NVIDIA H200", (64_000, 64_000, 1_000.0, "far from the roof of the link to the host")),
        ("Accelerator 9", (64_000, 64_000, None, "over the link to the host: no roof of the device applies")),
    ],
)
@together
def test_copies_over_the_host_link_have_no_roof_of_the_device(
    folder: Path, name: str, expected: tuple[Any, ...]
) -> Loading:
    header = {"deviceProperties": [{"id": 0, "name": name}]}
    run = yield kineto.write(folder / "t.json", COPY_FROM_HOST, header=header)
    rows = run.query("SELECT dram_bytes, link_bytes, roof_time_ns, diagnosis FROM kernel_roofline")
    assert rows == [expected]


@pytest.mark.parametrize("header", [{"deviceProperties": [{"id": 0, "name": "Accelerator 9"}]}, {"schemaVersion": 1}])
def test_a_user_names_the_datasheet(tmp_path: Path, warehouse: Path, header: dict[str, Any]) -> None:
    """Of a device with another name, or none; another datasheet is another run's content."""
    trace = kineto.write(tmp_path / "t.json", kineto.matmul_step(), header=header)
    (result,) = analyze(trace, warehouse)
    assert "or name a datasheet with --device" in result.warnings[-1]
    (result,) = analyze(trace, warehouse, device="h200 nvl")
    assert (result.outcome, result.warnings) == ("replaced", ())
    (result,) = analyze(trace, warehouse, device="NVIDIA H200 NVL")
    assert result.outcome == "unchanged"
    assert query(warehouse, "SELECT datasheet, multiprocessors, l2_bytes FROM devices") == [
        ("NVIDIA H200 NVL", 132, 62_914_560)
    ]
    assert query(warehouse, "SELECT value FROM roofs WHERE level = 'link' AND unit = 'device'") == [(4.5e11,)]
    with pytest.raises(AnalyzeError, match="--device mi308x: no such datasheet: expected one of AMD Instinct MI3"):
        analyze(trace, warehouse, device="mi308x")
