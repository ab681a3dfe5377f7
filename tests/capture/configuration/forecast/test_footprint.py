"""Predictions: forwards against a decoder's own, memory against what is made, time against hand arithmetic."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.capture.configuration.forecast import roofs
from ridgeline.capture.configuration.forecast.footprint import forward_seconds, predict, predict_time
from ridgeline.capture.configuration.forecast.forwards import dram_bytes, flops, forwards
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.decoder.decoder import random_decoder
from ridgeline.capture.measuring.execution import Direct
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import MODES
from ridgeline.capture.modes.dlm_block_causal import block_causal
from ridgeline.capture.sweep import sweep
from tests.capture.conftest import make_point

ROOT = Path(__file__).parents[4]
H200 = Roofs(of="an H200", compute={"bf16": 801e12, "fp32": 51e12}, bytes_per_s=4.46e12)
BIG = {"prompt_tokens": 1024, "generated_tokens": 128, "dtype": "bf16", "device": "auto"}


def llada(mode: str, **keys: Any) -> Point:
    return make_point(**{"model": "llada-8b", "mode": mode, "block": 32, **BIG, **keys})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("block", [{"block": 4}, {"block": 12}, {"block": 4, "schedule": [[1, 3]]}, {"factor": 1.5}])
def test_forwards_are_those_that_the_decoder_runs(
    mode: str, block: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = make_point(model="tiny-llada", mode=mode, **block)
    device = torch.device("cpu")
    decoder = random_decoder(PRESETS["tiny-llada"], torch.float32, device, capacity=28, seed=0)
    generation: Any = MODES[mode](decoder, point, Labels())
    ran: list[tuple[int, int]] = []  # the positions and the logits of each forward
    hidden, forward = decoder.hidden, decoder.forward

    def forward_hidden(tokens: torch.Tensor, *arguments: Any) -> torch.Tensor:
        ran.append((tokens.shape[1], 0))
        return hidden(tokens, *arguments)

    def forward_logits(*arguments: Any, **keys: Any) -> torch.Tensor:
        logits = forward(*arguments, **keys)
        ran[-1] = (ran[-1][0], logits.shape[1])
        return logits

    monkeypatch.setattr(decoder, "hidden", forward_hidden)
    monkeypatch.setattr(decoder, "forward", forward_logits)
    runner = Direct(generation, device)
    for step in generation.steps:
        runner.run(step)
    steps = zip(generation.steps, ran, strict=True)
    predicted: Counter[tuple[str, int, int, int]] = Counter()
    for each in forwards(point):
        predicted[each.kind, each.query, each.context, each.logits] += each.count
    assert predicted == Counter((step.kind, query, step.context, logits) for step, (query, logits) in steps)


def test_flops_and_bytes_of_a_step_are_those_of_the_closed_form() -> None:
    (step,) = forwards(llada("dlm_full"))
    linear, attention, head = 2 * 1152 * 6_979_321_856, 4 * 1152 * 1152 * 4096 * 32, 2 * 1152 * 4096 * 126_464
    assert flops(step, llada("dlm_full")) == linear + attention + head
    reuse = next(step for step in forwards(llada("dlm_block_dual")) if step.kind == "reuse")
    weights = 2 * (6_979_321_856 + 4096 * 126_464)
    assert weights < dram_bytes(reuse, llada("dlm_block_dual")) < 1.06 * weights


def test_a_causal_prefill_is_half_a_square() -> None:
    prefill = forwards(make_point(model="llama-3-8b", mode="ar", **BIG))[0]
    assert prefill.pairs == 1024 * 1025 // 2


@pytest.mark.parametrize(("prompt", "block"), [(16, 4), (16, 12), (17, 4), (3, 4), (4, 4), (7, 6), (1, 12)])
def test_a_block_causal_prefill_has_the_pairs_its_mask_lets_see(prompt: int, block: int) -> None:
    point = make_point(model="tiny-llada", mode="dlm_block_causal", block=block, prompt_tokens=prompt)
    mask = block_causal(prompt, prompt, block, torch.device("cpu"))
    assert forwards(point)[0].pairs == (prompt * prompt if mask is None else int(mask.sum()))


@pytest.mark.parametrize(("model", "logits"), [("tiny-llada", {0}), ("tiny-dream", {1})])
def test_what_only_caches_has_no_logits_unless_they_are_shifted(model: str, logits: set[int]) -> None:
    steps = forwards(make_point(model=model, mode="dlm_block_causal", block=4))
    assert {step.logits for step in steps if step.kind in ("prefill", "commit")} == logits


def test_seconds_at_the_roof_by_hand() -> None:
    full, reuse = llada("dlm_full"), llada("dlm_block_dual")
    (denoise,) = forwards(full)
    assert forward_seconds(denoise, full, H200) == pytest.approx(flops(denoise, full) / 801e12)
    assert forward_seconds(denoise, full, H200) == pytest.approx(22.4e-3, rel=0.01)
    step = next(step for step in forwards(reuse) if step.kind == "reuse")
    assert forward_seconds(step, reuse, H200) == pytest.approx(3.54e-3, rel=0.01)


def test_a_point_takes_its_repeats_a_warm_up_and_a_profile() -> None:
    short, long = llada("dlm_full", steps=4, repeats=1), llada("dlm_full", repeats=1)
    assert predict_time(short, H200) == pytest.approx(3 * 4 * 22.43e-3, rel=0.01)
    generation = 128 * 22.43e-3
    assert predict_time(long, H200) == pytest.approx(generation + 2 * 1.0, rel=0.01)
    assert predict_time(llada("dlm_full", repeats=5), H200) == pytest.approx(5 * generation + 2 * 1.0, rel=0.01)


def test_fewer_layers_need_less_of_everything() -> None:
    whole, part = llada("dlm_block_dual"), llada("dlm_block_dual", layers=8)
    layer_bytes = 2 * (218_103_808 + 2 * 4096)
    assert predict(whole).weights_bytes - predict(part).weights_bytes == 24 * layer_bytes
    assert predict(part).cache_bytes * 4 == predict(whole).cache_bytes
    assert predict_time(part, H200) < predict_time(whole, H200) / 2


def test_predicted_memory_of_weights_and_cache_is_what_is_made() -> None:
    point = make_point(model="tiny-llama", mode="ar", batch=3)
    decoder = random_decoder(PRESETS["tiny-llama"], torch.float32, torch.device("cpu"), capacity=28, seed=0)
    made = sum(weight.nbytes for weight in decoder.network.parameters())
    assert predict(point).weights_bytes == made
    assert predict(point).cache_bytes == decoder.cache(batch=3, capacity=point.length).nbytes


@pytest.mark.parametrize("mode", MODES)
def test_predicted_caches_are_those_of_the_mode(mode: str) -> None:
    guidance = {} if mode == "ar" else {"guidance": 1.5}
    point = make_point(model="tiny-llada", mode=mode, batch=2, **guidance)
    decoder = random_decoder(PRESETS["tiny-llada"], torch.float32, torch.device("cpu"), capacity=28, seed=0)
    generation = MODES[mode](decoder, point, Labels())
    assert predict(point).cache_bytes == generation.cache_bytes
    assert predict(point).logits_bytes >= generation.logits_bytes


def test_a_full_forward_needs_logits_of_every_position() -> None:
    assert predict(llada("dlm_full")).cache_bytes == 0
    assert predict(llada("dlm_full")).logits_bytes > 1152 * 126_464 * (2 + 4)


def test_guidance_doubles_the_batch() -> None:
    plain, guided = predict(llada("dlm_block_dual")), predict(llada("dlm_block_dual", guidance=1.5))
    assert guided.cache_bytes == 2 * plain.cache_bytes
    assert guided.activations_bytes == 2 * plain.activations_bytes
    assert guided.weights_bytes == plain.weights_bytes


def test_a_float64_softmax_needs_four_times_the_bytes_of_a_float32_one() -> None:
    narrow, wide = (predict(llada("dlm_full", sampling=width)).logits_bytes for width in ("fp32", "fp64"))
    assert wide - narrow == 1152 * 126_464 * 12


def test_an_unrotated_cache_is_as_large() -> None:
    assert predict(llada("dlm_block_dual", variant="unrotated")) == predict(llada("dlm_block_dual"))


def test_graphs_keep_memory_of_their_own() -> None:
    eager, graph = predict(llada("dlm_full")), predict(llada("dlm_full", execution="cuda_graph"))
    assert (eager.static_bytes, graph.static_bytes) == (0, eager.logits_bytes)
    assert graph.total_bytes == eager.total_bytes + eager.logits_bytes
    assert predict(llada("dlm_full", execution="compile", device="cpu")).static_bytes == 0


ROWS = [
    {"resource": "bandwidth", "level": "dram", "value": 20e9, "unit_of_value": "byte/s"},
    {"resource": "bandwidth", "level": "dram", "value": 30e9, "unit_of_value": "byte/s"},
    {"resource": "bandwidth", "level": "l2", "value": 90e9, "unit_of_value": "byte/s"},
    {"resource": "compute", "precision": "fp32", "value": 1e11, "unit_of_value": "FLOP/s"},
    {"resource": "compute", "precision": "fp64", "value": 5e10, "unit_of_value": "FLOP/s"},
    {"resource": "compute", "precision": "int8", "value": 9e12, "unit_of_value": "OP/s"},
]


def test_roofs_measured_in_the_folder_come_first(tmp_path: Path) -> None:
    (tmp_path / "ceilings.json").write_text(json.dumps({"device": "Some CPU", "ceilings": ROWS}))
    found = roofs.find(tmp_path)
    assert found.of == "Some CPU as measured in ceilings.json"
    assert (found.bytes_per_s, found.flops_per_s("fp64"), found.flops_per_s("bf16")) == (30e9, 5e10, 1e11)


@pytest.mark.parametrize("text", ["no json", "{}", json.dumps({"device": "x", "ceilings": ROWS[:3]})])
def test_a_useless_file_of_ceilings_is_passed_over(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofs, "_device", lambda: None)
    (tmp_path / "ceilings.json").write_text(text)
    assert roofs.find(tmp_path) == roofs.find()


def test_the_device_of_this_machine_is_known_by_its_datasheet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofs, "_device", lambda: ("NVIDIA A100-SXM4-80GB", 85_899_345_920))
    found = roofs.find()
    assert found.of == "NVIDIA A100 SXM 80GB by its datasheet"
    assert found.flops_per_s("bf16") == 312e12


@pytest.mark.parametrize("device", [None, ("Some Accelerator", 1)])
def test_without_a_known_device_an_h200_stands_in(
    monkeypatch: pytest.MonkeyPatch, device: tuple[str, int] | None
) -> None:
    monkeypatch.setattr(roofs, "_device", lambda: device)
    assert roofs.find().of == "NVIDIA H200 by its datasheet, as no known device is here"
    assert roofs.find().bytes_per_s == 4.8e12


def test_a_description_says_how_large_how_long_and_by_whose_roofs(tmp_path: Path) -> None:
    point = llada("dlm_full")
    (tmp_path / "ceilings.json").write_text(json.dumps({"device": "Some CPU", "ceilings": ROWS}))
    (described,) = sweep.describe([point], tmp_path)
    assert described.name == point.directory
    assert described.footprint == predict(point)
    assert described.seconds == predict_time(point, roofs.find(tmp_path))
    assert described.roofs_of == "Some CPU as measured in ceilings.json"


@pytest.mark.parametrize("path", sorted((ROOT / "capture" / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_shipped_configurations_can_be_described(path: Path) -> None:
    points = sweep.load(path)
    described = sweep.describe(points)
    assert len({each.name for each in described}) == len(points) > 0
    assert {point.experiment for point in points} == {path.stem}
    assert all((each.seconds or 0) > 0 and each.footprint.total_bytes > 0 for each in described)


def test_the_demo_is_small_and_has_every_mode() -> None:
    points = sweep.load(ROOT / "capture" / "configs" / "demo.toml")
    assert sorted(point.mode for point in points) == sorted(MODES)
    assert {point.execution for point in points} == {"eager"}


def test_the_smoke_test_has_every_mode_eager_and_replayed_each_kind_compiled_and_every_variant() -> None:
    points = sweep.load(ROOT / "capture" / "configs" / "smoke-gpu.toml")
    modes = {way: {point.mode for point in points if point.execution == way} for way in ("eager", "cuda_graph")}
    assert modes["eager"] == modes["cuda_graph"] == set(MODES)
    compiled = {each.kind for point in points if point.execution == "compile" for each in forwards(point)}
    assert compiled == {"prefill", "decode", "denoise", "refresh", "reuse", "commit"}
    assert {point.variant for point in points} == {"clean", "unrotated", "synchronous", "faithful"}
    assert {point.batch for point in points} == {1, 4}


def test_nothing_of_this_needs_torch_or_what_only_analysis_needs() -> None:
    code = (
        "import sys\n"
        "from ridgeline.capture.configuration import constraints, expansion, points, values\n"
        "from ridgeline.capture.counters import ncu_csv\n"
        "from ridgeline.capture.configuration.forecast import footprint, forwards, roofs\n"
        "sizes = dict(prompt_tokens=8, generated_tokens=8)\n"
        "(point,) = points.points(dict(model='llada-8b', mode='dlm_full', **sizes))\n"
        "footprint.predict_time(point, roofs.find())\n"
        "assert not {'torch', 'duckdb', 'transformers', 'polars', 'plotly', 'click'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
