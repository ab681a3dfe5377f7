"""Runs to compare, in literal rows: what differs between two of them is known to the nanosecond."""

from __future__ import annotations

from typing import Any

import duckdb

from tests.reports.conftest import DEVICE, HOSTILE, add_ceilings, insert

# Of a run that is compared: kernel, family, operator, shapes, module, and its nanoseconds in each step.
Launch = tuple[str, str, str | None, str, str | None, list[int | None]]

MM = "[[1, 64], [64, 64]]"
MLP, OTHER_MLP, ATTENTION = "model.layers.0.mlp", "model.layers.1.mlp", "model.layers.0.self_attn"

BEFORE: list[Launch] = [
    ("gemm_64x8", "matmul", "aten::mm", MM, MLP, [1000, 1020]),
    ("gemm_64x8", "matmul", "aten::mm", MM, OTHER_MLP, [1000, 1020]),
    ("add", "pointwise", "aten::add.Tensor", "[[64], [64]]", "model", [5000, 5000]),
    ("sdpa", "attention", "aten::sdpa", "[[1, 8]]", ATTENTION, [4000, 4400]),
    ("norm", "normalization", "aten::norm", "[[64]]", "model.norm", [300, 300]),
]
AFTER: list[Launch] = [
    ("gemm_128x8", "matmul", "aten::mm.out", f"{MM[:-1]}, [1, 64]]", MLP, [1500, 1520]),
    ("gemm_128x8", "matmul", "aten::mm.out", f"{MM[:-1]}, [1, 64]]", OTHER_MLP, [1500, 1520]),
    ("add", "pointwise", "aten::add.Tensor", "[[64], [64]]", "model", [5100, 5100]),
    ("sdpa", "attention", "aten::sdpa", "[[1, 8]]", ATTENTION, [3000, 3400]),
    ("silu", "pointwise", "aten::silu", "[[64]]", MLP, [200, 200]),
]


def add_compared(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    launches: list[Launch],
    *,
    kinds: tuple[str, ...] = ("decode", "decode"),
    unprofiled_ns: tuple[int, ...] = (),
    **settings: Any,
) -> None:
    """A run of these launches, a step of each kind; ``unprofiled_ns`` are repeats of a step of the first kind."""
    run_id = f"{connection.execute('SELECT COUNT(*) FROM runs').fetchall()[0][0]:016x}"
    asked: dict[str, Any] = {
        "device": DEVICE,
        "outcome": "ok",
        "device_kind": "cuda",
        "source": "ridgeline",
        **settings,
    }
    total_ns = sum(ns or 0 for *_, own in launches for ns in own)
    insert(
        connection,
        "runs",
        run_id=run_id,
        name=name,
        content_sha256="",
        rank=0,
        rules_version=1,
        device_time_ns=total_ns,
        **asked,
    )
    add_ceilings(connection, run_id)
    for step, kind in enumerate(kinds):
        insert(
            connection,
            "steps",
            run_id=run_id,
            rank=0,
            step_id=step,
            phase=kind,
            kind=kind,
            step=step,
            host_start_ns=0,
            host_duration_ns=1,
        )
    for repeat, value_ns in enumerate(unprofiled_ns):
        insert(
            connection,
            "timings",
            run_id=run_id,
            metric="step",
            phase=kinds[0],
            kind=kinds[0],
            step=0,
            repeat=repeat,
            value_ns=value_ns,
        )
    for class_id, launch in enumerate(launches):
        _add_launch(connection, run_id, class_id, launch, kinds)


def _add_launch(
    connection: duckdb.DuckDBPyConnection, run_id: str, class_id: int, launch: Launch, kinds: tuple[str, ...]
) -> None:
    """The signature, the class and the kernels of a launch; a step of no kind holds kernels outside of the steps."""
    kernel, family, operator, shapes, module, durations_ns = launch
    signature = f"{operator} {shapes}" if operator else None
    if signature:
        connection.execute(
            "INSERT INTO signatures (signature_id, operator, family, shapes, flops, read_bytes, write_bytes,"
            " composite, method, confidence, rules_version)"
            " VALUES (?, ?, ?, ?, ?, 1e6, 1e6, FALSE, 'meta', 'high', 1)"
            " ON CONFLICT DO NOTHING",
            [signature, operator, family, shapes, 1e8 if family == "matmul" else 1e6],
        )
    insert(
        connection,
        "kernel_classes",
        run_id=run_id,
        class_id=class_id,
        kernel=kernel,
        category="kernel",
        family=family,
        signature_id=signature,
        attribution="external_id" if operator else "unattributed",
        unit="tensor" if family == "matmul" else "vector",
        precision="bf16" if family == "matmul" else "fp32",
        module=module,
    )
    for step, duration_ns in enumerate(durations_ns):
        if duration_ns is not None:
            insert(
                connection,
                "kernels",
                run_id=run_id,
                kernel_id=100 * step + class_id,
                rank=0,
                device_index=0,
                class_id=class_id,
                start_ns=0,
                duration_ns=duration_ns,
                share=1.0,
                step_id=step if step < len(kinds) else None,
            )


