"""`record --url` against stand-ins of vLLM and SGLang: run directories, and one line for each thing that fails."""

from __future__ import annotations

import gzip
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ridgeline.capture.engines import record
from ridgeline.capture.engines.recording import Recorded
from ridgeline.capture.errors import CaptureError, ConfigError
from tests.analyze import kineto
from tests.capture.engines.stand_in import Sglang, StandIn, Vllm, serving

HEADER = {**kineto.HEADER, "record_shapes": 1, "cuda_runtime_version": 12080, "vllm_version": "0.26.0"}
NAME = "dp0_pp0_tp0_dcp0_ep0_rank{}.1790857026.pt.trace.json.gz"


def trace(path: Path, rank: int = 0, world_size: int = 1, events: list[kineto.Event] | None = None) -> None:
    header = HEADER | {"distributedInfo": {"rank": rank, "world_size": world_size, "host": "node17"}}
    kineto.write(path, kineto.matmul_step() if events is None else events, header=header)


def write_vllm(folder: Path) -> None:
    trace(folder / NAME.format(0))
    frontend = folder / "node17_400.async_llm.1790857026.pt.trace.json.gz"
    kineto.write(frontend, [kineto.frame("api_server.py(1): serve", 0.0, 1.0)])
    (folder / "profiler_out_0.txt").write_text("a table")


def write_sglang(ranks: int = 1) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for rank in range(ranks):
            trace(folder / f"1790857026.5-TP-{rank}.trace.json.gz", rank, ranks)
        if ranks > 1:
            trace(folder / "merged-1790857026.5.trace.json.gz")

    return write


