"""A real replay of SGLang with the trace of its capture, and vLLM's eager steps, by way of `record` into `analyze`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ridgeline.capture.engines import record
from tests.capture.engines.stand_in import Sglang, Vllm, serving

SHARED = Path(__file__).parents[4] / "shared"
REPLAY = SHARED / "engines" / "sglang-qwen3-8b-decode-graph.json.gz"
CAPTURE = SHARED / "engines" / "sglang-qwen3-8b-decode-graph.capture.json.gz"
EAGER = SHARED / "traces" / "b200-eager.json.gz"

pytestmark = pytest.mark.skipif(not REPLAY.exists(), reason="the engines' traces are not beside the project")


def test_a_replay_has_operators_and_steps_after_recording(tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="analyze is not installed on a bare GPU machine")
    from ridgeline.analyze.ingest import analyze
    from tests.analyze.loading import query

    warehouse = tmp_path / "w.duckdb"
    folder = tmp_path / "traces"
    (folder / "capture_traces").mkdir(parents=True)
    shutil.copyfile(CAPTURE, folder / "capture_traces" / "bs_32_rank0.json.gz")
    lines: list[str] = []

    def writing(trace: Path, name: str) -> Callable[[Path], None]:
        def write(into: Path) -> None:
            shutil.copyfile(trace, into / name)

        return write

    sglang = Sglang(writing(REPLAY, "1-TP-0.trace.json.gz"), folder)
    vllm = Vllm(writing(EAGER, "rank0.1.pt.trace.json.gz"), folder)
    for engine in (sglang, vllm):
        with serving(engine) as url:
            record(url, tmp_path / "runs", folder=folder, seconds=0.0, patience_s=2.0, say=lines.append)
    assert len(lines) == 4, "where it records, and what it wrote: nothing is missing"

    results = analyze([tmp_path / "runs"], warehouse)
    assert [(result.name, result.outcome) for result in results] == [
        ("sglang_Qwen3-8B", "loaded"),
        ("vllm_Qwen3-8B", "loaded"),
    ]
    replay, eager = query(
        warehouse,
        "SELECT sum(duration_ns) FILTER (operator IS NOT NULL) / sum(duration_ns) FROM kernel_roofline"
        " GROUP BY name ORDER BY name",
    )
    assert replay[0] >= 0.97
    assert eager[0] >= 0.97
    runs = query(warehouse, "SELECT name, model, execution, device FROM runs ORDER BY name")
    assert runs == [
        ("sglang_Qwen3-8B", "Qwen3-8B", "cuda_graph", "AMD Instinct MI300X"),
        ("vllm_Qwen3-8B", "Qwen/Qwen3-8B", None, "NVIDIA B200"),
    ]
    steps = query(
        warehouse, "SELECT phase, query, context FROM steps JOIN runs USING (run_id) WHERE name LIKE 'sglang%'"
    )
    assert ("decode", 32, 32785) in steps
