"""Engines in this program: `profiled` with stand-ins of vLLM's LLM and SGLang's Engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ridgeline.capture.engines import profiled
from ridgeline.capture.errors import CaptureError
from tests.capture.engines.test_recording import trace


class LLM:
    """vllm.LLM as far as its profiler: vllm/entrypoints/llm.py."""

    def __init__(self, folder: Path | None, write: Callable[[Path], None]) -> None:
        config = SimpleNamespace(
            model_config=SimpleNamespace(model="/models/Qwen3-8B", dtype="torch.bfloat16"),
            parallel_config=SimpleNamespace(tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=1),
            profiler_config=SimpleNamespace(profiler="torch", torch_profiler_dir=str(folder or "")),
        )
        self.llm_engine = SimpleNamespace(vllm_config=config)
        self._folder, self._write = folder, write

    def start_profile(self, profile_prefix: str | None = None) -> None:
        if not self._folder:
            raise RuntimeError("Profiling is not enabled. Please set --profiler-config\nmore")

    def stop_profile(self) -> None:
        assert self._folder
        self._write(self._folder)


class Engine:
    """sglang.Engine as far as its profiler: python/sglang/srt/entrypoints/engine.py."""

    def __init__(self) -> None:
        arguments = SimpleNamespace(model_path="Qwen/Qwen3-8B", dtype="bfloat16", tp_size=1, pp_size=1, dp_size=1)
        self.tokenizer_manager = SimpleNamespace(server_args=arguments)
        self.started: dict[str, Any] = {}

    def start_profile(self, **request: Any) -> None:
        self.started = request

    def stop_profile(self) -> None:
        trace(Path(self.started["output_dir"]) / "1-TP-0.trace.json.gz")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ridgeline.capture.engines.traces.POLL_S", 0.01)
    for variable in ("VLLM_TORCH_PROFILER_DIR", "SGLANG_TORCH_PROFILER_DIR"):
        monkeypatch.delenv(variable, raising=False)


def write(folder: Path) -> None:
    trace(folder / "dp0_pp0_tp0_dcp0_ep0_rank0.1.pt.trace.json.gz")


def test_vllm_in_this_program(tmp_path: Path) -> None:
    lines: list[str] = []
    with profiled(LLM(tmp_path, write), tmp_path / "runs" / "mine", say=lines.append, batch=4):
        pass
    assert lines == []
    run = json.loads((tmp_path / "runs" / "mine" / "run.json").read_text())
    assert run["name"] == "mine"
    assert run["config"] == {
        "execution": "eager", "engine": "vllm", "model": "Qwen3-8B", "dtype": "bf16", "tensor_parallel": 1,
        "pipeline_parallel": 1, "data_parallel": 1, "batch": 4,
    }  # fmt: skip


def test_sglang_in_this_program(tmp_path: Path) -> None:
    engine = Engine()
    with profiled(engine, tmp_path / "mine", experiment="before"):
        assert engine.started["record_shapes"]
    run = json.loads((tmp_path / "mine" / "run.json").read_text())
    assert (run["experiment"], run["config"]["engine"], run["config"]["dtype"]) == ("before", "sglang", "bf16")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_prevents_the_start_is_an_error_before_the_block(tmp_path: Path) -> None:
    for llm, message in (
        (LLM(None, write), "vllm runs without its profiler; start it with it, as by vllm serve"),
        (object(), r"expected vllm\.LLM or sglang\.Engine, found builtins\.object"),
    ):
        with pytest.raises(CaptureError, match=message), profiled(llm, tmp_path / "mine"):
            pytest.fail("the block ran")
    refusing = LLM(None, write)
    with (
        pytest.raises(CaptureError, match=r"did not start its profiler: Profiling is not enabled\. .*-config$"),
        profiled(refusing, tmp_path / "mine", folder=tmp_path),
    ):
        pytest.fail("the block ran")
    assert not list(tmp_path.iterdir())


def test_what_fails_afterwards_is_a_line_and_the_programs_own_error_its_own(tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / "traces").mkdir()
    llm = LLM(tmp_path / "traces", lambda folder: None)
    with profiled(llm, tmp_path / "mine", say=lines.append, patience_s=0.05):
        pass
    (line,) = lines
    assert line.startswith(f"not recorded: {tmp_path / 'traces'}: the engine wrote no trace there")
    with pytest.raises(OSError, match="of the program"), profiled(LLM(tmp_path / "traces", write), tmp_path / "mine"):
        raise OSError("of the program")
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]
