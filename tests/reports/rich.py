"""A run that knows everything, every source of bytes and gaps and telemetry too; and two that know less."""

from __future__ import annotations

from typing import Any

import duckdb

from tests.reports.conftest import CEILINGS, DEVICE, HOSTILE, insert, ledger

RUN, OTHER, BARE = "dddd000000000005", "eeee000000000006", "ffff000000000007"
NAMES = {
    RUN: ("rich_eager", "eager"),
    OTHER: ("rich_graph", "cuda_graph"),
    BARE: ("<img src=x onerror=alert(2)>", None),
}

SIGNATURES = [
    ("rich_mm", "aten::mm", "matmul", "[[64, 64], [64, 64]]", 1e8, 1e6, 1e6),
    ("rich_add", "aten::add.Tensor", "pointwise", "[[4096]]", 1e6, 3e5, 1e5),
    ("rich_copy", "aten::copy_", "copy", "[[1024]]", 0.0, 1e5, 1e5),
]

# kernel, family, signature, unit, precision, module
CLASSES = [
    ("void gemm<bf16>(float*)", "matmul", "rich_mm", "tensor", "bf16", "model.layers.0.mlp"),
    ("void gemm<bf16>(float*)", "matmul", "rich_mm", "tensor", "bf16", "model.layers.1.mlp"),
    ("add", "pointwise", "rich_add", "vector", "fp32", "model.norm"),
    ("copy", "copy", "rich_copy", "vector", "fp32", "model"),
    (HOSTILE + "$alike '' $runs", "other", None, None, None, None),
]

# class, start, duration, step, counter bytes, cache model bytes, L2 bytes, L1 bytes, counter FLOPs
KERNELS = [
    (0, 0, 2500, 0, 1.8e6, 1.9e6, 4e6, 8e6, 1.2e8),
    (1, 2500, 2100, 0, 2.6e6, 1.8e6, 4e6, 8e6, 1.2e8),
    (2, 5000, 700, 0, 2e5, 1e5, 5e5, 5e4, None),
    (3, 6000, 500, 0, None, 1.5e5, None, None, None),
    (4, 6600, 400, 0, None, None, None, None, None),
    (0, 10000, 2200, 1, 1.9e6, 1.6e6, 4e6, 8e6, 1.2e8),
    (2, 13000, 650, 1, 2.2e5, 1e5, 5e5, None, None),
]

METRICS = ("dram__bytes.sum", "lts__t_bytes.sum", "l1tex__t_bytes.sum", "sm__ops_path_tensor_src_bf16.sum")


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    for signature, operator, family, shapes, flops, read, write in SIGNATURES:
        row = {"flops": flops, "read_bytes": read, "write_bytes": write, "composite": False, "method": "meta"}
        kind = {"signature_id": signature, "operator": operator, "family": family, "shapes": shapes}
        insert(connection, "signatures", **kind, **row, confidence="high", rules_version=1)
    for run_id in NAMES:
        _add_run(connection, run_id)


def _add_run(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    name, execution = NAMES[run_id]
    kernels = KERNELS if run_id != BARE else KERNELS[:1]
    duration_ns = sum(row[2] for row in kernels)
    insert(
        connection,
        "runs",
        run_id=run_id,
        name=name,
        content_sha256="",
        source="ridgeline",
        mode="ar",
        execution=execution,
        device=DEVICE if run_id != BARE else None,
        device_kind="cuda",
        rank=0,
        outcome="ok",
        device_time_ns=duration_ns,
        rules_version=1,
        model="test",
        dtype="bf16",
    )
    for class_id, (kernel, family, signature, unit, precision, module) in enumerate(CLASSES):
        how = "external_id" if signature else "unattributed"
        names = {"kernel": kernel, "category": "kernel", "family": family, "signature_id": signature, "module": module}
        insert(
            connection,
            "kernel_classes",
            run_id=run_id,
            class_id=class_id,
            **names,
            attribution=how,
            unit=unit,
            precision=precision,
        )
    for kernel_id, row in enumerate(kernels):
        _add_kernel(connection, run_id, kernel_id, row)
    ledger(
        connection,
        run_id,
        {entry: (len(kernels), duration_ns) for entry in [("attribution", "external_id"), ("price", "counter")]},
    )
    if run_id != BARE:
        _add_surroundings(connection, run_id)


def _add_kernel(connection: duckdb.DuckDBPyConnection, run_id: str, kernel_id: int, row: tuple[Any, ...]) -> None:
    class_id, start, duration, step, counter, cache, l2, l1, flops = row
    place = {"rank": 0, "device_index": 0, "stream": 7, "start_ns": start, "duration_ns": duration}
    reads = None if cache is None else cache / 2
    insert(
        connection,
        "kernels",
        run_id=run_id,
        kernel_id=kernel_id,
        class_id=class_id,
        **place,
        share=1.0,
        cache_read_bytes=reads,
        cache_write_bytes=reads,
        step_id=step if run_id != BARE else None,
    )
    for metric, value in zip(METRICS, (counter, l2, l1, flops), strict=True):
        if value is not None and run_id == RUN:
            insert(
                connection, "counters", run_id=run_id, kernel_id=kernel_id, metric=metric, value=value, source="cupti"
            )


def _add_surroundings(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    for resource, level, unit, precision, value, unit_of_value, source in [
        *CEILINGS,
        ("bandwidth", "l2", None, None, 3e12, "byte/s", "measured"),
        ("compute", None, "tensor", "bf16", 1.5e14, "FLOP/s", "datasheet"),
        ("bandwidth", "dram", None, None, 1.2e12, "byte/s", "datasheet"),
    ]:
        kind = {"resource": resource, "level": level, "unit": unit, "precision": precision}
        insert(
            connection,
            "ceilings",
            run_id=run_id,
            device=DEVICE,
            **kind,
            # The other run measured a faster DRAM.
            value=value * (1.05 if run_id == OTHER and (level, source) == ("dram", "measured") else 1),
            unit_of_value=unit_of_value,
            source=source,
        )
    for step, (phase, start, end, busy) in enumerate([("prefill", 0, 7000, 6200), ("decode", 10000, 13650, 2850)]):
        times = {"start_ns": start, "end_ns": end, "busy_ns": busy, "host_start_ns": start, "host_duration_ns": 1}
        insert(connection, "steps", run_id=run_id, rank=0, step_id=step, phase=phase, kind=phase, step=step, **times)
        for repeat in range(2):
            timing = {"phase": phase, "kind": phase, "step": step, "repeat": repeat, "value_ns": end - start + repeat}
            insert(connection, "timings", run_id=run_id, metric="step", **timing)
    for gap, (start, duration, step, before, after, cause) in enumerate(
        [(4600, 400, 0, 1, 2, "host_late"), (5700, 300, 0, 2, 3, "launch_latency"), (12200, 800, 1, 5, 6, "host_late")]
    ):
        where = {"start_ns": start, "duration_ns": duration, "step_id": step, "cause": cause, "host_ns": duration}
        insert(
            connection,
            "gaps",
            run_id=run_id,
            rank=0,
            device_index=0,
            gap_id=gap,
            **where,
            before_kernel_id=before,
            after_kernel_id=after,
        )
    for second in range(3):
        power = {"power_w": 300.0 + second, "sm_clock_hz": 1.9e9, "memory_clock_hz": 2.6e9, "throttle_reasons": "4"}
        insert(connection, "telemetry", run_id=run_id, time_ns=second * 1_000_000_000, **power)
