"""Bounds of steps, cost of deviations from the roof, diagnoses above the roof: on rows inserted by hand."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tests.warehouse.rows import insert, kernel

Connection = duckdb.DuckDBPyConnection


def step(run: Connection, step_id: int, wall_ns: int, busy_ns: int, kind: str = "decode") -> None:
    insert(
        run,
        "steps",
        run_id="r",
        rank=0,
        step_id=step_id,
        phase="p",
        kind=kind,
        step=step_id,
        host_start_ns=0,
        host_duration_ns=9,
        start_ns=0,
        end_ns=wall_ns,
        busy_ns=busy_ns,
    )


def unprofiled(run: Connection, *values_ns: int, kind: str = "decode") -> None:
    for i, value_ns in enumerate(values_ns):
        insert(run, "timings", run_id="r", metric="step", phase="p", kind=kind, repeat=i, value_ns=value_ns)


@pytest.mark.parametrize(
    ("busy_ns", "unprofiled_ns", "replayed", "expected"),
    [
        # a fifth of the step idle is not yet more than a fifth
        (800, (900, 1000, 1100), False, ("unprofiled", 0.2, "device", "high", "device-bound")),
        (799, (1000,), False, ("unprofiled", 0.201, "host", "high",
            "host-bound: the device waits for launches, kernel by kernel")),
        (799, (1000,), True, ("unprofiled", 0.201, "host", "high",
            "host-bound: the device waits between replays of graphs")),
        # kernels that took longer under the profiler than the step without it leave nothing idle
        (1200, (1000,), False, ("unprofiled", 0.0, "device", "high", "device-bound")),
        # the trace alone, whose step takes 2000
        (1600, (), False, ("trace", 0.2, "device", "high", "device-bound, even under the profiler")),
        (1600, (), True, ("trace", 0.2, "device", "high", "device-bound")),
        (1599, (), False, ("trace", 0.2005, "host", "low",
            "host-bound under the profiler, which slows launching: time the step without it")),
        (1599, (), True, ("trace", 0.2005, "host", "high", "host-bound: the device waits between replays of graphs")),
    ],
)  # fmt: skip
def test_bound_and_diagnosis_of_a_step(
    run: Connection, busy_ns: int, unprofiled_ns: tuple[int, ...], replayed: bool, expected: tuple[Any, ...]
) -> None:
    step(run, 1, 2000, busy_ns)
    unprofiled(run, *unprofiled_ns)
    kernel(run, 1, 500, step_id=1, launch_ns=1)
    kernel(run, 2, 300, step_id=1, launch_ns=1 if replayed else 2)
    rows = run.execute("SELECT basis, idle_share, bound, confidence, diagnosis FROM step_diagnosis").fetchall()
    assert rows == [pytest.approx(expected)]


@pytest.mark.parametrize(("replayed_kernels", "confidence"), [(None, "high"), (2, "high"), (0, "low")])
def test_kernels_of_one_launch_are_no_replay_where_the_step_says_so(
    run: Connection, replayed_kernels: int | None, confidence: str
) -> None:
    """Ranks merged into one file share the ids of launches."""
    step(run, 1, 2000, 1000)
    run.execute("UPDATE steps SET replayed_kernels = ?", [replayed_kernels])
    kernel(run, 1, 500, step_id=1, launch_ns=1)
    kernel(run, 2, 500, step_id=1, launch_ns=1)
    assert run.execute("SELECT bound, confidence FROM step_diagnosis").fetchall() == [("host", confidence)]


def test_steps_of_a_kind_are_averaged_and_compared_with_unprofiled_ones(run: Connection) -> None:
    for step_id, (wall_ns, busy_ns) in enumerate([(2000, 700), (4000, 900)]):
        step(run, step_id, wall_ns, busy_ns)
        kernel(run, 2 * step_id, 600, step_id=step_id, launch_ns=step_id)
        kernel(run, 2 * step_id + 1, 300, step_id=step_id, launch_ns=step_id)
    unprofiled(run, 1500)
    unprofiled(run, 77, kind="refresh")
    kernel(run, 9, 5)
    rows = run.execute(
        "SELECT phase, kind, steps, kernels, launches, replayed_share, device_time_ns, busy_ns, wall_ns, unprofiled_ns,"
        " unprofiled_gap_ns, profiler_overhead_ns, step_ns, idle_ns FROM step_diagnosis"
    ).fetchall()
    assert rows == [("p", "decode", 2, 2, 1, 1.0, 900, 800, 3000, 1500, 700, 1500, 1500, 700)]


def test_a_cpu_waits_for_no_device(run: Connection) -> None:
    run.execute("UPDATE runs SET device_kind = 'cpu'")
    step(run, 1, 2000, 100)
    kernel(run, 1, 100, step_id=1)
    rows = run.execute("SELECT idle_ns, bound, diagnosis FROM step_diagnosis").fetchall()
    assert rows == [(None, "device", "operators run on the host, which waits for no device")]


@pytest.fixture
def decoding(run: Connection) -> Connection:
    """Two steps with 100 us of kernels each on a device of 1 TB/s and 100 TFLOP/s; one kernel outside steps."""
    for step_id in (1, 2):
        step(run, step_id, 150_000, 100_000)
        first, common = 10 * step_id, {"step_id": step_id}
        # 60 us for a roof of 40 (DRAM); 10 us for a roof of 10.4 (compute); 20 us for a guess of 5; 10 us for none
        kernel(run, first, 60_000, bytes=4e7, module="a", launch_ns=first, **common)
        kernel(run, first + 1, 10_000, flops=1.04e9, module="b", launch_ns=first + 1, **common)
        kernel(run, first + 2, 20_000, bytes=5e6, confidence="low", operator="x::y", launch_ns=first + 2, **common)
        kernel(run, first + 3, 10_000, operator="x::z", launch_ns=first + 3, **common)
    kernel(run, 99, 30_000, bytes=1e7, module="a")
    run.execute("UPDATE runs SET device_time_ns = 230000")
    return run


def test_deviations_are_ranked_and_valued_by_step(decoding: Connection) -> None:
    unprofiled(decoding, 110_000)
    rows = decoding.execute(
        "SELECT item, kind, basis, lost_rank, kernels, duration_ns, roof_ns, lost_ns, cumulative_lost_share,"
        " nearest_roof, saved_ns, worth FROM deviations WHERE level = 'operator' ORDER BY basis DESC, lost_rank"
    ).fetchall()
    assert rows == [
        ("aten::mm", "decode", "roof", 1, 4, 140_000, 100_000, 40_000, pytest.approx(2 / 3), "dram", 20_000,
         "at most saved_ns a step"),
        ("aten::mm", None, "roof", 2, 1, 30_000, 10_000, 20_000, 1.0, "dram", None, "unknown: no step"),
        ("x::z", "decode", "no roof", 1, 2, 20_000, None, None, None, "none", None,
         "unknown: its kernels have no roof"),
        ("x::y", "decode", "guess", 1, 2, 40_000, 10_000, 30_000, 1.0, "dram", 15_000,
         "at most saved_ns a step, by a guessed price"),
    ]  # fmt: skip
    rows = decoding.execute(
        "SELECT item, kind, lost_ns, diagnosis FROM deviations WHERE level = 'module' AND basis = 'roof'"
        " ORDER BY lost_rank"
    ).fetchall()
    assert rows == [
        ("a", "decode", 40_000, None),
        ("a", None, 20_000, "far from its bandwidth; its compute roof is unknown"),
        ("b", "decode", 0, "above the compute roof by at most 5 %: the clock was higher than the one of its peak"),
    ]


def test_every_level_sums_to_the_device_time(decoding: Connection) -> None:
    rows = decoding.execute(
        "SELECT level, SUM(duration_ns), SUM(share), SUM(CASE WHEN basis = 'roof' THEN roof_ns + lost_ns END)"
        " FROM deviations GROUP BY level ORDER BY level"
    ).fetchall()
    assert rows == [(name, 230_000, pytest.approx(1), 170_000) for name in ("family", "module", "operator", "step")]


def test_kernels_of_a_host_bound_step_are_worth_nothing(decoding: Connection) -> None:
    unprofiled(decoding, 200_000)
    rows = decoding.execute(
        "SELECT basis, lost_ns, saved_ns, saved_share, step_bound, worth FROM deviations"
        " WHERE level = 'step' AND kind = 'decode' ORDER BY basis DESC"
    ).fetchall()
    assert rows == [
        ("roof", 40_000, 0, 0, "host", "nothing while the step is host-bound"),
        ("no roof", None, None, None, "host", "unknown: its kernels have no roof"),
        ("guess", 30_000, 0, 0, "host", "nothing while the step is host-bound"),
    ]


def test_a_host_bound_trace_alone_leaves_the_worth_unknown(decoding: Connection) -> None:
    (row,) = decoding.execute(
        "SELECT lost_ns, saved_ns, worth FROM deviations WHERE level = 'family' AND kind = 'decode' AND basis = 'roof'"
    ).fetchall()
    worth = "unknown: the trace alone does not say whether the step is host-bound without the profiler"
    assert row == (40_000, None, worth)


def test_saved_time_is_scaled_to_the_step(decoding: Connection) -> None:
    """Kernels whose sum is twice the step (two streams, or slowed by the profiler) count half."""
    unprofiled(decoding, 50_000)
    (row,) = decoding.execute(
        "SELECT lost_ns_per_step, saved_ns, saved_share FROM deviations WHERE level = 'step' AND basis = 'roof'"
        " AND kind = 'decode'"
    ).fetchall()
    assert row == (20_000, 10_000, 0.2)


@pytest.mark.parametrize(
    ("duration_ns", "values", "expected"),
    [
        # 1e9 FLOPs take 10 us at the measured 100 TFLOP/s; the datasheet has 989.4 for bf16 and 1978.9 for fp8
        (9_600, {"flops": 1e9}, "above the compute roof by at most 5 %: the clock was higher than the one of its peak"),
        (5_000, {"flops": 1e9},
            "above the measured compute roof, below the datasheet's: power or clock held the measurement back"),
        (600, {"flops": 1e9},
            "above the compute roof: a faster precision or unit computed it, or it computed less than its price says"),
        (600, {"flops": 1e9, "operator": "aten::_sparse_semi_structured_mm"},
            "above the compute roof: sparse operands run at up to twice the dense peak"),
        (300, {"flops": 1e9}, "above every compute roof of the device: it computed less than its price says"),
        (300, {"flops": 1e9, "kernel": "sparse_gemm"},
            "above every compute roof of the device: it computed less than its price says"),
        # fp32 products that the tensor units computed: 66.9 TFLOP/s on the vector units
        (5_000, {"flops": 1e9, "unit": "vector", "precision": "fp32"},
            "above the compute roof: a faster precision or unit computed it, or it computed less than its price says"),
        # 1e7 bytes take 10 us from DRAM and 2.5 us from the L2
        (9_600, {"bytes": 1e7},
            "above the DRAM roof: part of its bytes came from the L2 cache, which compulsory bytes ignore"),
        (2_000, {"bytes": 1e7}, "above the DRAM and the L2 roof: it moved less than its price says"),
        (5_000, {"trace_bytes": 10_000_000},
            "above the DRAM roof: part of what it copied or filled stayed in the L2 cache"),
        (5_000, {"bytes": 1e7, "confidence": "low"}, "above its roof: its price is a guess"),
    ],
)  # fmt: skip
def test_why_a_kernel_is_above_its_roof(
    run: Connection, duration_ns: int, values: dict[str, Any], expected: str
) -> None:
    insert(
        run,
        "ceilings",
        run_id="r",
        device="D",
        source="measured",
        resource="bandwidth",
        level="l2",
        value=4e12,
        unit_of_value="byte/s",
    )
    kernel(run, 1, duration_ns, **values)
    ((fraction, found),) = run.execute("SELECT roof_fraction, diagnosis FROM kernel_roofline").fetchall()
    assert fraction > 1
    assert found == expected


@pytest.mark.parametrize(
    ("duration_ns", "expected"),
    [
        (9_600, "above its bandwidth by at most 5 %: within the spread of measurements"),
        (9_000, "above its bandwidth: its bytes were counted in another launch, which found less in the L2 cache"),
    ],
)
def test_why_counted_bytes_are_above_the_roof(run: Connection, duration_ns: int, expected: str) -> None:
    kernel(run, 1, duration_ns, bytes=1e6)
    insert(run, "counters", run_id="r", kernel_id=1, metric="dram__bytes.sum", value=1e7, source="cupti")
    assert run.execute("SELECT diagnosis FROM kernel_roofline").fetchall() == [(expected,)]
