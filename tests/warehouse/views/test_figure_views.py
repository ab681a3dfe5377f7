"""Exact values of the study's figures, on rows inserted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline.warehouse import connect
from tests.warehouse.rows import insert, kernel

Row = tuple[Any, ...]


def select(connection: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    return connection.execute(query).fetchall()


def add_run(connection: duckdb.DuckDBPyConnection, run_id: str, name: str, **values: Any) -> None:
    settings = {
        "model": "m",
        "mode": "dlm_block_dual",
        "execution": "eager",
        "dtype": "bf16",
        "batch": 1,
        "prompt_tokens": 8,
        "generated_tokens": 4,
        "block": 2,
        "steps": 4,
        "committed_tokens": 4,
        "device": "D",
        "device_kind": "cuda",
        "outcome": "ok",
    }
    insert(
        connection,
        "runs",
        run_id=run_id,
        name=name,
        content_sha256="",
        source="ridgeline",
        rank=0,
        device_time_ns=0,
        rules_version=1,
        **(settings | values),
    )


def time(
    connection: duckdb.DuckDBPyConnection, run_id: str, repeat: int, whole_ns: int, *steps: tuple[str, int]
) -> None:
    """Insert the timings of a generation: its latency and its steps."""
    insert(connection, "timings", run_id=run_id, metric="end_to_end", repeat=repeat, value_ns=whole_ns)
    for step, (kind, value_ns) in enumerate(steps):
        insert(
            connection,
            "timings",
            run_id=run_id,
            metric="step",
            phase="denoise",
            kind=kind,
            step=step,
            repeat=repeat,
            value_ns=value_ns,
        )


def predict(connection: duckdb.DuckDBPyConnection, run_id: str, kind: str, forwards: int | None, **values: Any) -> None:
    row = {"query": 2, "context": 12.0, "convention": "corrected", "flops": 100.0, "bytes": 10.0, "time_ns": 10}
    insert(
        connection,
        "predictions",
        run_id=run_id,
        model="m",
        mode="x",
        kind=kind,
        forwards=forwards,
        component="all",
        **(row | values),
    )


def trace(connection: duckdb.DuckDBPyConnection, step_id: int, kind: str, busy_ns: int) -> None:
    insert(
        connection,
        "steps",
        run_id="r",
        rank=0,
        step_id=step_id,
        phase="denoise",
        kind=kind,
        step=step_id,
        host_start_ns=0,
        host_duration_ns=1,
        start_ns=0,
        end_ns=2 * busy_ns,
        busy_ns=busy_ns,
    )


@pytest.fixture
def block(run: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A block-wise generation: one refresh and three steps of reuse, three times over; a step of each kind traced.

    A reuse takes 40 us of kernels, of which 10 us choose tokens; a refresh 100 us.
    """
    run.execute("DELETE FROM runs")
    add_run(run, "r", "m_dlm_block_dual_p8_g4_b1_block2_k4_bf16_eager")
    for repeat, (extra, outside) in enumerate([(0, 1000), (6000, 2000), (30_000, 3000)]):
        reuses = [("reuse", 50_000 + extra), ("reuse", 52_000), ("reuse", 54_000)]
        whole = 120_000 + sum(ns for _, ns in reuses) + outside
        time(run, "r", repeat, whole, ("refresh", 120_000), *reuses)
    predict(run, "r", "refresh", 1, time_ns=60_000)
    predict(run, "r", "reuse", 3, time_ns=20_000)
    trace(run, 0, "refresh", 100_000)
    trace(run, 1, "reuse", 40_000)
    # 1 TB/s and 100 TFLOP/s: 30e6 bytes take 30 us
    kernel(run, 0, 100_000, step_id=0, flops=1e9, bytes=70_000_000)
    kernel(run, 1, 30_000, step_id=1, flops=1e9, bytes=24_000_000)
    kernel(run, 2, 10_000, step_id=1, flops=None, module="sampling", family="reduction")
    return run


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("m_dlm_block_dual_p8_g4_b1_block2_k4_bf16_eager", ""),
        ("m_dlm_block_dual_p8_g4_b1_block2_k4_faithful_layers8_bf16_eager_seed3", "faithful_layers8_seed3"),
        ("m_dlm_block_dual_p8_g4_b1_block2_k4_p80_bf16_eager", "p80"),
        ("my own name_p8_", ""),
    ],
)
def test_options_are_what_a_name_says_beyond_the_settings(
    connection: duckdb.DuckDBPyConnection, name: str, options: str
) -> None:
    add_run(connection, "r", name)
    assert select(connection, "SELECT options FROM generations") == [(options,)]


