"""Sweeps: loading files, skipping what is there, outcomes that are not `ok`, directories that are whole or absent."""

import gc
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from ridgeline.capture.ceilings import measure as ceilings
from ridgeline.capture.configuration import points as config
from ridgeline.capture.decoder.decoder import Decoder, random_decoder
from ridgeline.capture.errors import CaptureError, ConfigError, DeviceError
from ridgeline.capture.measuring import profiling, timing
from ridgeline.capture.recording import instruments, run_directory
from ridgeline.capture.sweep import recording, sweep
from tests.capture.conftest import Captured, make_point

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "capture" / "configs").glob("*.toml"))


@pytest.fixture
def out(tmp_path: Path, captured: Captured) -> Path:
    """An empty folder of runs whose ceilings are known."""
    (tmp_path / "ceilings.json").write_bytes((captured.folder / "ceilings.json").read_bytes())
    return tmp_path


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("not to be called")


def out_of_memory(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


@pytest.mark.process
def test_importing_the_front_door_does_not_import_torch() -> None:
    code = (
        "import sys, capture, ridgeline.capture.sweep.sweep, ridgeline.capture.ceilings.measure\n"
        f"ridgeline.capture.sweep.sweep.describe(ridgeline.capture.sweep.sweep.load({str(CONFIGS[0])!r}))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_load(path: Path) -> None:
    points = sweep.load(path)
    assert points
    assert {point.experiment for point in points} == {path.stem}


def test_a_label_of_the_command_line_takes_the_place_of_the_configurations(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        'model = "tiny-llama"\nmode = "ar"\nprompt_tokens = 8\ngenerated_tokens = 4\nexperiment = "mine"\n'
        '[[runs]]\n[[runs]]\nexperiment = "theirs"\nbatch = 2\n'
    )
    assert [point.experiment for point in sweep.load(path)] == ["mine", "theirs"]
    assert [point.experiment for point in sweep.load(path, "after")] == ["after", "after"]
    with pytest.raises(ConfigError, match="characters that cannot be printed"):
        sweep.load(path, "a\nb")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "{path}: no such file; expected a TOML configuration."),
        ("model = ", "{path}: is not TOML: Invalid value (at end of document)."),
        ("batches = 0", 'c.toml: unknown key "batches"; did you mean "batch"?'),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "c.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        sweep.load(path)
    assert str(refused.value) == message.format(path=path)


def test_a_dry_run_names_and_sizes_the_points() -> None:
    (description,) = sweep.describe([make_point(model="llama-3-8b", mode="ar", dtype="bf16")])
    assert description.name == "llama-3-8b_ar_p16_g12_b1_bf16_eager"
    assert description.footprint.weights_bytes == 2 * 8_030_261_248
    assert description.footprint.cache_bytes == 28 * 131_072


def test_a_second_capture_skips_what_is_there(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in captured.folder.rglob("*")}
    monkeypatch.setattr(recording, "random_decoder", refuse)
    monkeypatch.setattr(ceilings, "measure", refuse)
    again = sweep.run(captured.points, captured.folder, isolate=False)
    assert [result.skipped for result in again] == [True, True, True]
    assert [result.tokens_per_s for result in again] == [result.tokens_per_s for result in captured.results]
    assert {path: path.stat().st_mtime_ns for path in captured.folder.rglob("*")} == before


@pytest.mark.process
def test_a_folder_that_is_complete_starts_nothing(captured: Captured) -> None:
    points = [msgspec.structs.replace(point, device="auto") for point in captured.points]
    code = (
        "import subprocess, sys, msgspec\n"
        "from ridgeline.capture.configuration import point\n"
        "from ridgeline.capture.sweep import sweep\n"
        "subprocess.Popen = None\n"
        f"points = msgspec.json.decode({msgspec.json.encode(points)!r}, type=list[point.Point])\n"
        f"results = sweep.run(points, {str(captured.folder)!r})\n"
        "assert [result.skipped for result in results] == 3 * [True]\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.process
def test_points_run_in_a_process_of_their_own(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "random_decoder", refuse)
    points = [make_point(model="tiny-llama", mode="ar", batch=batch, repeats=1, device="auto") for batch in (1, 2)]
    messages: list[str] = []
    results = sweep.run(points, out, progress=messages.append, counters="off")
    assert [result.outcome for result in results] == ["ok", "ok"]
    assert {"run.json", "trace.json.gz", "trace.et.json.gz", "ceilings.json"} <= {
        path.name for path in results[1].path.iterdir()
    }
    assert f"2/2 {points[1].directory}: profiling" in messages
    if not torch.cuda.is_available():  # the folder has the ceilings of a CPU
        assert not [message for message in messages if message.startswith("ceilings")]


def test_another_configuration_under_the_same_name_is_refused(captured: Captured) -> None:
    changed = msgspec.structs.replace(captured.points[0], repeats=7)
    with pytest.raises(CaptureError, match=r"holds another configuration \(repeats = 2 there, 7 here\)"):
        sweep.run([changed], captured.folder)


def test_a_directory_that_is_no_run_is_refused(out: Path) -> None:
    point = make_point(model="tiny-llama", mode="ar")
    (out / point.directory).mkdir()
    with pytest.raises(CaptureError, match=r"has no run\.json of this format; expected a run"):
        sweep.run([point], out)


def test_out_of_memory_is_an_outcome_and_the_sweep_goes_on(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [make_point(model="tiny-llama", mode="ar", batch=batch, repeats=1) for batch in (2, 1)]
    made = []

    def remember(*arguments: Any, **keys: Any) -> Decoder:
        decoder = random_decoder(*arguments, **keys)
        made.append(weakref.ref(decoder.network))
        return decoder

    monkeypatch.setattr(recording, "random_decoder", remember)
    with monkeypatch.context() as patch:
        patch.setattr(instruments, "Laps", out_of_memory)
        failed, second = sweep.run(points, out, isolate=False)
    assert (failed.outcome, second.outcome) == ("oom", "oom")
    assert failed.message == "CUDA out of memory. Tried to allocate 2.00 GiB."
    assert {path.name for path in failed.path.iterdir()} == {"run.json", "ceilings.json"}
    gc.collect()
    assert [reference() for reference in made] == [None, None]
    again = sweep.run(points[:1], out, isolate=False)
    assert (again[0].outcome, again[0].skipped) == ("oom", True)


def test_a_failure_is_an_outcome_and_is_tried_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [make_point(model="tiny-llama", mode="ar", batch=batch, repeats=1) for batch in (1, 2)]
    attempts = iter([ValueError("odd batch\nsecond line")])
    real = profiling.Tracing

    def fail_once(*arguments: Any, **keys: Any) -> Any:
        for error in attempts:
            raise error
        return real(*arguments, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(profiling, "Tracing", fail_once)
        failed, good = sweep.run(points, out, isolate=False)
    assert (failed.outcome, failed.message) == ("error", "ValueError: odd batch")
    assert good.outcome == "ok"
    assert "trace.json.gz" not in {path.name for path in failed.path.iterdir()}
    again = sweep.run(points, out, isolate=False)
    assert [(result.outcome, result.skipped) for result in again] == [("ok", False), ("ok", True)]


def test_what_another_process_completes_meanwhile_stays(
    out: Path, captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = captured.points[:2]

    def overtaken(*_: Any, **__: Any) -> Any:
        for point in points:
            shutil.copytree(captured.folder / point.directory, out / point.directory)
        raise ValueError("too late")

    monkeypatch.setattr(profiling, "Tracing", overtaken)
    results = sweep.run(points, out, isolate=False)
    assert [(result.outcome, result.skipped) for result in results] == [("ok", False), ("ok", True)]
    assert [result.tokens_per_s for result in results] == [result.tokens_per_s for result in captured.results[:2]]
    for point in points:
        for path in (captured.folder / point.directory).iterdir():
            assert (out / point.directory / path.name).read_bytes() == path.read_bytes()
    assert not list(out.glob("*.partial"))


def test_an_interrupted_run_leaves_nothing(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(profiling, "Tracing", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sweep.run([make_point(model="tiny-llama", mode="ar", repeats=1)], out, isolate=False)
    assert [path.name for path in out.iterdir()] == ["ceilings.json"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_missing_device_is_refused_before_anything_runs(out: Path) -> None:
    points = [make_point(model="tiny-llama", mode="ar"), make_point(model="tiny-llama", mode="ar", device="cuda")]
    with pytest.raises(DeviceError, match=r'device = "cuda", but torch sees no CUDA device'):
        sweep.run(points, out, isolate=False)
    assert [path.name for path in out.iterdir()] == ["ceilings.json"]


def test_a_checkpoint_is_stored_by_name_alone(tmp_path: Path) -> None:
    (tmp_path / "secret" / "weights").mkdir(parents=True)
    (tmp_path / "secret" / "weights" / "config.json").write_text("{}")
    (point,) = config.points(
        {
            "model": "tiny-llama",
            "mode": "ar",
            "prompt_tokens": 4,
            "generated_tokens": 4,
            "checkpoint": str(tmp_path / "secret" / "weights"),
        }
    )
    assert run_directory.config_of(point, "cpu")["checkpoint"] == "weights"
    assert point.directory.endswith("_checkpoint-weights")


def _breaks_a_capture() -> None:
    try:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nmore")


def _breaks_a_library() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (
            _breaks_a_capture,
            "CUDA out of memory. Tried to allocate 2.00 GiB. "
            "(RuntimeError: CUDA error: operation failed due to a previous error during capture)",
        ),
        (_breaks_a_library, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_runs_out_inside_something_else_is_out_of_memory(
    fail: Any, message: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "warm_up", lambda *_: fail())
    (result,) = sweep.run([make_point(model="tiny-llama", mode="ar")], out, isolate=False)
    assert (result.outcome, result.message) == ("oom", message)
