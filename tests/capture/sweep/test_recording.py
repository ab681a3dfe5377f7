"""A point's keys reach what runs it, and what is measured reaches the record."""

import gzip
import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.capture.counters import count as counting
from ridgeline.capture.measuring import peak_memory, profiler_cost, telemetry
from ridgeline.capture.measuring.execution import Direct, Prepared, prepare
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.denoising import Denoising
from ridgeline.capture.records import ProfilerCost, Record, Scaled
from ridgeline.capture.steps import Step
from ridgeline.capture.sweep import recording
from ridgeline.capture.sweep.recording import Workshop
from tests.capture.conftest import make_point

CPU = torch.device("cpu")


def recorded(directory: Path, **keys: Any) -> Record:
    point = make_point(model="tiny-llama", mode="ar", **keys)
    return recording.record(point, CPU, directory, Workshop(), lambda _: None)


def test_a_subset_of_the_layers_is_timed_at_two_depths_and_extrapolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[int] = []
    real = recording.ready

    def ready(point: Any, decoder: Any, *arguments: Any, **keys: Any) -> Any:
        depths.append(decoder.depth)
        return real(point, decoder, *arguments, **keys)

    monkeypatch.setattr(recording, "ready", ready)
    scaled = recorded(tmp_path, layers=2).scaled
    assert depths == [2, 1]
    assert isinstance(scaled, Scaled)
    assert (scaled.layers, scaled.other_depth, scaled.of) == (2, 1, 4)
    assert set(scaled.step_ns) == {"prefill", "decode"}


def test_half_of_the_layers_that_fail_cost_no_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = recording.ready

    def ready(point: Any, decoder: Any, *arguments: Any, **keys: Any) -> Any:
        if decoder.depth == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return real(point, decoder, *arguments, **keys)

    monkeypatch.setattr(recording, "ready", ready)
    result = recorded(tmp_path, layers=2)
    assert (result.outcome, result.message) == ("ok", None)
    assert result.scaled == Scaled(
        layers=2, other_depth=1, of=4, message="CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    assert [timing for timing in result.timings if timing.metric == "step"]
    assert (tmp_path / "trace.json.gz").exists()


def test_half_of_the_layers_have_the_device_to_themselves_and_counting_makes_the_whole_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []
    counted: list[tuple[Direct, int]] = []
    real = recording.ready

    def ready(point: Any, decoder: Any, *arguments: Any, **keys: Any) -> Any:
        alive.append(sum(reference() is not None for reference in made))
        prepared = real(point, decoder, *arguments, **keys)
        made.append(weakref.ref(prepared.launched))
        return prepared

    def count(point: Any, window: Any, launched: Direct, *_: Any) -> dict[str, Any]:
        counted.append((launched, len(launched.generation._cache.keys)))  # type: ignore[attr-defined]
        return {"outcome": "ok"}

    monkeypatch.setattr(recording, "ready", ready)
    monkeypatch.setattr(counting, "count", count)
    point, workshop = make_point(model="tiny-llama", mode="ar", layers=2), Workshop()
    recording.record(point, CPU, tmp_path, workshop, lambda _: None)
    assert alive == [0, 0]
    recording.count(point, CPU, tmp_path, workshop, lambda _: None, "cupti")
    assert [(launched is made[-1](), layers) for launched, layers in counted] == [(True, 2)]


def test_a_whole_point_is_counted_as_it_was_launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Direct] = []
    monkeypatch.setattr(counting, "count", lambda *arguments: counted.append(arguments[2]))
    point, workshop = make_point(model="tiny-llama", mode="ar"), Workshop()
    recording.record(point, CPU, tmp_path, workshop, lambda _: None)
    recording.count(point, CPU, tmp_path, workshop, lambda _: None, "auto")
    assert counted == [workshop.launched]
    assert counted != [None]


def test_the_attention_asked_for_is_the_one_that_runs(tmp_path: Path) -> None:
    assert recorded(tmp_path, attention="math").attention == ["math"]


def test_the_execution_asked_for_is_the_one_that_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def eager(*arguments: Any, execution: str, **keys: Any) -> Any:
        asked.append(execution)
        return prepare(*arguments, execution="eager", **keys)

    monkeypatch.setattr(recording, "prepare", eager)
    assert recorded(tmp_path, execution="compile").outcome == "ok"
    assert asked == ["compile"]


