"""A warehouse of a study in literal rows: lengths, blocks, steps, and batches up to where memory ends."""

from __future__ import annotations

from typing import Any

import duckdb

from tests.reports.conftest import DEVICE, HOSTILE, insert

DEFAULTS: dict[str, Any] = {
    "experiment": "e",
    "mode": "dlm_block_dual",
    "execution": "cuda_graph",
    "model": "llada-8b",
    "dtype": "bf16",
    "batch": 1,
    "prompt_tokens": 1024,
    "generated_tokens": 128,
    "block": 32,
    "steps": 128,
    "outcome": "ok",
    "device": DEVICE,
}


def captured(
    connection: duckdb.DuckDBPyConnection, run_id: str, latency_ns: int | None = None, **settings: Any
) -> None:
    """A run with three generations of about this latency, all of it steps of reuse."""
    row = DEFAULTS | settings
    row.setdefault("name", f"run {run_id}")
    insert(
        connection,
        "runs",
        run_id=run_id,
        content_sha256="",
        source="ridgeline",
        device_kind="cuda",
        rank=0,
        rules_version=1,
        device_time_ns=0,
        committed_tokens=row["batch"] * row["generated_tokens"],
        **row,
    )
    for repeat, extra in enumerate((0, -1000, 5000) if latency_ns else ()):
        whole = (latency_ns or 0) + extra
        insert(connection, "timings", run_id=run_id, metric="end_to_end", repeat=repeat, value_ns=whole)
        insert(
            connection,
            "timings",
            run_id=run_id,
            metric="step",
            phase="denoise",
            kind="reuse",
            step=0,
            repeat=repeat,
            value_ns=whole,
        )


def predicted(connection: duckdb.DuckDBPyConnection, run_id: str, context: int, flops: float) -> None:
    for convention in ("corrected", "as_authored"):
        insert(
            connection,
            "predictions",
            run_id=run_id,
            model="m",
            mode="x",
            convention=convention,
            kind="reuse",
            query=32,
            context=context,
            forwards=1,
            component="all",
            flops=flops,
            bytes=1000.0,
            time_ns=100,
        )


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Each figure but those that need kernels or telemetry; a model's name is hostile."""
    insert(connection, "devices", run_id="b1", rank=0, device_index=0, name=DEVICE, memory_bytes=80_000_000_000)
    for tokens in (128, 512, 2048):
        captured(connection, f"l{tokens}", 10_000 * tokens, generated_tokens=tokens, steps=tokens)
        predicted(connection, f"l{tokens}", 1024 + tokens, 31_100.0)
    for block in (8, 16):
        captured(connection, f"g{block}", 2_000_000, block=block)
        predicted(connection, f"g{block}", 1152, 1000.0 * block)
    for steps in (4, 16):
        captured(connection, f"k{steps}", 10_000 * steps, steps=steps)
    captured(connection, "ar", 900_000, mode="ar", model=HOSTILE, block=None, steps=None)
    for batch in (1, 4):
        memory = {"weights_bytes": 16_000_000_000, "cache_bytes": batch * 10**9, "other_bytes": 10**9}
        captured(
            connection,
            f"b{batch}",
            2_000_000,
            batch=batch,
            prompt_tokens=128,
            peak_memory_bytes=sum(memory.values()),
            **memory,
        )
    for batch in (16, 64):
        message = "wanted 90 GB of 80 GB"
        captured(connection, f"b{batch}", batch=batch, prompt_tokens=128, outcome="oom", message=message)