def repeated(gemm_ns: int, add_ns: int) -> list[Launch]:
    return [
        ("gemm_64x8", "matmul", "aten::mm", MM, MLP, [gemm_ns]),
        ("add", "pointwise", "aten::add.Tensor", "[[64], [64]]", "model", [add_ns]),
    ]


def add_shaped(connection: duckdb.DuckDBPyConnection) -> None:
    """Runs whose operators share some shapes, occur in some steps, or run outside steps."""

    def launched(*shapes: tuple[str, int]) -> list[Launch]:
        return [("gemm", "matmul", "aten::mm", shape, None, [ns]) for shape, ns in shapes]

    add_compared(connection, "shapes_a", launched(("[[9]]", 100), ("[[1]]", 1000), ("[[2]]", 2000)), kinds=("decode",))
    add_compared(connection, "shapes_b", launched(("[[4]]", 1500), ("[[9]]", 100), ("[[3]]", 9000)), kinds=("decode",))
    add_compared(connection, "shapes_c", launched(("[[9]]", 100), ("[[5]]", 7000)), kinds=("decode",))
    for name, ns in (("rare", 4000), ("rare_slow", 8000)):
        own: list[Launch] = [
            ("gemm", "matmul", "aten::mm", MM, None, [ns, None, ns + 200, None]),
            ("add", "pointwise", "aten::add.Tensor", "[[64], [64]]", None, [500] * 4),
        ]
        add_compared(connection, name, own, kinds=("decode",) * 4)
    for name, kind in (("outside_a", "decode"), ("outside_b", "denoise")):
        gemm: list[Launch] = [("gemm", "matmul", "aten::mm", MM, None, [1000, 50])]
        add_compared(connection, name, gemm, kinds=(kind,))


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    known: dict[str, Any] = {"model": "m", "mode": "ar", "batch": 1}
    add_compared(connection, "before", BEFORE, unprofiled_ns=(20_000, 20_200), execution="eager", **known)
    add_compared(connection, "after", AFTER, unprofiled_ns=(25_000, 25_200), execution="compile", **known)
    add_compared(connection, "wobbly", BEFORE, unprofiled_ns=(18_000, 24_000), execution="eager", **known)
    for name, gemm_ns, add_ns in (("old_1", 10_000, 5000), ("old_2", 10_100, 6000)):
        add_compared(connection, name, repeated(gemm_ns, add_ns), kinds=("decode",), experiment="old, *")
    for name, gemm_ns, add_ns in (("new_1", 15_000, 5600), ("new_2", 15_100, 6400)):
        add_compared(connection, name, repeated(gemm_ns, add_ns), kinds=("decode",), experiment="new")
    one: list[Launch] = [("gemm", "matmul", "aten::mm", MM, None, [10_000])]
    slow: list[Launch] = [("gemm", "matmul", "aten::mm", MM, None, [10_400])]
    wide: list[Launch] = [("gemm", "matmul", "aten::mm", "[[2, 64], [64, 64]]", None, [16_000])]
    add_compared(connection, "single", one, kinds=("decode",))
    add_compared(connection, "single_slow", slow, kinds=("decode",))
    add_compared(connection, "wide", wide, kinds=("decode",), batch=2)
    add_compared(connection, "denoising", wide, kinds=("denoise",))
    add_compared(connection, "elsewhere", one, kinds=("decode",), device="Other Device")
    add_compared(connection, "hostile", [(HOSTILE, "other", None, "", HOSTILE, [700])], kinds=(HOSTILE,), model=HOSTILE)
    add_compared(connection, "silent", [])
    add_compared(connection, "too_big", [], outcome="oom", message="wanted 90 GB of 80 GB")
    add_shaped(connection)
    add_compared(connection, "counted", [(*one[0][:5], [16_000])], kinds=("decode",))
    connection.execute("UPDATE kernels SET trace_bytes = 4000000 WHERE run_id = (SELECT max(run_id) FROM runs)")
    for name, clock_hz, gemm_ns in (("cool", 2e9, 10_000), ("hot", 1.5e9, 13_000)):
        add_compared(connection, name, [(*one[0][:5], [gemm_ns])], kinds=("decode",))
        connection.execute(
            "INSERT INTO telemetry (run_id, time_ns, sm_clock_hz) SELECT max(run_id), 0, ? FROM runs", [clock_hz]
        )
    fused: list[Launch] = [("triton_poi_fused_add_mul_3", "fused", "triton_poi_fused_add_mul_3", "", None, [900])]
    add_compared(connection, "fused", fused, kinds=("decode",))
