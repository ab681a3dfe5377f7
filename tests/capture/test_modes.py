"""Decoding modes: caches that change nothing, commitments counted exactly, no token touched twice."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from capture.labels import Labels
from capture.models import Decoder
from capture.modes import MODES
from capture.modes.ar import Autoregressive
from capture.modes.dlm_block_dual import DualCacheDiffusion
from capture.modes.dlm_full import FullDiffusion

from .conftest import make_point

TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("batch", [1, 3])
def test_cached_decoding_equals_uncached(llama: Decoder, batch: int) -> None:
    generation = Autoregressive(llama, make_point(model="tiny-llama", mode="ar", batch=batch), Labels())
    for step in generation.steps:
        tokens = generation.canvas.tokens[:, : step.context]
        expected = llama.forward(tokens, causal=True, last=True)
        torch.testing.assert_close(generation.forward(step), expected, **TOLERANCE)
        generation.run(step)
        committed = generation.canvas.tokens[:, step.context]
        assert torch.equal(committed, expected[:, -1].argmax(-1))


def test_prefill_is_causal_and_diffusion_is_not(llama: Decoder) -> None:
    tokens = torch.arange(12)[None]
    changed = tokens.clone()
    changed[0, -1] = 99

    def first(ids: Tensor, *, causal: bool) -> Tensor:
        return llama.forward(ids, causal=causal)[:, 0]

    torch.testing.assert_close(first(tokens, causal=True), first(changed, causal=True), **TOLERANCE)
    assert not torch.allclose(first(tokens, causal=False), first(changed, causal=False), **TOLERANCE)


def test_our_forward_is_the_library_s(llama: Decoder) -> None:
    tokens = torch.arange(10)[None]
    expected = llama.network(input_ids=tokens, use_cache=False).logits
    torch.testing.assert_close(llama.forward(tokens, causal=True), expected, **TOLERANCE)


def test_reuse_right_after_a_refresh_equals_a_full_forward(llada: Decoder) -> None:
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4, batch=2)
    dual = DualCacheDiffusion(llada, point, Labels())
    refresh, reuse = dual.steps[4:6]
    full = llada.forward(dual.canvas.tokens)
    torch.testing.assert_close(dual.forward(refresh), full, **TOLERANCE)
    torch.testing.assert_close(dual.forward(reuse), full[:, 20:24], **TOLERANCE)


def test_reuse_is_stale_once_the_block_has_changed(llada: Decoder) -> None:
    """Guards the test above: the cached positions do remember the block as it was."""
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4)
    dual = DualCacheDiffusion(llada, point, Labels())
    dual.run(dual.steps[0])
    full = llada.forward(dual.canvas.tokens)[:, 16:20]
    assert not torch.allclose(dual.forward(dual.steps[1]), full, **TOLERANCE)


def test_a_dual_cache_refreshed_every_step_decodes_what_full_diffusion_does(llada: Decoder) -> None:
    keys: dict[str, Any] = {"model": "tiny-llada", "block": 4, "steps": 3, "batch": 2}
    dual = DualCacheDiffusion(llada, make_point(mode="dlm_block_dual", **keys), Labels())
    full = FullDiffusion(llada, make_point(mode="dlm_full", **keys), Labels())
    for ours, theirs in zip(dual.steps, full.steps, strict=True):
        assert ours.kind == "refresh"
        torch.testing.assert_close(dual.forward(ours), full.forward(theirs), **TOLERANCE)
        dual.run(ours)
        full.run(theirs)
        assert torch.equal(dual.canvas.tokens, full.canvas.tokens)


@pytest.mark.parametrize("model", ["llama", "llada"])
@pytest.mark.parametrize("mode", ["dlm_full", "dlm_block_dual"])
def test_a_step_commits_what_it_says_and_only_in_its_block(
    mode: str, model: str, request: pytest.FixtureRequest
) -> None:
    decoder = request.getfixturevalue(model)
    point = make_point(model=f"tiny-{model}", mode=mode, block=6, steps=8, batch=2)
    generation = MODES[mode](decoder, point, Labels())
    canvas = generation.canvas
    for step in generation.steps:
        tokens, masked = canvas.tokens.clone(), canvas.masked.clone()
        generation.run(step)
        committed = masked & ~canvas.masked
        assert committed.sum(-1).tolist() == [step.tokens, step.tokens]
        assert step.block is not None
        start = point.prompt_tokens + step.block * 6
        assert not committed[:, :start].any()
        assert not committed[:, start + 6 :].any()
        assert torch.equal(tokens[~committed], canvas.tokens[~committed])
    assert not canvas.masked.any()


def test_the_most_confident_positions_are_committed_first(llada: Decoder) -> None:
    generation = FullDiffusion(llada, make_point(model="tiny-llada", mode="dlm_full", steps=6), Labels())
    canvas = generation.canvas
    confidence = torch.linspace(0.1, 0.9, 12)[None]
    canvas.commit(16, confidence, torch.full((1, 12), 7), 2)
    canvas.commit(16, confidence, torch.full((1, 12), 8), 1)
    assert canvas.tokens[0, 16:].tolist() == [4094] * 9 + [8, 7, 7]


@pytest.mark.parametrize("mode", MODES)
def test_a_reset_generation_repeats_itself(mode: str, llada: Decoder) -> None:
    generation = MODES[mode](llada, make_point(model="tiny-llada", mode=mode), Labels())
    seen = []
    for _ in range(2):
        generation.reset()
        for step in generation.steps:
            generation.run(step)
        seen.append(generation.canvas.tokens.clone())
    assert torch.equal(*seen)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_no_step_waits_for_the_device(mode: str) -> None:
    from capture import models
    from capture.presets import PRESETS

    decoder = models.random(PRESETS["tiny-llada"], torch.bfloat16, torch.device("cuda"), capacity=28, seed=0)
    generation = MODES[mode](decoder, make_point(model="tiny-llada", mode=mode, block=4), Labels())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        for step in generation.steps:
            generation.run(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