def test_energy_is_shared_among_the_tokens_of_all_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def two_seconds(_: torch.device) -> Iterator[list[telemetry.Sample]]:
        yield [(second * 10**9, 1.0, 48.0 * second, 1, 1, 1, 1, 0) for second in (0, 1, 2)]

    monkeypatch.setattr(telemetry, "recorded", two_seconds)
    energy = recorded(tmp_path, repeats=4).energy
    assert energy is not None
    assert (energy.joules, energy.joules_per_token) == (96.0, 96.0 / (4 * 12))


def test_the_peak_is_forgotten_once_weights_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[torch.device] = []
    monkeypatch.setattr(peak_memory, "reset_peak", forgotten.append)
    recorded(tmp_path)
    assert forgotten == [CPU]


def test_a_trace_shows_the_waits_that_timed_steps_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at the end of each step, in the step's span, whether it is timed, traced or run before those traced."""
    ran: list[Step] = []
    learnt: list[Step] = []
    issue, learn = Direct.issue, Denoising.learn
    monkeypatch.setattr(Direct, "issue", lambda self, step: (ran.append(step), issue(self, step)))
    monkeypatch.setattr(Denoising, "learn", lambda self, step: (learnt.append(step), learn(self, step)))
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4, threshold=1.0)
    result = recording.record(point, CPU, tmp_path, Workshop(), lambda _: None)
    assert ran == learnt
    events = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    spans = [event for event in events if event["name"].startswith("phase=")]
    waits = [event["ts"] for event in events if event["name"].startswith("aten::is_nonzero")]
    assert len(spans) == len(result.window) == len(waits)
    assert [sum(span["ts"] <= ts < span["ts"] + span["dur"] for ts in waits) for span in spans] == [1, 1, 1]


def keeps_a_generation(workshop: Workshop) -> bool:
    return workshop.launched is not None


def test_a_decoder_is_kept_for_the_same_weights_alone_and_a_generation_for_none() -> None:
    workshop, point = Workshop(), make_point(model="tiny-llama", mode="ar")
    first = workshop.decoder(point, CPU)
    workshop.launched = recording.ready(point, first, CPU, Labels(), lambda _: None).launched
    assert keeps_a_generation(workshop)
    assert workshop.decoder(make_point(model="tiny-llama", mode="dlm_full"), CPU) is first
    assert not keeps_a_generation(workshop)
    for change in ({"seed": 1}, {"dtype": "bf16"}, {"kv_heads": 4}, {"fused": True}):
        assert workshop.decoder(make_point(model="tiny-llama", mode="ar", **change), CPU) is not first, change


def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have points take another runner for a graph's, as this machine has no graphs."""

    def direct(generation: Any, device: torch.device, **keys: Any) -> Prepared:
        prepared = prepare(generation, device, **keys)
        return Prepared(Direct(generation, device), prepared.launched, prepared.seconds)

    monkeypatch.setattr(recording, "prepare", direct)


def test_the_profiler_s_cost_is_measured_where_steps_are_replayed_before_they_are_profiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[bool] = []

    def calibrated(_: torch.device) -> ProfilerCost:
        there.append((tmp_path / "trace.json.gz").exists())
        return ProfilerCost(graph_node_ns=250.5, method="by hand")

    monkeypatch.setattr(profiler_cost, "calibrated", calibrated)
    assert recorded(tmp_path).profiler is None
    (tmp_path / "trace.json.gz").unlink()
    replayed(monkeypatch)
    recorded(tmp_path)
    assert there == [False]
    assert json.loads((tmp_path / "run.json").read_bytes())["profiler"] == {
        "graph_node_ns": 250.5,
        "method": "by hand",
        "graphs": [],
        "message": None,
    }


def test_a_cost_that_cannot_be_measured_costs_no_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def calibrated(_: torch.device) -> ProfilerCost:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.00 MiB.\nmore")

    monkeypatch.setattr(profiler_cost, "calibrated", calibrated)
    replayed(monkeypatch)
    result = recorded(tmp_path)
    assert (result.outcome, result.message) == ("ok", None)
    assert result.profiler == ProfilerCost(message="CUDA out of memory. Tried to allocate 16.00 MiB.")
    assert (tmp_path / "trace.twin.json.gz").exists()


def test_compiled_steps_are_compiled_once_and_not_in_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def count(module: Any, _inputs: Any) -> Any:
        compiled.append(module)
        return module.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda work, **_: real(work, backend=count, fullgraph=True, dynamic=False))
    torch.compiler.reset()
    assert recorded(tmp_path, execution="compile", layers=1, repeats=1).outcome == "ok"
    assert len(compiled) == 2, "prefill and decode"
