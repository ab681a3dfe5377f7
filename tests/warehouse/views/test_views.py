"""The views' SQL for DuckDB and Spark, and positions under the roofs on rows inserted by hand."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from ridgeline.warehouse.views import view_files
from tests.warehouse.rows import insert, kernel

STATEMENTS = [
    (file.name, statement)
    for file in view_files()
    for statement in re.split(r";\s*(?:\n|$)", file.read_text())
    if statement.strip()
]
PUBLIC = {
    "kernel_roofline": "run_id, kernel_id, name, mode, execution, rank, device_index, stream, kernel, family, operator,"
    " shapes, module, phase, kind, step, iteration, start_ns, duration_ns, attribution, confidence, precision,"
    " unit, flops, flops_source, counter_flops, dram_bytes, dram_bytes_source, compulsory_bytes, cache_model_bytes,"
    " counter_dram_bytes, l2_bytes, l1_bytes, link_bytes, intensity, achieved_flops_per_s, achieved_bytes_per_s,"
    " roof_flops_per_s, roof_time_ns, roof_fraction, nearest_roof, bound, diagnosis, grid_blocks,"
    " block_threads, registers, shared_bytes, occupancy",
    "operator_summary": "run_id, operator, family, phase, kernels, duration_ns, share, flops, compulsory_bytes,"
    " dram_bytes, intensity, achieved_flops_per_s, achieved_bytes_per_s, roof_fraction, lost_ns, guessed_ns,"
    " communication_ns",
    "stack_summary": "run_id, source_line, function, kernels, duration_ns, share, lost_ns, guessed_ns,"
    " communication_ns",
    "step_summary": "run_id, phase, kind, step, wall_ns, busy_ns, gap_ns, kernels, flops, dram_bytes, tokens,"
    " compute_ns",
    "step_diagnosis": "run_id, phase, kind, steps, kernels, launches, replayed_share, device_time_ns, busy_ns, wall_ns,"
    " unprofiled_ns, unprofiled_gap_ns, profiler_overhead_ns, step_ns, basis, idle_ns, idle_share, bound, confidence,"
    " diagnosis",
    "deviations": "run_id, level, item, phase, kind, basis, lost_rank, kernels, duration_ns, share, roof_ns, lost_ns,"
    " cumulative_lost_share, nearest_roof, bound, diagnosis, lost_ns_per_step, step_ns, saved_ns, saved_share,"
    " step_bound, step_diagnosis, worth",
    "stream_summary": "run_id, rank, device_index, stream, kernels, start_ns, end_ns, wall_ns, busy_ns, idle_ns,"
    " overlap_ns, shared_ns",
    "device_timeline": "run_id, rank, device_index, kernels, start_ns, end_ns, wall_ns, busy_ns, idle_ns, overlap_ns,"
    " host_late_ns, synchronisation_ns, launch_latency_ns, dependency_ns, replay_ns, unknown_ns",
    "step_timeline": "run_id, rank, device_index, step_id, phase, kind, step, kernels, start_ns, end_ns, wall_ns,"
    " busy_ns, host_late_ns, synchronisation_ns, launch_latency_ns, dependency_ns, replay_ns, unknown_ns, outside_ns",
    "collective_summary": "run_id, collective, message_bytes, ranks, kernels, duration_ns, shortest_ns, longest_ns,"
    " link_bytes, algorithm_bytes_per_s, bus_bytes_per_s",
    "gap_summary": "run_id, rank, device_index, step_id, gaps, idle_ns, host_late_ns, synchronisation_ns,"
    " launch_latency_ns, dependency_ns, replay_ns, unknown_ns, sync_part_ns, host_part_ns, call_part_ns,"
    " queue_part_ns",
    "launch_queue": "run_id, kernel_id, rank, device_index, stream, kernel, category, step_id, phase, kind, step,"
    " correlation, launch_ns, call_ns, start_ns, queue_ns, delay_ns",
    "launch_summary": "run_id, phase, kind, kernels, queue_min_ns, queue_p50_ns, queue_p90_ns, queue_p99_ns,"
    " queue_max_ns, call_p50_ns, call_p99_ns",
    "mode_summary": "run_id, name, mode, execution, model, batch, prompt_tokens, generated_tokens, block, steps,"
    " step_ns, tokens_per_s, ttft_ns, tpot_ns, flops, dram_bytes, intensity, mfu, mbu, busy_share, joules_per_token,"
    " peak_memory_bytes, outcome",
    "predicted_steps": "run_id, name, mode, execution, model, convention, kind, query, context, component, forwards,"
    " profiled_steps, predicted_flops, modelled_flops, predicted_bytes, compulsory_bytes, cache_model_bytes,"
    " counter_dram_bytes, predicted_intensity, intensity, floor_ns, roof_ns, kernels_ns, step_ns, flops_error,"
    " compulsory_error, cache_model_error, counter_error, floor_fraction",
}


@pytest.mark.parametrize(("file", "statement"), STATEMENTS)
def test_every_view_is_sql_that_spark_reads_too(file: str, statement: str) -> None:
    (tree,) = sqlglot.parse(statement, dialect="duckdb")
    assert isinstance(tree, exp.Create)
    (spark,) = sqlglot.transpile(
        statement,
        read="duckdb",
        write="spark",
        unsupported_level=sqlglot.ErrorLevel.RAISE,
        error_level=sqlglot.ErrorLevel.RAISE,
    )
    # what Spark is given must be SQL again, and no function may be one sqlglot does not know
    (parsed,) = sqlglot.parse(spark, dialect="spark")
    assert isinstance(parsed, exp.Create)
    assert [node.name for node in parsed.find_all(exp.Anonymous)] == [], file


@pytest.mark.parametrize(("view", "columns"), PUBLIC.items())
def test_public_views_have_their_documented_columns(
    connection: duckdb.DuckDBPyConnection, view: str, columns: str
) -> None:
    found = connection.execute(f"SELECT * FROM {view}").description or []
    assert [column[0] for column in found] == columns.split(", ")


@pytest.mark.parametrize(
    ("duration_ns", "values", "expected"),
    [
        # 1e9 FLOPs take 10 us at the peak, 1e6 bytes 1 us
        (20_000, {"flops": 1e9, "bytes": 1e6}, (1000.0, 10_000.0, 0.5, "compute", "compute", None)),
        (20_000, {"flops": 1e6, "bytes": 1e7}, (0.1, 10_000.0, 0.5, "dram", "dram", None)),
        (50_000, {"flops": 1e6, "bytes": 1e7}, (0.1, 10_000.0, 0.2, "dram", "none", "far from its roof")),
        (2_000, {"flops": 1e3, "bytes": 1e3}, (1.0, 1.0, 0.0005, "dram", "latency",
            "too short for any roof to matter: under 4.0 µs, four times the shortest launch")),
        (20_000, {"flops": 0.0, "bytes": 1e7}, (0.0, 10_000.0, 0.5, "dram", "dram", None)),
        (5_000, {"flops": None, "bytes": 1e7}, (None, 10_000.0, 2.0, "dram", "dram",
            "above the DRAM roof: part came from a cache of unknown size, or it moved less than its price says")),
        (20_000, {"flops": None, "bytes": None}, (None, None, None, "none", "none",
            "its operator recorded no operands")),
        (20_000, {"flops": 1e9, "bytes": 1e6, "precision": "fp4"}, (1000.0, 1000.0, 0.05, "dram", "none",
            "far from its bandwidth; its compute roof is unknown")),
    ],
)  # fmt: skip
def test_place_under_the_roofs(
    run: duckdb.DuckDBPyConnection, duration_ns: int, values: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    kernel(run, 1, duration_ns, **values)
    (row,) = run.execute(
        "SELECT intensity, roof_time_ns, roof_fraction, nearest_roof, bound, diagnosis FROM kernel_roofline"
    ).fetchall()
    assert row == pytest.approx(expected)


def test_measured_wins_over_the_datasheet_and_the_read_rate_over_the_copys(run: duckdb.DuckDBPyConnection) -> None:
    rows = run.execute(
        "SELECT level, unit, precision, value, source FROM roofs"
        " WHERE level = 'dram' OR (unit = 'tensor' AND precision IN ('bf16', 'fp16')) ORDER BY ALL"
    ).fetchall()
    assert rows == [
        ("dram", None, None, 1e12, "measured"),
        (None, "tensor", "bf16", 1e14, "measured"),
        (None, "tensor", "fp16", 989.4e12, "datasheet"),
    ]


def test_counters_are_preferred_to_the_model(run: duckdb.DuckDBPyConnection) -> None:
    kernel(run, 1, 20_000, flops=1e6, bytes=1e7)
    counters = {"dram__bytes_read.sum": 3e6, "dram__bytes_write.sum": 1e6, "lts__t_bytes.sum": 2e7}
    for metric, value in counters.items():
        insert(run, "counters", run_id="r", kernel_id=1, metric=metric, value=value, source="ncu")
    (row,) = run.execute(
        "SELECT dram_bytes, dram_bytes_source, compulsory_bytes, counter_dram_bytes, l2_bytes, intensity"
        " FROM kernel_roofline"
    ).fetchall()
    assert row == (4e6, "counter", 1e7, 4e6, 2e7, 0.25)
    (errors,) = run.execute("SELECT compulsory_error FROM byte_sources").fetchall()
    assert errors == (1.5,)


def test_time_is_lost_only_where_there_is_a_roof(run: duckdb.DuckDBPyConnection) -> None:
    kernel(run, 1, 20_000, flops=None, bytes=1e7)
    assert run.execute("SELECT lost_ns FROM operator_summary").fetchall() == [(10_000.0,)]
    run.execute("DELETE FROM ceilings")
    assert run.execute("SELECT lost_ns FROM operator_summary").fetchall() == [(None,)]


def test_a_step_that_is_mostly_unpriced_has_no_sum(run: duckdb.DuckDBPyConnection) -> None:
    insert(run, "steps", run_id="r", rank=0, step_id=1, phase="decode", step=1, host_start_ns=0, host_duration_ns=9)
    kernel(run, 1, 90, flops=10.0, bytes=20.0, step_id=1)
    kernel(run, 2, 10, step_id=1)
    assert run.execute("SELECT kernels, flops, dram_bytes FROM step_summary").fetchall() == [(2, 10.0, 20.0)]
    kernel(run, 3, 10, step_id=1)
    assert run.execute("SELECT kernels, flops, dram_bytes FROM step_summary").fetchall() == [(3, None, None)]


STEP = {"rank": 0, "step_id": 1, "phase": "decode", "step": 1, "host_start_ns": 0, "host_duration_ns": 9}


@pytest.mark.parametrize(
    ("values", "flops"),
    [
        # three quarters of the step's time, beside a product of 1e9 FLOPs
        ({"family": "attention", "bytes": 20.0}, None),
        ({"family": "other", "bytes": 20.0}, None),
        ({"family": "copy"}, 1e9),
        ({"family": "gather"}, 1e9),
        ({"family": "communication"}, 1e9),
        ({"category": "memcpy", "trace_bytes": 20}, 1e9),
        # a fused kernel computes at most 8 FLOPs a byte: a tenth of the product's, and more
        ({"family": "fused", "bytes": 1.25e7}, 1e9),
        ({"family": "fused", "bytes": 1.26e7}, None),
        ({"family": "fused"}, None),
    ],
)
def test_flops_of_a_step_are_unknown_where_a_relevant_part_is(
    run: duckdb.DuckDBPyConnection, values: dict[str, Any], flops: float | None
) -> None:
    insert(run, "steps", run_id="r", **STEP)
    kernel(run, 1, 25_000, flops=1e9, bytes=20.0, step_id=1)
    kernel(run, 2, 75_000, step_id=1, **values)
    expected = [(flops, flops and pytest.approx(10_000))]  # at 100 TFLOP/s
    assert run.execute("SELECT flops, compute_ns FROM step_summary").fetchall() == expected


def test_utilization_divides_each_flop_by_the_peak_of_its_own_precision(run: duckdb.DuckDBPyConnection) -> None:
    """1e9 FLOPs take 10 us in bf16 (measured) and 1 ns times 1e9 / 1978.9e3 in fp8 (datasheet)."""
    insert(run, "steps", run_id="r", start_ns=0, end_ns=100_000, busy_ns=90_000, **STEP)
    insert(run, "timings", run_id="r", metric="step", phase="decode", step=1, value_ns=50_000)
    kernel(run, 1, 20_000, flops=1e9, bytes=20.0, step_id=1)
    kernel(run, 2, 20_000, flops=1e9, bytes=20.0, step_id=1, precision="fp8")
    (row,) = run.execute("SELECT flops, mfu, mbu, busy_share FROM mode_summary").fetchall()
    assert row == (2e9, pytest.approx((10_000 + 1e9 / 1978.9e3) / 50_000), pytest.approx(0.04 / 50_000), 1)
    # half of it where a second device did as little as nothing
    kernel(run, 4, 1, flops=0.0, bytes=0.0, step_id=1, device_index=1)
    (row,) = run.execute("SELECT mfu, mbu FROM mode_summary").fetchall()
    assert row == (pytest.approx((10_000 + 1e9 / 1978.9e3) / 100_000), pytest.approx(0.04 / 100_000))
    # FLOPs of a precision without a peak are half of them
    kernel(run, 3, 20_000, flops=2e9, bytes=20.0, step_id=1, precision="fp4")
    assert run.execute("SELECT flops, mfu FROM mode_summary").fetchall() == [(4e9, None)]


@pytest.mark.parametrize(
    ("steps", "traced_tokens", "tpot_ns"),
    [
        (None, None, 31_000 / 31),  # autoregressive: the first step commits a token
        (4, None, 31_000 / 24),
        (3, None, 31_000 / 21),  # 11, 11 and 10 tokens
        (4, 2, 31_000 / 30),
        (1, None, None),
    ],
)
def test_time_per_token_is_that_of_the_tokens_after_the_first_step(
    run: duckdb.DuckDBPyConnection, steps: int | None, traced_tokens: int | None, tpot_ns: float | None
) -> None:
    run.execute("UPDATE runs SET generated_tokens = 32, steps = ?", [steps])
    insert(run, "timings", run_id="r", metric="end_to_end", repeat=0, value_ns=40_000)
    insert(run, "timings", run_id="r", metric="ttft", repeat=0, value_ns=9_000)
    if traced_tokens:
        insert(run, "steps", run_id="r", tokens=traced_tokens, **STEP | {"step": 0})
    assert run.execute("SELECT tpot_ns FROM mode_summary").fetchall() == [(tpot_ns and pytest.approx(tpot_ns),)]


@pytest.mark.parametrize(
    ("traced", "tpot_ns"),
    [
        ([], None),
        ([(0, 0), (1, 8), (2, 4)], 31_000 / 24),  # the first step caches the prompt and commits none
        ([(1, 8), (2, 4)], None),  # the trace does not begin with the generation
    ],
)
def test_nothing_is_assumed_of_the_first_step_of_another_programs_mode(
    run: duckdb.DuckDBPyConnection, traced: list[tuple[int, int]], tpot_ns: float | None
) -> None:
    """64 tokens of a batch of 2: 32 for each sequence."""
    run.execute("UPDATE runs SET mode = 'my_dual', committed_tokens = 64, batch = 2")
    insert(run, "timings", run_id="r", metric="end_to_end", repeat=0, value_ns=40_000)
    insert(run, "timings", run_id="r", metric="ttft", repeat=0, value_ns=9_000)
    for step, tokens in traced:
        insert(run, "steps", run_id="r", tokens=tokens, **STEP | {"step": step, "step_id": step, "phase": "look"})
    assert run.execute("SELECT tpot_ns FROM mode_summary").fetchall() == [(tpot_ns and pytest.approx(tpot_ns),)]


def test_two_rows_of_the_same_peak_do_not_double_a_kernel(run: duckdb.DuckDBPyConnection) -> None:
    kernel(run, 1, 20_000, flops=1e9, bytes=1e6)
    for level in ("l1", "l2"):
        insert(
            run,
            "ceilings",
            run_id="r",
            device="D",
            source="measured",
            resource="compute",
            level=level,
            unit="tensor",
            precision="bf16",
            value=5e13,
            unit_of_value="FLOP/s",
        )
    assert run.execute("SELECT kernel_id, roof_flops_per_s FROM kernel_roofline").fetchall() == [(1, 1e14)]


def test_low_confidence_loses_no_time(run: duckdb.DuckDBPyConnection) -> None:
    kernel(run, 1, 20_000, flops=1e6, bytes=1e7)
    run.execute("UPDATE signatures SET confidence = 'low'")
    columns = "lost_ns, roof_fraction, guessed_ns, communication_ns"
    assert run.execute(f"SELECT {columns} FROM operator_summary").fetchall() == [(None, None, 20_000, 0)]


def test_communication_loses_no_time(run: duckdb.DuckDBPyConnection) -> None:
    kernel(run, 1, 20_000, flops=1e6, bytes=1e7, family="communication")
    columns = "lost_ns, guessed_ns, communication_ns"
    assert run.execute(f"SELECT {columns} FROM operator_summary").fetchall() == [(None, 0, 20_000)]
    assert run.execute(f"SELECT {columns} FROM stack_summary").fetchall() == [(None, 0, 20_000)]
    assert run.execute("SELECT basis, lost_ns FROM deviations WHERE level = 'family'").fetchall() == [
        ("communication", None)
    ]


@pytest.mark.parametrize(
    ("duration_ns", "values", "expected"),
    [
        # 1e7 bytes take 10 us at 1 TB/s, 1e9 FLOPs 10 us at the measured 100 TFLOP/s; the datasheet has 989.4
        (9_600, {"bytes": 1e7}, "high"),
        (9_500, {"bytes": 1e7}, "low"),
        (9_500, {"trace_bytes": 10_000_000, "signature_id": None}, "low"),
        (1_100, {"flops": 1e9}, "high"),
        (1_000, {"flops": 1e9}, "low"),
        (600, {"flops": 1e9, "operator": "aten::_sparse_semi_structured_mm"}, "high"),
        (500, {"flops": 1e9, "operator": "aten::_sparse_semi_structured_mm"}, "low"),
    ],
)
def test_a_price_above_the_roof_loses_its_confidence(
    run: duckdb.DuckDBPyConnection, duration_ns: int, values: dict[str, Any], expected: str
) -> None:
    kernel(run, 1, duration_ns, **values)
    assert run.execute("SELECT confidence FROM kernel_roofline").fetchall() == [(expected,)]


def test_fp32_in_three_products_has_a_third_of_the_peak_of_tf32(run: duckdb.DuckDBPyConnection) -> None:
    kernel(run, 1, 9_000, flops=1e9, precision="3xtf32")
    query = "SELECT roof_flops_per_s, roof_fraction FROM kernel_roofline"
    assert run.execute(query).fetchall() == [(494.7e12 / 3, pytest.approx(1e9 / (494.7e12 / 3) / 9e-6))]


def test_a_foreign_trace_has_no_unprofiled_step(run: duckdb.DuckDBPyConnection) -> None:
    insert(
        run,
        "steps",
        run_id="r",
        rank=0,
        step_id=1,
        phase="decode",
        step=1,
        host_start_ns=0,
        host_duration_ns=9,
        start_ns=0,
        end_ns=100,
        busy_ns=50,
    )
    kernel(run, 1, 50, flops=10.0, bytes=20.0, step_id=1)
    query = "SELECT step_ns, flops, dram_bytes, mfu, mbu, busy_share FROM mode_summary"
    assert run.execute(query).fetchall() == [(None, 10.0, 20.0, None, None, None)]
    insert(run, "timings", run_id="r", metric="step", phase="decode", step=1, value_ns=80)
    assert run.execute("SELECT step_ns, busy_share FROM mode_summary").fetchall() == [(80.0, 0.625)]


def test_bytes_are_of_the_best_source_that_a_kernel_has(run: duckdb.DuckDBPyConnection) -> None:
    """Best source first: counter, trace, cache_model, compulsory."""
    modelled = {"cache_read_bytes": 30, "cache_write_bytes": 5}
    kernel(run, 1, 1000, bytes=40, trace_bytes=20, **modelled)
    insert(run, "counters", run_id="r", kernel_id=1, metric="dram__bytes.sum", value=10.0, source="cupti")
    kernel(run, 2, 1000, bytes=40, trace_bytes=20, **modelled)
    kernel(run, 3, 1000, bytes=40, **modelled)
    kernel(run, 4, 1000, bytes=40)
    kernel(run, 5, 1000)
    found = run.execute("SELECT dram_bytes, dram_bytes_source FROM kernel_roofline ORDER BY kernel_id").fetchall()
    assert found == [(10, "counter"), (20, "trace"), (35, "cache_model"), (40, "compulsory"), (None, "none")]


def test_a_model_that_needs_more_time_than_the_kernel_took_is_not_shown(run: duckdb.DuckDBPyConnection) -> None:
    """At 1 TB/s 10 us move 10 MB: 10.5 MB are possible, a byte more is not, unless the operands alone are more."""
    for kernel_id, operands in enumerate((5e6, 5e6, 2e7)):
        modelled = 10_500_000 + (kernel_id > 0)
        kernel(run, kernel_id, 10_000, bytes=operands, cache_read_bytes=modelled, cache_write_bytes=0)
    found = run.execute(
        "SELECT dram_bytes, dram_bytes_source, cache_model_bytes FROM kernel_roofline ORDER BY kernel_id"
    ).fetchall()
    assert found == [
        (10_500_000, "cache_model", 10_500_000),
        (5e6, "compulsory", 10_500_001),
        (10_500_001, "cache_model", 10_500_001),
    ]


@pytest.mark.parametrize(
    ("module", "all_layers"),
    [
        ("model.layers.3.mlp", "model.layers.*.mlp"),
        ("model.layers.12", "model.layers.*"),
        ("blocks.0.1.conv_2", "blocks.*.*.conv_2"),  # a label: the number is part of a name
        ("Llama_0.DecoderLayer_31.Linear_221", "Llama_*.DecoderLayer_*.Linear_*"),
        ("Conv_2d_1.Conv_2d_2", "Conv_2d_*.Conv_2d_*"),
        ("Llama_0", "Llama_*"),
        ("Llama", "Llama"),
    ],
)
def test_layers_of_a_model_share_a_name(run: duckdb.DuckDBPyConnection, module: str, all_layers: str) -> None:
    kernel(run, 1, 20_000, module=module)
    kernel(run, 2, 20_000, module=module)
    kernel(run, 3, 20_000)
    assert run.execute("SELECT module, all_layers FROM module_layers").fetchall() == [(module, all_layers)]


def test_time_by_line_is_that_of_all_kernels(run: duckdb.DuckDBPyConnection) -> None:
    """Two stacks of one line; a kernel beyond its roof, one above it, one by a guess, one without a stack."""
    lines = ("a.py:1", "a.py:1", "b.py:2")
    for stack_id, line in enumerate(lines):
        insert(run, "stacks", run_id="r", stack_id=stack_id, stack=f"s{stack_id}", source_line=line, function="f")
    kernel(run, 1, 20_000, bytes=1e7, stack_id=0)
    kernel(run, 2, 5_000, bytes=1e7, stack_id=1)
    kernel(run, 3, 50_000, bytes=1e7, stack_id=2, confidence="low")
    kernel(run, 4, 25_000, bytes=1e7)
    assert run.execute("SELECT * EXCLUDE run_id FROM stack_summary ORDER BY ALL").fetchall() == [
        # the kernel above its roof has no certain price
        ("a.py:1", "f", 2, 25_000, 0.25, 10_000.0, 5_000, 0),
        ("b.py:2", "f", 1, 50_000, 0.5, None, 50_000, 0),
        (None, None, 1, 25_000, 0.25, 15_000.0, 0, 0),
    ]