def test_runs_without_settings_are_no_part_of_the_study(run: duckdb.DuckDBPyConnection) -> None:
    assert select(run, "SELECT * FROM generations") == []


def test_latency_is_the_median_with_minimum_and_maximum(block: duckdb.DuckDBPyConnection) -> None:
    assert select(block, "SELECT latency_ns, low_ns, high_ns, repeats FROM figure_e2_latency") == [
        (284_000.0, 277_000, 309_000, 3)
    ]
    ((rate, low, high),) = select(block, "SELECT tokens_per_s, low_tokens_per_s, high_tokens_per_s FROM generations")
    assert (rate, low, high) == (
        pytest.approx(4e9 / 284_000),
        pytest.approx(4e9 / 309_000),
        pytest.approx(4e9 / 277_000),
    )


def test_the_naive_mode_is_projected_to_one_token_a_step_unless_that_was_measured(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    settings = {"mode": "dlm_full", "model": "m"}
    add_run(
        connection, "few", "m_dlm_full_p8_g8_b1_block8_k2_bf16_eager", generated_tokens=8, block=8, steps=2, **settings
    )
    add_run(connection, "all", "m_dlm_full_p8_g4_b1_block4_k4_bf16_eager", block=4, steps=4, **settings)
    add_run(connection, "less", "m_dlm_full_p8_g4_b1_block4_k1_bf16_eager", block=4, steps=1, **settings)
    add_run(connection, "block", "m_dlm_block_dual_p8_g8_b1_block4_k2_bf16_eager", generated_tokens=8, block=4, steps=2)
    for run_id in ("few", "all", "less", "block"):
        time(connection, run_id, 0, 10)
        time(connection, run_id, 1, 12)
    query = "SELECT run_id, block, tokens_per_step, latency_ns, low_ns, high_ns, projected_from FROM figure_e2_latency"
    assert select(connection, f"{query} ORDER BY run_id") == [
        ("all", None, 1.0, 11.0, 10, 12, None),
        ("block", 4, 4.0, 11.0, 10, 12, None),
        ("few", None, 1.0, 44.0, 40, 48, 2),
        ("less", None, 4.0, 11.0, 10, 12, None),
    ]


def test_throttled_share_counts_samples_with_a_reason(connection: duckdb.DuckDBPyConnection) -> None:
    """NVML's reasons are bits; the first is idleness, which does not count."""
    for run_id, reasons in (("capped", ("0", "1", "4", "5")), ("free", ("0", "1")), ("unknown", (None,))):
        add_run(connection, run_id, run_id)
        for time_ns, reason in enumerate(reasons):
            insert(connection, "telemetry", run_id=run_id, time_ns=time_ns, throttle_reasons=reason)
    add_run(connection, "untold", "untold")
    assert select(connection, "SELECT run_id, throttled_share FROM generations ORDER BY run_id") == [
        ("capped", 0.5),
        ("free", 0.0),
        ("unknown", 0.0),
        ("untold", None),
    ]


def test_of_an_even_number_of_repeats_the_lower_median_is_split(connection: duckdb.DuckDBPyConnection) -> None:
    add_run(connection, "r", "x")
    for repeat, whole in enumerate((40, 10, 30, 20)):
        time(connection, "r", repeat, whole)
    assert select(connection, "SELECT latency_ns, median_repeat, median_repeat_ns FROM generations") == [(25.0, 3, 20)]


def test_the_parts_of_a_latency_sum_to_it(block: duckdb.DuckDBPyConnection) -> None:
    """The second repeat: 120 us of refresh, 162 of reuse, 2 outside steps; kernels are busy for 100 and 3 × 40 us."""
    parts = select(block, "SELECT part, value_ns, basis FROM figure_e2_split ORDER BY part")
    assert parts == [
        ("host", 64_000.0, "difference"),
        ("refresh", 100_000.0, "kernels"),
        ("reuse", 90_000.0, "kernels"),
        ("sampling", 30_000.0, "kernels"),
    ]
    ((whole,),) = select(block, "SELECT DISTINCT latency_ns FROM figure_e2_split")
    assert sum(part[1] for part in parts) == whole == 284_000
    assert select(block, "SELECT SUM(share) FROM figure_e2_split") == [(pytest.approx(1.0),)]


def test_kernels_take_no_longer_than_their_step(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("UPDATE steps SET busy_ns = 130000 WHERE kind = 'refresh'")
    assert select(block, "SELECT value_ns FROM figure_e2_split WHERE part IN ('refresh', 'host') ORDER BY part") == [
        (44_000.0,),
        (120_000.0,),
    ]


def test_a_kind_never_traced_is_one_part(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("DELETE FROM steps WHERE kind = 'refresh'")
    query = "SELECT part, value_ns, basis FROM figure_e2_split WHERE part IN ('refresh', 'host') ORDER BY part"
    assert select(block, query) == [("host", 44_000.0, "difference"), ("refresh", 120_000.0, "not traced")]
    assert select(block, "SELECT * FROM figure_gap") == []


def test_without_a_label_there_is_no_sampling(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("UPDATE kernel_classes SET module = NULL")
    assert select(block, "SELECT part FROM figure_e2_split ORDER BY part") == [("host",), ("refresh",), ("reuse",)]


def test_on_a_cpu_the_busy_share_counts(block: duckdb.DuckDBPyConnection) -> None:
    """The device is busy for half of the traced step, so for half of the unprofiled one too."""
    block.execute("UPDATE runs SET device_kind = 'cpu'")
    query = "SELECT kind, busy_ns, step_ns FROM generation_steps ORDER BY kind"
    assert select(block, query) == [("refresh", 60_000.0, 120_000.0), ("reuse", 27_000.0, 54_000.0)]
    assert select(block, "SELECT * FROM figure_gap") == []


def test_a_waterfall_ends_at_the_measured_step(block: duckdb.DuckDBPyConnection) -> None:
    """Four steps, each 20 us at best and the refresh 40 more; at the roofs kernels take 70 and 3 × 24 us."""
    bars = select(block, "SELECT stage, item, value_ns, start_ns, end_ns FROM figure_gap ORDER BY place")
    assert bars == [
        (1, "reuse", 20_000.0, 0.0, 20_000.0),
        (2, "refresh", 10_000.0, 20_000.0, 30_000.0),
        (3, "beyond the closed form", 5_500.0, 30_000.0, 35_500.0),
        (4, "matmul", 12_000.0, 35_500.0, 47_500.0),
        (5, "reduction", 7_500.0, 47_500.0, 55_000.0),
        (6, "gaps and host", 16_000.0, 55_000.0, 71_000.0),
    ]
    assert select(block, "SELECT DISTINCT measured_ns, steps FROM figure_gap") == [(71_000.0, 4)]


def test_there_is_no_waterfall_without_a_least_time(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("UPDATE predictions SET time_ns = NULL WHERE kind = 'refresh'")
    assert select(block, "SELECT * FROM figure_gap") == []


def add_naive(connection: duckdb.DuckDBPyConnection, run_id: str, experiment: str | None, step_ns: int) -> None:
    add_run(
        connection, run_id, f"m_dlm_full_p8_g4_b1_block2_k4_bf16_eager {run_id}", mode="dlm_full", experiment=experiment
    )
    connection.execute("UPDATE runs SET name = REPLACE(name, ' ' || run_id, '')")
    time(connection, run_id, 0, 4 * step_ns, *[("denoise", step_ns)] * 4)
    predict(connection, run_id, "denoise", 4, time_ns=60_000)
    step = {"phase": "denoise", "kind": "denoise", "step": 0, "start_ns": 0, "end_ns": 200_000, "busy_ns": 100_000}
    insert(connection, "steps", run_id=run_id, rank=0, step_id=0, host_start_ns=0, host_duration_ns=1, **step)
    facts = {"class_id": 0, "rank": 0, "device_index": 0, "start_ns": 0, "duration_ns": 100_000, "share": 1.0}
    insert(connection, "kernels", run_id=run_id, kernel_id=0, step_id=0, **facts)
    described = {"kernel": "k", "category": "kernel", "family": "matmul", "unit": "tensor", "precision": "bf16"}
    insert(
        connection,
        "kernel_classes",
        run_id=run_id,
        class_id=0,
        signature_id="s0",
        attribution="external_id",
        **described,
    )
    connection.execute(f"INSERT INTO ceilings SELECT '{run_id}', * EXCLUDE (run_id) FROM ceilings WHERE run_id = 'r'")


def test_the_speedup_has_a_row_per_stage(block: duckdb.DuckDBPyConnection) -> None:
    """Each of the naive run's four steps: 60 us at best, 70 at the roofs, 100 as it ran, 150 measured."""
    add_naive(block, "n", None, 150_000)
    query = "SELECT stage, naive_ns, total_ns, speedup FROM figure_speedup ORDER BY stage"
    assert select(block, query) == [
        (1, 240_000.0, 80_000.0, 3.0),
        (2, 240_000.0, 120_000.0, 2.0),
        (3, 280_000.0, 142_000.0, pytest.approx(280 / 142)),
        (4, 400_000.0, 220_000.0, pytest.approx(400 / 220)),
        (5, 600_000.0, 284_000.0, pytest.approx(600 / 284)),
    ]


def test_a_naive_run_of_the_same_experiment_is_preferred(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("UPDATE runs SET experiment = 'e'")
    add_naive(block, "a", "other", 100_000)
    add_naive(block, "z", "e", 150_000)
    assert select(block, "SELECT DISTINCT naive_run_id FROM figure_speedup") == [("z",)]
    block.execute("UPDATE runs SET batch = 2 WHERE run_id = 'z'")
    assert select(block, "SELECT DISTINCT naive_run_id FROM figure_speedup") == [("a",)]


def test_costs_of_a_kind_of_step(block: duckdb.DuckDBPyConnection) -> None:
    """Closed forms cover all steps of the kind; the time is the median over repeats of each repeat's median."""
    block.execute("DELETE FROM predictions")
    predict(block, "r", "reuse", 2, flops=100.0, bytes=10.0, context=12.0)
    predict(block, "r", "reuse", 1, flops=400.0, bytes=30.0, context=15.0)
    predict(block, "r", "reuse", 1, flops=500.0, bytes=10.0, convention="as_authored")
    insert(block, "ledger", run_id="r", account="price", entry="counter", kernels=1, duration_ns=2)
    insert(block, "ledger", run_id="r", account="price", entry="none", kernels=1, duration_ns=1)
    query = (
        "SELECT length, predicted_intensity, authored_intensity, bytes_source, step_ns, low_ns, high_ns, steps"
        " FROM step_costs WHERE kind = 'reuse'"
    )
    assert select(block, query) == [(13.0, 600 / 50, 50.0, None, 54_000.0, 52_000.0, 54_000.0, 3.0)]
    query = "SELECT flops, dram_bytes, intensity, achieved_flops_per_s, bytes_source FROM figure_e4_roofline"
    assert select(block, query) == [
        (1e9, 70_000_000.0, pytest.approx(1 / 0.07), pytest.approx(1e9 / 120_000 * 1e9), "counter")
    ]


def test_a_step_of_unknown_forwards_has_a_closed_form_all_the_same(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("DELETE FROM predictions")
    predict(block, "r", "reuse", None, flops=100.0, bytes=10.0)
    query = "SELECT predicted_intensity, length FROM figure_e3_intensity WHERE kind = 'reuse'"
    assert select(block, query) == [(10.0, 12.0)]
    assert select(block, "SELECT predicted_intensity FROM figure_e8_batch WHERE kind = 'reuse'") == [(10.0,)]


def test_lengths_fall_back_on_the_settings(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("DELETE FROM predictions")
    assert select(block, "SELECT kind, length FROM figure_e9_lengths ORDER BY kind") == [
        ("refresh", 12.0),
        ("reuse", 12.0),
    ]


def test_the_boundary_of_memory_is_in_the_throughput(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("UPDATE devices SET memory_bytes = 80")
    block.execute("UPDATE runs SET weights_bytes = 1, cache_bytes = 2, other_bytes = 3, peak_memory_bytes = 6")
    add_run(block, "o", "big", batch=64, outcome="oom", message="wanted 90 B of 80 B")
    add_run(block, "e", "broken", batch=32, outcome="error", message="no")
    query = (
        "SELECT batch, outcome, weights_bytes, cache_bytes, other_bytes, peak_memory_bytes, capacity_bytes, message,"
        " ROUND(tokens_per_s) FROM figure_e6_throughput ORDER BY batch"
    )
    assert select(block, query) == [
        (1, "ok", 1, 2, 3, 6, 80, None, 14085.0),
        (64, "oom", None, None, None, None, 80, "wanted 90 B of 80 B", None),
    ]


def test_blocks_and_steps(block: duckdb.DuckDBPyConnection) -> None:
    add_run(block, "a", "m_ar", mode="ar", block=None, steps=None)
    time(block, "a", 0, 100)
    add_run(block, "f", "m_full", mode="dlm_full")
    time(block, "f", 0, 100)
    query = "SELECT run_id, block, tokens_per_step, reuse_ns FROM figure_e5_block_size"
    assert select(block, query) == [("r", 2, 1.0, 54_000.0)]
    query = "SELECT run_id, steps, latency_ns FROM figure_e7_steps ORDER BY run_id"
    assert select(block, query) == [("a", None, 100.0), ("f", 4, 100.0), ("r", 4, 284_000.0)]


def test_energy_needs_a_second_of_telemetry(block: duckdb.DuckDBPyConnection) -> None:
    """600 J in 2 s are 300 W; times 284 us, over 4 tokens."""
    for time_ns, energy_j in ((0, 1000.0), (2_000_000_000, 1600.0)):
        insert(block, "telemetry", run_id="r", time_ns=time_ns, energy_j=energy_j)
    query = "SELECT joules_per_token, mean_power_w, telemetry_s FROM figure_energy"
    assert select(block, query) == [(pytest.approx(300 * 284e-6 / 4), 300.0, 2.0)]
    block.execute("UPDATE telemetry SET time_ns = time_ns / 4")
    assert select(block, query) == []


def test_closed_forms_are_compared_with_traces(block: duckdb.DuckDBPyConnection) -> None:
    block.execute("UPDATE steps SET query = 2, context = 12")
    columns = "kind, component, predicted_intensity, intensity"
    query = f"SELECT {columns} FROM figure_e1_costs WHERE component = 'all' ORDER BY kind"
    assert select(block, query) == [("refresh", "all", 10.0, pytest.approx(1 / 0.07)), ("reuse", "all", 10.0, None)]


@pytest.mark.parametrize("read_only", [True, False])
def test_an_earlier_warehouse_gets_new_views(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "w.duckdb"
    connection = connect(path)
    add_run(connection, "r", "x")
    for view in ("figure_speedup", "figure_gap", "generations"):
        connection.execute(f"DROP VIEW {view}")
    connection.close()
    connection = connect(path, read_only=read_only)
    assert select(connection, "SELECT run_id FROM generations") == [("r",)]
    assert select(connection, "SELECT * FROM figure_speedup") == []
    connection.close()
