"""Runs made up in memory, in the proportions of captured ones of an 8B model: as large a warehouse as one likes.

A step is 1,500 launches of 32 layers. Of ten runs three are eager, with their operators, and one of those has counters;
the others replay graphs, one of them with copies on a stream of their own. All have gaps, steps of two kinds,
unprofiled timings, telemetry and predictions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from ridgeline.warehouse.load import RunRows

Record = dict[str, Any]

LAYERS = 32
SLOTS = (  # kernel, family, operator, unit, precision, module, microseconds, FLOPs, bytes
    ("rms_norm", "normalization", "aten::mean", "vector", "fp32", "input_layernorm", 3.0, 4e5, 3e5),
    ("cast", "pointwise", "aten::to", "vector", "fp32", "input_layernorm", 2.0, 0.0, 2e5),
    ("nvjet_tst_64x8", "matmul", "aten::mm", "tensor", "bf16", "self_attn.q_proj", 14.0, 2e9, 3.4e7),
    ("nvjet_tst_64x16", "matmul", "aten::mm", "tensor", "bf16", "self_attn.k_proj", 6.0, 5e8, 8.4e6),
    ("splitKreduce", "matmul", "aten::mm", "vector", "fp32", "self_attn.k_proj", 2.0, None, None),
    ("nvjet_tst_64x16", "matmul", "aten::mm", "tensor", "bf16", "self_attn.v_proj", 6.0, 5e8, 8.4e6),
    ("mul", "rotary", "aten::mul", "vector", "fp32", "self_attn", 2.0, 2e5, 6e5),
    ("neg", "rotary", "aten::neg", "vector", "fp32", "self_attn", 2.0, 1e5, 4e5),
    ("cat", "copy", "aten::cat", "vector", "fp32", "self_attn", 2.5, 0.0, 5e6),
    ("add", "rotary", "aten::add", "vector", "fp32", "self_attn", 2.0, 2e5, 6e5),
    ("Memcpy DtoD (Device -> Device)", "memcpy", "aten::copy_", "vector", "bf16", "self_attn", 2.0, None, None),
    ("flash_fwd", "attention", "aten::_flash_attention_forward", "tensor", "bf16", "self_attn", 9.0, 3e8, 9e6),
    ("nvjet_tst_128x8", "matmul", "aten::mm", "tensor", "bf16", "self_attn.o_proj", 14.0, 2e9, 3.4e7),
    ("add", "pointwise", "aten::add", "vector", "fp32", "", 2.0, 2e5, 6e5),
    ("rms_norm", "normalization", "aten::mean", "vector", "fp32", "post_attention_layernorm", 3.0, 4e5, 3e5),
    ("nvjet_tst_256x8", "matmul", "aten::mm", "tensor", "bf16", "mlp.gate_proj", 41.0, 7e9, 1.2e8),
    ("nvjet_tst_256x8", "matmul", "aten::mm", "tensor", "bf16", "mlp.up_proj", 41.0, 7e9, 1.2e8),
    ("silu", "pointwise", "aten::silu", "vector", "fp32", "mlp.act_fn", 2.0, 8e5, 1e6),
    ("mul", "pointwise", "aten::mul", "vector", "fp32", "mlp", 2.0, 4e5, 1e6),
    ("nvjet_tst_128x16", "matmul", "aten::mm", "tensor", "bf16", "mlp.down_proj", 42.0, 7e9, 1.2e8),
    ("add", "pointwise", "aten::add", "vector", "fp32", "", 2.0, 2e5, 6e5),
    ("unknown", "other", None, None, None, "", 2.0, None, None),
    ("index", "gather", "aten::index", "vector", "fp32", "", 3.0, 0.0, 4e5),
)
PER_LAYER = 2 * len(SLOTS)
"""Each kernel runs twice in a layer."""
STEP_KERNELS = LAYERS * PER_LAYER + 28
KINDS = (("denoise", "refresh"), ("denoise", "reuse"))
REFRESH_EVERY = 8
MODES = ("dlm_block_prefix", "dlm_block_dual", "dlm_full")
COUNTED = {"dram__bytes_read.sum": 0.8, "dram__bytes_write.sum": 0.2, "lts__t_bytes.sum": 2.0}
CAUSES = ("launch_latency", "host_late", "replay", "dependency")
OPERATORS_PER_KERNEL = 3


def signatures() -> list[Record]:
    """One for each kind of step and slot that has an operator; refreshes do 16 times the work."""
    return [
        {
            "signature_id": _signature(kind, slot),
            "operator": operator,
            "family": family,
            "shapes": f"[[{kind}, 4096], [4096, {slot}]]",
            "flops": None if flops is None else flops * (16 if kind == 0 else 1),
            "read_bytes": moved,
            "write_bytes": None if moved is None else moved / 50,
            "precision": precision,
            "composite": False,
            "method": "meta",
            "confidence": "low" if family == "gather" else "high",
            "rules_version": 1,
        }
        for kind in range(len(KINDS))
        for slot, (_, family, operator, _, precision, _, _, flops, moved) in enumerate(SLOTS)
        if operator
    ]


def runs(count: int, kernels: int) -> Iterator[RunRows]:
    """That many runs of that many kernels."""
    for index in range(count):
        run = made_run(index, kernels)
        if index == 0:
            run.signatures = signatures()
        yield run


def made_run(index: int, kernels: int) -> RunRows:
    """The rows of the run of that number."""
    eager, counted, overlapped = index % 10 in (0, 3, 6), index % 10 == 0, index % 10 == 1
    rng = np.random.default_rng(index)
    facts = _kernels(rng, kernels, eager=eager, copy_stream=13 if overlapped else 7)
    steps = _steps(facts)
    frames = {"kernels": facts, "kernel_classes": _classes(eager=eager), "gaps": _gaps(facts)}
    if eager:
        frames["operators"] = _operators(facts)
    if counted:
        frames["counters"] = _counters(facts)
    device_time_ns = int(facts["duration_ns"].sum())
    attribution = "external_id" if eager else "graph_twin"
    run = _run(index, eager=eager, device_time_ns=device_time_ns)
    records = {
        "runs": [run],
        "devices": [_DEVICE],
        "ceilings": _CEILINGS,
        "steps": steps,
        "timings": _timings(),
        "telemetry": [{"time_ns": i * 10**8, "power_w": 500.0, "energy_j": i * 50.0} for i in range(100)],
        "predictions": _predictions(run["mode"]),
        "ledger": [
            {"account": "attribution", "entry": attribution, "kernels": len(facts), "duration_ns": device_time_ns}
        ],
    }
    run_id = hashlib.sha256(str(index).encode()).hexdigest()[:16]
    return RunRows(run_id, records, frames)


_DEVICE = {
    "rank": 0,
    "device_index": 0,
    "name": "NVIDIA H200",
    "datasheet": "NVIDIA H200",
    "multiprocessors": 132,
    "memory_bytes": 150_109_880_320,
    "l2_bytes": 62_914_560,
    "compute_capability": "9.0",
}
_CEILINGS = [
    {
        "device": "NVIDIA H200", "resource": resource, "level": level, "unit": unit, "precision": precision,
        "value": value, "unit_of_value": unit_of_value, "source": "measured",
    }
    for resource, level, unit, precision, value, unit_of_value in (
        ("bandwidth", "dram", None, None, 4.1e12, "byte/s"),
        ("bandwidth", "l2", None, None, 1.0e13, "byte/s"),
        ("compute", None, "tensor", "bf16", 7.6e14, "FLOP/s"),
        ("compute", None, "vector", "fp32", 5.9e13, "FLOP/s"),
        ("latency", None, None, None, 1.4e-6, "s"),
    )
]  # fmt: skip


def _signature(kind: int, slot: int) -> str:
    return hashlib.sha256(f"{kind} {slot}".encode()).hexdigest()[:16]


def _kernels(rng: np.random.Generator, kernels: int, *, eager: bool, copy_stream: int) -> pl.DataFrame:
    kernel_id = np.arange(kernels)
    step, place = np.divmod(kernel_id, STEP_KERNELS)
    layer, slot = np.divmod(place, PER_LAYER)
    layer, slot = np.minimum(layer, LAYERS - 1), slot % len(SLOTS)
    kind = (step % REFRESH_EVERY > 0).astype(np.int64)
    typical_ns = np.array([slot[6] for slot in SLOTS])[slot] * np.where(kind == 0, 2400, 1000)
    duration_ns = (typical_ns * rng.lognormal(0, 0.08, kernels)).astype(np.int64)
    gap_ns = rng.integers(500, 3000, kernels)
    start_ns = 4_584_492_000_000_000 + np.cumsum(duration_ns + gap_ns) - duration_ns
    launch_ns = start_ns - rng.integers(3000, 30000, kernels) if eager else start_ns[step * STEP_KERNELS] - 20_000
    is_copy = slot == 10
    moved = np.round(np.array([slot[8] or np.nan for slot in SLOTS])[slot] * rng.normal(1, 0.02, kernels))
    columns: Record = {
        "class_id": (kind * LAYERS + layer) * len(SLOTS) + slot,
        "kernel_id": kernel_id,
        "rank": np.zeros(kernels, np.int64),
        "device_index": np.zeros(kernels, np.int64),
        "stream": np.where(is_copy, copy_stream, 7),
        "start_ns": start_ns,
        "duration_ns": duration_ns,
        "launch_ns": launch_ns,
        "launch_duration_ns": rng.integers(3000, 9000, kernels) if eager else np.full(kernels, 15_000),
        "correlation": kernel_id if eager else step,
        "operator_id": kernel_id * OPERATORS_PER_KERNEL,
        "share": np.where(slot == 4, 0.0, 1.0),
        "trace_bytes": np.where(is_copy, 4e6, np.nan),
        "cache_read_bytes": moved,
        "cache_write_bytes": np.round(moved / 50),
        "step_id": step,
    }
    frame = pl.DataFrame(columns).fill_nan(None).cast({"trace_bytes": pl.Int64})
    return frame if eager else frame.drop("operator_id")


def _classes(*, eager: bool) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "class_id": (kind * LAYERS + layer) * len(SLOTS) + slot,
                "kernel": kernel,
                "category": "memcpy" if family == "memcpy" else "kernel",
                "family": family,
                "signature_id": _signature(kind, slot) if operator else None,
                "attribution": "unattributed" if operator is None else "external_id" if eager else "graph_twin",
                "unit": unit,
                "precision": precision,
                "module": f"model.layers.{layer}.{module}".rstrip("."),
            }
            for kind in range(len(KINDS))
            for layer in range(LAYERS)
            for slot, (kernel, family, operator, unit, precision, module, *_) in enumerate(SLOTS)
        ],
        infer_schema_length=None,
    )


def _gaps(kernels: pl.DataFrame) -> pl.DataFrame:
    """One before every kernel but the first."""
    end_ns = (kernels["start_ns"] + kernels["duration_ns"]).to_numpy()[:-1]
    duration_ns = kernels["start_ns"].to_numpy()[1:] - end_ns
    gap_id, step = np.arange(len(end_ns)), kernels["step_id"].to_numpy()
    same_step = step[1:] == step[:-1]
    frame = pl.DataFrame(
        {
            "rank": np.zeros(len(end_ns), np.int64),
            "device_index": np.zeros(len(end_ns), np.int64),
            "gap_id": gap_id,
            "start_ns": end_ns,
            "duration_ns": duration_ns,
            "step_id": step[:-1],
            "before_kernel_id": gap_id,
            "after_kernel_id": gap_id + 1,
            "cause": pl.Series(CAUSES).gather(pl.Series(gap_id % 7 % len(CAUSES))),
            "sync_ns": np.zeros(len(end_ns), np.int64),
            "host_ns": duration_ns // 2,
            "call_ns": duration_ns - duration_ns // 2,
            "queue_ns": np.zeros(len(end_ns), np.int64),
        }
    )
    return frame.with_columns(step_id=pl.when(pl.Series(same_step)).then("step_id"))


def _steps(kernels: pl.DataFrame) -> list[Record]:
    spans = kernels.group_by("step_id", maintain_order=True).agg(
        start_ns=pl.col("start_ns").min(),
        end_ns=(pl.col("start_ns") + pl.col("duration_ns")).max(),
        busy_ns=pl.col("duration_ns").sum(),
    )
    return [
        {
            "rank": 0,
            **span,
            "phase": KINDS[span["step_id"] % REFRESH_EVERY > 0][0],
            "kind": KINDS[span["step_id"] % REFRESH_EVERY > 0][1],
            "step": span["step_id"],
            "query": 32,
            "context": 1024,
            "tokens": 1,
            "host_start_ns": span["start_ns"] - 20_000,
            "host_duration_ns": span["end_ns"] - span["start_ns"],
            "replayed_kernels": 0,
        }
        for span in spans.iter_rows(named=True)
    ]


def _operators(kernels: pl.DataFrame) -> pl.DataFrame:
    count = len(kernels) * OPERATORS_PER_KERNEL
    operator_id = np.arange(count)
    names = [slot[2] or "aten::item" for slot in SLOTS]
    known = [_signature(1, slot) if SLOTS[slot][2] else None for slot in range(len(SLOTS))]
    slot = pl.Series(operator_id // OPERATORS_PER_KERNEL % len(SLOTS))
    is_outer = operator_id % OPERATORS_PER_KERNEL == 0
    start_ns = kernels["launch_ns"].to_numpy()[operator_id // OPERATORS_PER_KERNEL]
    return pl.DataFrame(
        {
            "operator_id": operator_id,
            "rank": np.zeros(count, np.int64),
            "thread": pl.repeat("4242/4242", count, eager=True),
            "parent_id": operator_id - operator_id % OPERATORS_PER_KERNEL,
            "operator": pl.Series(names).gather(slot),
            "signature_id": pl.Series(known).gather(slot),
            "start_ns": start_ns + operator_id % OPERATORS_PER_KERNEL * 100,
            "duration_ns": 2000 - operator_id % OPERATORS_PER_KERNEL * 500,
        }
    ).with_columns(
        parent_id=pl.when(~pl.Series(is_outer)).then("parent_id"),
        signature_id=pl.when(pl.Series(is_outer)).then("signature_id"),
    )


def _counters(kernels: pl.DataFrame) -> pl.DataFrame:
    one = kernels.select("kernel_id", value=pl.col("cache_read_bytes").fill_null(4e6))
    return pl.concat(
        one.select("kernel_id", metric=pl.lit(metric), value=pl.col("value") * part, source=pl.lit("cupti"))
        for metric, part in COUNTED.items()
    )


def _run(index: int, *, eager: bool, device_time_ns: int) -> Record:
    mode, execution = MODES[index % len(MODES)], "eager" if eager else "cuda_graph"
    return {
        "name": f"llada-8b_{mode}_p1024_g128_b1_block32_k128_{execution}_{index}",
        "content_sha256": str(index),
        "source": "ridgeline",
        "experiment": "bench",
        "mode": mode,
        "execution": execution,
        "model": "llada-8b",
        "dtype": "bf16",
        "batch": 1,
        "prompt_tokens": 1024,
        "generated_tokens": 128,
        "block": 32,
        "steps": 128,
        "parameters": 8_015_581_184,
        "device": "NVIDIA H200",
        "device_kind": "cuda",
        "rank": 0,
        "outcome": "ok",
        "committed_tokens": 128,
        "device_time_ns": device_time_ns,
        "rules_version": 1,
    }


def _timings() -> list[Record]:
    """Three generations of 128 steps."""
    steps = [
        {
            "metric": "step",
            "phase": KINDS[step % REFRESH_EVERY > 0][0],
            "kind": KINDS[step % REFRESH_EVERY > 0][1],
            "step": step,
            "repeat": repeat,
            "value_ns": 25_000_000 + 1000 * step + repeat,
        }
        for repeat in range(3)
        for step in range(128)
    ]
    whole = [{"metric": "end_to_end", "repeat": repeat, "value_ns": 3_300_000_000 + repeat} for repeat in range(3)]
    return steps + [row | {"phase": None, "kind": None, "step": None} for row in whole]


def _predictions(mode: str) -> list[Record]:
    return [
        {
            "model": "llada-8b",
            "mode": mode,
            "convention": convention,
            "kind": kind,
            "query": 32,
            "context": 1024.0,
            "forwards": 16 if kind == "refresh" else 112,
            "component": component,
            "flops": 5e11 * weight,
            "bytes": 1.6e10 * weight,
            "time_ns": int(4e6 * weight),
            "roofs": "measured",
        }
        for convention in ("as_authored", "corrected")
        for _, kind in KINDS
        for component, weight in (("linear", 0.7), ("attention", 0.2), ("all", 1.0))
    ]
