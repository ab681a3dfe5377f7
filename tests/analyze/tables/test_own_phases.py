"""A run directory that another program wrote: modes, phases and kinds of its own, and keys that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse.verify import verify
from tests.analyze import kineto
from tests.analyze.kineto import Event, annotation, kernel, launch, operator
from tests.analyze.loading import query

RUN = {
    "format": 1, "name": "search", "outcome": "ok", "experiment": "before",
    "config": {
        "mode": "beam search", "execution": "eager", "dtype": "bf16", "batch": 2, "prompt_tokens": 8,
        "generated_tokens": 6, "beams": 4, "schedule": [1, 2], "nested": {"a": None},
    },
    "model": {"name": "Mine", "parameters": 1000, "experts": 8},
    "environment": {"device": "NVIDIA H200", "device_kind": "cuda"},
    "tokens": {"committed": 12, "forwards": {"expand": 3}},
    "timings": [
        {"metric": "end_to_end", "repeat": 0, "value_ns": 1_000_000},
        {"metric": "end_to_end", "repeat": 1, "value_ns": 1_200_000},
        {"metric": "ttft", "repeat": 0, "value_ns": 300_000},
        {"metric": "step", "phase": "search", "kind": "expand", "step": 1, "repeat": 0, "value_ns": 20_000},
        {"metric": "step", "phase": "search", "kind": "expand", "step": 1, "repeat": 1, "value_ns": 24_000},
        {"metric": "step", "phase": "prune", "kind": "prune", "step": 2, "repeat": 0, "value_ns": 9_000},
        {"metric": "profiled_step", "phase": "search", "kind": "expand", "step": 1, "value_ns": 50_000},
    ],
    "window": [{"phase": "search", "step": 1, "kind": "expand", "beams": 4}],
    "anything": ["else"],
}  # fmt: skip


def step(at_us: float, label: str, number: int) -> list[Event]:
    """A step of 40 us with a product of 2 * 64**3 FLOPs that takes 10 us."""
    return [
        annotation(label, at_us, 40),
        operator("aten::mm", at_us + 1, 5, number, [[64, 64], [64, 64]], ["c10::BFloat16"] * 2),
        launch(at_us + 2, number),
        kernel("gemm", at_us + 10, 10, number, **{"External id": number}),
    ]


def test_its_own_phases_and_kinds_have_their_rows(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(RUN))
    events = [
        *step(0, "phase=prefill step=0 kind=encode query=8 tokens=0", 1),
        *step(100, "phase=search step=1 kind=expand query=1 context=9 tokens=2 beams=4", 2),
        *step(200, "phase=prune step=2 kind=prune tokens=0 beams=4", 3),
    ]
    kineto.write(folder / "trace.json.gz", events)
    warehouse = tmp_path / "w.duckdb"
    assert [(each.name, each.outcome) for each in analyze([folder], warehouse)] == [("search", "loaded")]
    assert [run.findings for run in verify(warehouse)[0]] == [[]]
    columns = "mode, execution, dtype, batch, prompt_tokens, generated_tokens, block, parameters, committed_tokens"
    assert query(warehouse, f"SELECT {columns} FROM runs") == [
        ("beam search", "eager", "bf16", 2, 8, 6, None, 1000, 12)
    ]
    columns = "phase, kind, step, wall_ns, busy_ns, gap_ns, kernels, flops, tokens"
    flops = 2.0 * 64**3
    assert query(warehouse, f"SELECT {columns} FROM step_summary ORDER BY step") == [
        ("prefill", "encode", 0, 10_000, 10_000, 0, 1, flops, 0),
        ("search", "expand", 1, 10_000, 10_000, 0, 1, flops, 2),
        ("prune", "prune", 2, 10_000, 10_000, 0, 1, flops, 0),
    ]
    # the main kind is the one with most timings; the first token comes with step 1, which commits 2 of 6
    columns = "mode, step_ns, tokens_per_s, ttft_ns, tpot_ns, flops, mfu, busy_share, outcome"
    ((mode, step_ns, rate, ttft_ns, tpot_ns, of_step, mfu, busy, outcome),) = query(
        warehouse, f"SELECT {columns} FROM mode_summary"
    )
    assert (mode, step_ns, ttft_ns, of_step, outcome) == ("beam search", 22_000, 300_000, flops, "ok")
    assert rate == pytest.approx(12 / 1_100_000e-9)
    assert tpot_ns == pytest.approx((1_100_000 - 300_000) / (6 - 2))
    assert mfu == pytest.approx(flops / 989.4e12 / 22e-6)  # the datasheet's peak
    assert busy == pytest.approx(10 / 22)
    columns = "phase, kind, steps, wall_ns, unprofiled_ns, profiler_overhead_ns"
    assert query(warehouse, f"SELECT {columns} FROM overhead ORDER BY phase") == [
        ("prefill", "encode", 1, 10_000, None, None),
        ("prune", "prune", 1, 10_000, 9_000, 1_000),
        ("search", "expand", 1, 10_000, 22_000, -12_000),
    ]
    lengths = "SELECT kind, length FROM step_costs WHERE kind = 'expand'"
    assert query(warehouse, lengths) == [("expand", 9)]
    assert query(warehouse, "SELECT predictions_message FROM runs") == [
        (
            "mode 'beam search' is not built in; the closed forms cover ar, dlm_full, dlm_semi_ar, dlm_block_prefix, "
            "dlm_block_dual, dlm_block_causal",
        )
    ]
