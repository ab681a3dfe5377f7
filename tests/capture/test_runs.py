"""Captured run directories: the record, the traces and the other files."""

import gzip
import json
import os
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .conftest import Captured

FILES = {"run.json", "trace.json.gz", "trace.et.json.gz", "ceilings.json"}
FORWARDS = {
    "ar": {"prefill": 1, "decode": 11},
    "dlm_full": {"denoise": 12},
    "dlm_block_dual": {"refresh": 3, "reuse": 9},
}
WINDOWS = {"ar": ["prefill", "decode", "decode"], "dlm_full": 2 * ["denoise"], "dlm_block_dual": None}
MODES = list(FORWARDS)


def load(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


def names(captured: Captured, mode: str) -> Counter[str]:
    events = load(captured.directory(mode) / "trace.json.gz")["traceEvents"]
    return Counter(event["name"] for event in events if event.get("ph") == "X")


def test_a_folder_holds_the_runs_and_the_ceilings_and_nothing_else(captured: Captured) -> None:
    assert {path.name for path in captured.folder.iterdir()} == {
        "ceilings.json",
        "tiny-llama_ar_p16_g12_b1_fp32_eager",
        "tiny-llada_dlm_full_p16_g12_b1_block6_k12_fp32_eager",
        "tiny-llada_dlm_block_dual_p16_g12_b2_block4_k12_fp32_eager",
    }
    for mode in MODES:
        assert {path.name for path in captured.directory(mode).iterdir()} == FILES


def test_the_record_of_a_run(captured: Captured) -> None:
    record = captured.record("dlm_block_dual")
    assert (record["format"], record["outcome"], record["message"]) == (1, "ok", None)
    assert (record["name"], record["experiment"]) == (captured.directory("dlm_block_dual").name, "tests")
    assert record["config"] == {
        "model": "tiny-llada",
        "mode": "dlm_block_dual",
        "prompt_tokens": 16,
        "generated_tokens": 12,
        "batch": 2,
        "block": 4,
        "steps": 12,
        "schedule": None,
        "threshold": None,
        "factor": None,
        "variant": "clean",
        "guidance": 0.0,
        "temperature": 0.0,
        "remasking": "confidence",
        "sampling": "fp32",
        "layers": None,
        "heads": None,
        "kv_heads": None,
        "dtype": "fp32",
        "linear": "model",
        "device": "cpu",
        "repeats": 2,
        "execution": "eager",
        "attention": "auto",
        "window": None,
        "fused": False,
        "counted": "memory",
        "beyond_training": False,
        "checkpoint": None,
        "seed": 0,
        "shape": None,
        "prompts": None,
        "mode_sha256": None,
        "prompts_sha256": None,
    }
    assert record["model"] == {
        "name": "tiny-llada",
        "hidden": 256,
        "layers": 4,
        "heads": 8,
        "kv_heads": 8,
        "ffn": 768,
        "vocabulary": 4096,
        "parameters": 5_507_328,
    }
    assert set(record["environment"]) == {
        "device",
        "device_kind",
        "driver",
        "torch",
        "cuda",
        "transformers",
        "python",
        "ridgeline",
    }


@pytest.mark.parametrize("mode", MODES)
def test_tokens_and_forwards_are_counted_exactly(captured: Captured, mode: str) -> None:
    tokens = captured.record(mode)["tokens"]
    batch = 2 if mode == "dlm_block_dual" else 1
    processed = {"ar": 16 + 11, "dlm_full": 12 * 28, "dlm_block_dual": 3 * 28 + 9 * 4}[mode]
    assert (tokens["committed"], tokens["processed"]) == (12 * batch, processed * batch)
    assert tokens["forwards"] == FORWARDS[mode]


@pytest.mark.parametrize("mode", MODES)
def test_every_repeat_of_every_timing_is_kept(captured: Captured, mode: str) -> None:
    record = captured.record(mode)
    profiled = [timing for timing in record["timings"] if timing["metric"] == "profiled_step"]
    assert [timing["step"] for timing in profiled] == [step["step"] for step in record["window"]]
    timings = [timing for timing in record["timings"] if timing["metric"] != "profiled_step"]
    counts = Counter((timing["metric"], timing["repeat"]) for timing in timings)
    expected = {("end_to_end", 1), ("ttft", 1), ("step", 12)} | (set() if mode == "ar" else {("first_block", 1)})
    assert counts == {(metric, repeat): count for metric, count in expected for repeat in range(2)}
    assert all(timing["value_ns"] > 0 for timing in timings)
    for repeat in range(2):
        mine = [timing for timing in timings if timing["repeat"] == repeat]
        total = next(timing["value_ns"] for timing in mine if timing["metric"] == "end_to_end")
        steps = sum(timing["value_ns"] for timing in mine if timing["metric"] == "step")
        assert 0.5 * total < steps <= total


def test_memory_is_told_by_part(captured: Captured) -> None:
    memory = captured.record("dlm_block_dual")["memory"]
    assert memory["cache_bytes"] == 2 * 28 * 4 * 2 * 256 * 4
    assert memory["peak_bytes"] > memory["weights_bytes"] > 5_507_328 * 4
    parts = memory["weights_bytes"] + memory["cache_bytes"] + memory["other_bytes"]
    assert memory["peak_bytes"] == parts
    assert memory["logits_bytes"] == 2 * 28 * 4096 * 4
    assert memory["other_bytes"] == memory["logits_bytes"] + memory["activations_bytes"]


@pytest.mark.parametrize("mode", MODES)
def test_the_trace_has_a_label_for_every_step_of_the_window(captured: Captured, mode: str) -> None:
    labels = [name for name in names(captured, mode) if name.startswith("phase=")]
    kinds = [re.search(r"kind=(\w+)", label)[1] for label in labels]  # type: ignore[index]
    assert (
        Counter(kinds)
        == {
            "ar": {"prefill": 1, "decode": 2},
            "dlm_full": {"denoise": 2},
            "dlm_block_dual": {"refresh": 1, "reuse": 2},
        }[mode]
    )
    steps = [int(re.search(r" step=(\d+)", label)[1]) for label in labels]  # type: ignore[index]
    window = captured.record(mode)["window"]
    assert sorted(steps) == [step["step"] for step in window]
    assert {step["kind"] for step in window} == set(FORWARDS[mode])


@pytest.mark.parametrize("mode", MODES)
def test_the_trace_has_a_label_for_every_module(captured: Captured, mode: str) -> None:
    counts = names(captured, mode)
    steps = len(captured.record(mode)["window"])
    for module in (
        "model.embed_tokens",
        "model.layers.3.self_attn",
        "model.layers.0.mlp.up_proj",
        "lm_head",
        "sampling",
    ):
        assert counts[f"module={module}"] == steps


def test_the_trace_has_shapes_and_overload_names(captured: Captured) -> None:
    events = load(captured.directory("ar") / "trace.json.gz")["traceEvents"]
    (products,) = [[e for e in events if e.get("name", "").startswith("aten::mm")]]
    assert [[16, 256], [256, 4096]] not in [event["args"]["Input Dims"] for event in products]
    assert [[1, 256], [256, 4096]] in [event["args"]["Input Dims"] for event in products]
    assert any(event["name"] == "aten::mul.Tensor" for event in events)


@pytest.mark.parametrize("mode", MODES)
def test_attention_has_no_mask(captured: Captured, mode: str) -> None:
    events = load(captured.directory(mode) / "trace.json.gz")["traceEvents"]
    attention = [e["args"] for e in events if e.get("name") == "aten::scaled_dot_product_attention"]
    assert len(attention) == 4 * len(captured.record(mode)["window"])
    assert all(arguments["Input Dims"][3] == [] for arguments in attention)
    causal = [arguments["Concrete Inputs"][5] for arguments in attention].count("True")
    assert causal == (4 if mode == "ar" else 0)


def test_the_execution_trace_joins_the_trace(captured: Captured) -> None:
    directory = captured.directory("ar")
    events = load(directory / "trace.json.gz")["traceEvents"]
    nodes = load(directory / "trace.et.json.gz")["nodes"]
    identities = {
        attribute["value"]: node["name"]
        for node in nodes
        for attribute in node.get("attrs", [])
        if attribute["name"] == "rf_id"
    }
    operators = [event for event in events if event.get("cat") == "cpu_op"]
    assert len(operators) > 500
    joined = [event for event in operators if event["args"].get("Record function id") in identities]
    assert len(joined) == len(operators)


def test_nothing_tells_where_or_by_whom_a_run_was_made(captured: Captured) -> None:
    private = {socket.gethostname(), str(captured.folder), str(Path.cwd()), os.environ.get("HOME", "/home")}
    for path in captured.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
            assert not [word for word in private if len(word) > 3 and word in text], path.name


def test_headline_numbers_follow_from_the_timings(captured: Captured) -> None:
    for result, mode in zip(captured.results, MODES, strict=True):
        totals = [t["value_ns"] for t in captured.record(mode)["timings"] if t["metric"] == "end_to_end"]
        committed = captured.record(mode)["tokens"]["committed"]
        assert result.tokens_per_s == pytest.approx(committed / (sum(totals) / 2 / 1e9))
        assert set(result.step_ms) == set(FORWARDS[mode])
        assert result.outcome == "ok"
        assert not result.skipped


def test_progress_says_what_is_under_way(captured: Captured) -> None:
    assert captured.messages[0] == "ceilings: memory"
    prefix = "1/3 tiny-llama_ar_p16_g12_b1_fp32_eager: "
    messages = [message.removeprefix(prefix) for message in captured.messages if message.startswith(prefix)]
    assert messages == [
        "making weights",
        "warming up",
        "timing, repeat 1 of 2",
        "timing, repeat 2 of 2",
        "profiling",
    ]