class Recording:
    """Records a stand-in, and keeps the lines that were said."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.lines: list[str] = []

    def __call__(self, engine: StandIn, **options: Any) -> Recorded:
        with serving(engine) as url:
            named: dict[str, Any] = {"seconds": 0.0, "patience_s": 0.3, "name": "mine", **options}
            return record(url, self.out, say=self.lines.append, **named)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    monkeypatch.setattr("ridgeline.capture.engines.traces.POLL_S", 0.01)
    for variable in ("VLLM_TORCH_PROFILER_DIR", "SGLANG_TORCH_PROFILER_DIR", "RIDGELINE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return Recording(tmp_path / "runs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "traces"
    path.mkdir()
    trace(path / "old.pt.trace.json.gz")
    return path


def content(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())


def test_vllm_that_says_nothing_of_its_folder(recorded: Recording, folder: Path) -> None:
    engine = Vllm(write_vllm, folder)
    with pytest.raises(ConfigError, match=r"vllm 0\.26\.0 does not say where it writes its traces: .* --traces DIR"):
        recorded(engine)
    assert recorded(engine, folder=folder, name=None) == (recorded.out / "vllm_Qwen3-8B", 0)
    assert sorted(path.name for path in recorded.out.rglob("*")) == ["run.json", "trace.json.gz", "vllm_Qwen3-8B"]
    assert recorded.lines[0] == f"recording {engine.url}"
    assert len(recorded.lines) == 2
    assert recorded.lines[-1].endswith(f"vllm 0.26.0, 1 rank; next: ridgeline analyze {recorded.out / 'vllm_Qwen3-8B'}")
    run = content(recorded.out / "vllm_Qwen3-8B" / "run.json")
    assert run["config"] == {
        "execution": "eager", "engine": "vllm", "engine_version": "0.26.0", "model": "Qwen/Qwen3-8B",
    }  # fmt: skip
    assert run["model"] == {"name": "Qwen/Qwen3-8B"}
    assert {key: run["environment"][key] for key in ("device", "device_kind", "cuda", "torch")} == {
        "device": "NVIDIA H200", "device_kind": "cuda", "cuda": "12.8", "torch": None,
    }  # fmt: skip
    stored = content(recorded.out / "vllm_Qwen3-8B" / "trace.json.gz")
    assert stored["traceEvents"] == kineto.matmul_step()
    assert "host_name" not in stored
    assert stored["distributedInfo"] == {"rank": 0, "world_size": 1}
    assert [path for path, _ in engine.requests] == ["/start_profile", "/stop_profile"]
    assert len(list(folder.iterdir())) == 4, "the engine's own files stay"


def test_vllm_in_development_mode_says_folder_type_and_parallelism(recorded: Recording, folder: Path) -> None:
    recorded(Vllm(write_vllm, folder, is_in_development=True), experiment="before", batch=8)
    text = (recorded.out / "mine" / "run.json").read_text()
    run = json.loads(text)
    assert (run["name"], run["experiment"]) == ("mine", "before")
    assert (run["config"]["dtype"], run["config"]["tensor_parallel"], run["config"]["batch"]) == ("bf16", 1, 8)
    assert run["environment"]["torch"] == "2.13.0"
    assert "secret" not in text
    assert "node17" not in text


def test_vllm_without_a_profiler_and_a_server_that_is_none(recorded: Recording, folder: Path) -> None:
    with pytest.raises(CaptureError, match=r"answered 404 .* runs without its profiler; start it with it: vllm serve"):
        recorded(Vllm(write_vllm, folder, is_profiling_allowed=False), folder=folder)
    with pytest.raises(CaptureError, match=r"no server answers at http://127\.0\.0\.1:9 .*: start the engine"):
        record("127.0.0.1:9", recorded.out)
    with pytest.raises(ConfigError, match="expected the address of a server"):
        record("ftp://there", recorded.out)
    with pytest.raises(ConfigError, match=r"--profiler-config\.max_iterations 4"):
        recorded(Vllm(write_vllm, folder), folder=folder, steps=4)
    assert not list(recorded.out.glob("*"))


def test_sglang_writes_a_directory_a_rank_into_a_folder_of_ours(recorded: Recording) -> None:
    engine = Sglang(write_sglang(2), tensor_parallel=2)
    recorded(engine)
    (_, request), _ = engine.requests
    assert request is not None
    assert (request["record_shapes"], request["detailed_annotations"]) == (True, True)
    assert not Path(request["output_dir"]).exists()
    files = [str(path.relative_to(recorded.out)) for path in sorted(recorded.out.rglob("*")) if path.is_file()]
    assert files == [f"mine/rank{rank}/{name}" for rank in (0, 1) for name in ("run.json", "trace.json.gz")]
    runs = [content(recorded.out / "mine" / f"rank{rank}" / "run.json") for rank in (0, 1)]
    assert [(run["name"], run["job"]["rank"], run["job"]["world_size"]) for run in runs] == [
        ("mine_rank0", 0, 2),
        ("mine_rank1", 1, 2),
    ]
    assert runs[0]["job"]["id"] == runs[1]["job"]["id"]
    assert runs[0]["config"]["model"] == "Qwen3-8B"
    assert "dtype" not in runs[0]["config"]


def test_sglang_ends_a_profile_of_steps_by_itself(recorded: Recording) -> None:
    engine = Sglang(write_sglang())
    recorded(engine, steps=3, seconds=None)
    assert [(path, (body or {}).get("num_steps")) for path, body in engine.requests] == [("/start_profile", 3)]
    assert (recorded.out / "mine" / "trace.json.gz").exists()


def test_an_older_sglang_does_not_know_annotations(recorded: Recording) -> None:
    engine = Sglang(write_sglang(), fields=("output_dir", "record_shapes"))
    recorded(engine)
    assert [sorted(body or {}) for _, body in engine.requests] == [
        ["detailed_annotations", "output_dir", "record_shapes"],
        ["output_dir", "record_shapes"],
        [],
    ]


def test_a_key_is_read_from_the_environment(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Sglang(write_sglang(), key="k")
    with pytest.raises(CaptureError, match=r"answered 401 .* put it into the variable RIDGELINE_API_KEY"):
        recorded(engine)
    monkeypatch.setenv("RIDGELINE_API_KEY", "k")
    assert recorded(engine).path == recorded.out / "mine"


def test_a_profiler_that_is_on_already(recorded: Recording) -> None:
    with pytest.raises(CaptureError, match=r"may be on already; stop that with `curl -X POST http://.*/stop_profile`"):
        recorded(Sglang(write_sglang(), is_on=True))


def test_traces_elsewhere_cut_off_and_empty(recorded: Recording, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"wrote no trace there in 0\.3 s: name the folder .* with --traces DIR"):
        recorded(Sglang(lambda folder: write_sglang()(tmp_path)))

    def cut(folder: Path) -> None:
        write_sglang()(folder)
        (path,) = folder.iterdir()
        path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(CaptureError, match=r"TP-0\.trace\.json\.gz: still being written, or cut off"):
        recorded(Sglang(cut))
    host = kineto.operator("aten::empty", 0.0, 1.0, 1)
    with pytest.raises(CaptureError, match="an empty trace, without a kernel: send requests while the engine records"):
        recorded(Sglang(lambda folder: trace(folder / "1-TP-0.trace.json.gz", events=[host])))
    assert not list(recorded.out.glob("*"))


def test_a_trace_is_waited_for_while_it_is_written_and_while_a_rank_is_missing(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ridgeline.capture.engines.traces.SILENCE_S", 0.01)

    def slowly(folder: Path) -> None:
        write_sglang()(folder)
        (path,) = folder.iterdir()
        data = path.read_bytes()
        path.write_bytes(data[:100])
        threading.Timer(0.1, path.write_bytes, [data]).start()
        second = folder / path.name.replace("TP-0", "TP-1")
        threading.Timer(0.2, trace, [second], {"rank": 1, "world_size": 2}).start()

    recorded(Sglang(slowly, tensor_parallel=2))
    assert [line.partition(" in ")[0] for line in recorded.lines[1:-1]] == ["waiting until the engine's traces"]
    assert [path.name for path in sorted((recorded.out / "mine").iterdir())] == ["rank0", "rank1"]
    assert content(recorded.out / "mine" / "rank0" / "trace.json.gz")["traceEvents"] == kineto.matmul_step()


def test_ranks_that_are_missing_or_empty_are_left_out_with_a_line(recorded: Recording) -> None:
    def write(folder: Path) -> None:
        write_sglang(2)(folder)
        trace(folder / "1-TP-2.trace.json.gz", 2, 4, events=[])

    recorded(Sglang(write, tensor_parallel=4))
    assert [path.name for path in sorted((recorded.out / "mine").iterdir())] == ["rank0", "rank1"]
    assert [line.partition(": ")[2] for line in recorded.lines[1:3]] == [
        "found 3 traces, expected 4, one a rank: the others may be on another machine",
        "an empty trace, without a kernel: left out",
    ]


def test_graphs_bring_the_traces_of_their_capture(recorded: Recording, folder: Path) -> None:
    replay = [kineto.launch(1.0, 5, "cudaGraphLaunch"), kineto.kernel("k", 2.0, 1.0, 5)]
    engine = Vllm(lambda folder: trace(folder / NAME.format(0), events=replay), folder)
    recorded(engine, folder=folder)
    assert "replay graphs, and the engine's folder has no traces of their capture" in recorded.lines[1]
    assert "start the engine as capture/engines/README.md says" in recorded.lines[1]

    captures = folder / "capture_traces"
    captures.mkdir()
    trace(captures / "graph_capture_rank_0.16.pt.trace.json.gz")
    (captures / "cut.json.gz").write_bytes(b"\x1f\x8b")
    details = [{"file": "graph_capture_rank_0.16.pt.trace.json.gz", "batch_size": 16, "mode": "FULL"}]
    (captures / "execution_details.json").write_text(json.dumps(details))
    (folder / NAME.format(0)).unlink()
    recorded.lines.clear()
    recorded(engine, folder=folder)
    assert len(recorded.lines) == 2
    stored = recorded.out / "mine" / "capture_traces"
    assert sorted(path.name for path in stored.iterdir()) == [
        "execution_details.json",
        "graph_capture_rank_0.16.pt.trace.json.gz",
    ]
    assert content(stored / "execution_details.json") == details
    assert "host_name" not in content(stored / "graph_capture_rank_0.16.pt.trace.json.gz")
    assert content(recorded.out / "mine" / "run.json")["config"]["execution"] == "cuda_graph"


def test_sglang_captures_of_this_rank_come_from_its_own_folder(recorded: Recording, folder: Path) -> None:
    captures = folder / "graph_capture_profile"
    captures.mkdir()
    for rank in (0, 1):
        trace(captures / f"DecodeCudaGraphRunner_bs_32_rank{rank}.json.gz")
    engine = Sglang(write_sglang(2), folder, tensor_parallel=2)
    recorded(engine, folder=folder)
    assert "output_dir" not in (engine.requests[0][1] or {})
    for rank in (0, 1):
        stored = recorded.out / "mine" / f"rank{rank}" / "capture_traces"
        assert [path.name for path in stored.iterdir()] == [f"DecodeCudaGraphRunner_bs_32_rank{rank}.json.gz"]


def test_a_run_is_replaced_and_another_folder_is_refused(recorded: Recording) -> None:
    recorded(Sglang(write_sglang(2), tensor_parallel=2))
    recorded(Sglang(write_sglang()))
    assert sorted(path.name for path in (recorded.out / "mine").iterdir()) == ["run.json", "trace.json.gz"]
    other = recorded.out / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("")
    engine = Sglang(write_sglang())
    with pytest.raises(CaptureError, match="exists and is no run"):
        recorded(engine, name="other")
    assert engine.requests == []


def raise_once_on(engine: StandIn, number: signal.Signals) -> None:
    """Send this process a signal as soon as the engine records."""

    def send() -> None:
        while not engine.is_on:
            time.sleep(0.01)
        signal.raise_signal(number)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.process
def test_the_program_makes_the_load_and_a_signal_ends_the_recording(recorded: Recording, tmp_path: Path) -> None:
    engine = Sglang(write_sglang())
    load = ["-c", f"open({str(tmp_path / 'load')!r}, 'w'); raise SystemExit(3)"]
    assert recorded(engine, seconds=None, program=[sys.executable, *load]).exit_code == 3
    assert (tmp_path / "load").exists()
    (tmp_path / "no-program").write_text("")
    (tmp_path / "no-program").chmod(0o755)
    with pytest.raises(CaptureError, match="no-program: Exec format error: expected a program"):
        recorded(engine, program=[str(tmp_path / "no-program")])
    assert not engine.is_on
    before = signal.getsignal(signal.SIGTERM)
    raise_once_on(engine, signal.SIGTERM)
    assert recorded(engine, seconds=None, program=["sleep", "20"]).exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        raise_once_on(engine, signal.SIGINT)
        assert recorded(engine, seconds=None).exit_code == 0
    finally:
        signal.signal(signal.SIGINT, interrupt)
