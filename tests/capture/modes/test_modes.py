"""Decoding modes: caches that change nothing, commitments counted exactly, no token touched twice."""

import warnings
from collections import Counter
from itertools import product
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.decoder import Decoder, random_decoder
from ridgeline.capture.measuring.execution import Direct, walk
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import MODES
from ridgeline.capture.modes.ar import Autoregressive
from ridgeline.capture.modes.denoising import Denoising
from ridgeline.capture.modes.dlm_block_causal import BlockCausalDiffusion, block_causal
from ridgeline.capture.modes.dlm_block_dual import DualCacheDiffusion
from ridgeline.capture.modes.dlm_block_prefix import PrefixCacheDiffusion
from ridgeline.capture.modes.dlm_full import FullDiffusion
from ridgeline.capture.modes.dlm_semi_ar import SemiAutoregressive
from ridgeline.capture.modes.generation import Generation
from ridgeline.capture.steps import Step
from tests.capture.conftest import make_point
from tests.sampling import every

TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
CPU = torch.device("cpu")
DIFFUSION = [mode for mode in MODES if mode != "ar"]
PROMPT, LENGTH = 16, 28


def begin(mode: type[Generation], decoder: Decoder, **keys: Any) -> Any:
    """A generation, with `run` and `logits_of` for whole steps."""
    name = next(name for name, kind in MODES.items() if kind is mode)
    return mode(decoder, make_point(model=decoder.shape.name, mode=name, **keys), Labels())


def run(generation: Any, step: Step) -> None:
    Direct(generation, CPU).run(step)


def logits(generation: Any, step: Step) -> Tensor:
    """The logits of a step, which is not carried out."""
    generation.place(step)
    offsets, visible = Direct(generation, CPU).sizes(step)
    first = generation.canvas.first
    positions = offsets + first if step.kind in ("decode", "reuse", "commit", "prefill") else offsets
    computed = generation.logits(step.kind, positions, visible)
    assert isinstance(computed, Tensor)
    return computed


def full(decoder: Decoder, tokens: Tensor, **keys: Any) -> Tensor:
    """Logits of a forward without a cache."""
    return decoder.forward(tokens, decoder.positions[: tokens.shape[1]], View(**keys))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("model", ["llama", "llada"])
def test_cached_decoding_equals_uncached(model: str, batch: int, request: pytest.FixtureRequest) -> None:
    decoder = request.getfixturevalue(model)
    generation = begin(Autoregressive, decoder, batch=batch)
    for step in generation.steps:
        tokens = generation.canvas.tokens[:, : step.context].clone()
        expected = full(decoder, tokens, causal=True)[:, -1:]
        torch.testing.assert_close(logits(generation, step), expected, **TOLERANCE)
        run(generation, step)
        committed = generation.canvas.tokens[:, step.context]
        assert torch.equal(committed, expected[:, -1].argmax(-1))
    assert not generation.canvas.masked.any()


@pytest.mark.parametrize("model", ["llada", "dream"])
@pytest.mark.parametrize("guidance", [0.0, 0.7])
def test_reuse_right_after_a_refresh_equals_a_full_forward(
    model: str, guidance: float, request: pytest.FixtureRequest
) -> None:
    decoder = request.getfixturevalue(model)
    for mode in (DualCacheDiffusion, PrefixCacheDiffusion):
        generation = begin(mode, decoder, block=4, batch=2, guidance=guidance)
        refresh, reuse = generation.steps[4:6]
        expected = logits(begin(FullDiffusion, decoder, block=4, batch=2, guidance=guidance), refresh)
        torch.testing.assert_close(logits(generation, refresh), expected, **TOLERANCE)
        torch.testing.assert_close(logits(generation, reuse), expected[:, 20 : 20 + reuse.query], **TOLERANCE)
    assert reuse.query == 8


@pytest.mark.parametrize("mode", [DualCacheDiffusion, PrefixCacheDiffusion])
def test_reuse_is_stale_once_the_block_has_changed(mode: type[Denoising], llada: Decoder) -> None:
    """Guards the test above: the cached positions do remember the block as it was."""
    generation = begin(mode, llada, block=4)
    run(generation, generation.steps[0])
    expected = full(llada, generation.canvas.tokens)[:, 16:20]
    assert not torch.allclose(logits(generation, generation.steps[1])[:, :4], expected, **TOLERANCE)


def refreshed(step: Step) -> Step:
    return msgspec.structs.replace(step, kind="refresh", query=LENGTH)


REFRESHED = list(product([DualCacheDiffusion, PrefixCacheDiffusion], ["llama", "llada"], [0.0, 0.7]))


@pytest.mark.parametrize(("mode", "model", "guidance"), every(8, REFRESHED, also=(3, 5, 6)))  # each pair of values once
def test_a_cache_refreshed_every_step_decodes_what_full_diffusion_does(
    mode: type[Denoising], model: str, guidance: float, request: pytest.FixtureRequest
) -> None:
    decoder = request.getfixturevalue(model)
    keys: dict[str, Any] = {"block": 4, "steps": 6, "batch": 2, "guidance": guidance}
    cached, naive = begin(mode, decoder, **keys), begin(FullDiffusion, decoder, **keys)
    for ours, theirs in zip(cached.steps, naive.steps, strict=True):
        step = refreshed(ours)
        torch.testing.assert_close(logits(cached, step), logits(naive, theirs), **TOLERANCE)
        run(cached, step)
        run(naive, theirs)
        assert torch.equal(cached.canvas.tokens, naive.canvas.tokens)
    assert not naive.canvas.masked.any()


@pytest.mark.parametrize("variant", ["unrotated", "synchronous", "faithful"])
def test_published_costs_change_no_logits(variant: str, llada: Decoder) -> None:
    clean = begin(DualCacheDiffusion, llada, block=4, batch=2)
    published = begin(DualCacheDiffusion, llada, block=4, batch=2, variant=variant)
    for step in clean.steps:
        torch.testing.assert_close(logits(published, step), logits(clean, step), **TOLERANCE)
        run(clean, step)
        run(published, step)
        assert torch.equal(published.canvas.tokens, clean.canvas.tokens)


class Searches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the searches for slots, for whose results the host waits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket is torch.ops.aten.nonzero
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("variant", "in_a_layer"), [("clean", 0), ("unrotated", 0), ("synchronous", 2), ("faithful", 2)]
)
def test_slots_are_searched_in_the_reuse_steps_of_the_variants_that_wait(
    variant: str, in_a_layer: int, llada: Decoder
) -> None:
    generation = begin(DualCacheDiffusion, llada, block=4, variant=variant)
    searched: dict[str, set[int]] = {"refresh": set(), "reuse": set()}
    for step in generation.steps:
        generation.place(step)
        with Searches() as searches:
            logits(generation, step)
        searched[step.kind].add(searches.count)
        run(generation, step)
    assert searched == {"refresh": {0}, "reuse": {in_a_layer * llada.shape.layers}}


def test_a_faithful_cache_holds_keys_before_rotation(llada: Decoder) -> None:
    clean = begin(DualCacheDiffusion, llada, block=4)
    published = begin(DualCacheDiffusion, llada, block=4, variant="faithful")
    for generation in (clean, published):
        run(generation, generation.steps[0])
    assert torch.allclose(published._cache.values[0], clean._cache.values[0], **TOLERANCE)
    assert torch.allclose(published._cache.keys[0][:, :, :1], clean._cache.keys[0][:, :, :1], **TOLERANCE)
    assert not torch.allclose(published._cache.keys[0], clean._cache.keys[0], **TOLERANCE)


@pytest.mark.parametrize(("block", "model"), every(2, list(product([3, 4, 12], ["llama", "llada", "dream"]))))
def test_block_causal_decoding_with_a_cache_equals_recomputing(
    block: int, model: str, request: pytest.FixtureRequest
) -> None:
    decoder = request.getfixturevalue(model)
    generation = begin(BlockCausalDiffusion, decoder, block=block, batch=2)
    reuses = 0
    for step in generation.steps:
        if step.kind == "reuse":
            tokens = generation.canvas.tokens[:, : step.context].clone()
            mask = block_causal(step.context, PROMPT, block, CPU)
            expected = full(decoder, tokens, mask=mask)[:, -block:]
            torch.testing.assert_close(logits(generation, step), expected, **TOLERANCE)
            reuses += 1
        run(generation, step)
    assert reuses == 12
    assert not generation.canvas.masked.any()


def test_blocks_are_cut_backwards_from_the_prompt_s_end() -> None:
    mask = block_causal(7, 5, 3, CPU)
    assert mask is not None
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1],
    ]


def test_semi_autoregressive_decoding_of_one_block_is_full_diffusion(llada: Decoder) -> None:
    keys: dict[str, Any] = {"block": 12, "steps": 5, "batch": 2}
    semi, naive = begin(SemiAutoregressive, llada, **keys), begin(FullDiffusion, llada, **keys)
    for ours, theirs in zip(semi.steps, naive.steps, strict=True):
        torch.testing.assert_close(logits(semi, ours), logits(naive, theirs), **TOLERANCE)
        run(semi, ours)
        run(naive, theirs)
    assert torch.equal(semi.canvas.tokens, naive.canvas.tokens)


def test_semi_autoregressive_decoding_sees_no_suffix(llada: Decoder) -> None:
    generation = begin(SemiAutoregressive, llada, block=4)
    assert [step.query for step in generation.steps] == [20] * 4 + [24] * 4 + [28] * 4
    first = generation.steps[0]
    torch.testing.assert_close(logits(generation, first), full(llada, generation.canvas.tokens[:, :20]), **TOLERANCE)


COMMITTING = list(product(DIFFUSION, ["llama", "llada"], [{"steps": 8}, {"schedule": [[1, 2, 3]]}]))


@pytest.mark.parametrize(("mode", "model", "rule"), every(3, COMMITTING))
def test_a_step_commits_what_it_says_and_only_in_its_block(
    mode: str, model: str, rule: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    decoder = request.getfixturevalue(model)
    point = make_point(model=f"tiny-{model}", mode=mode, block=6, batch=2, **rule)
    generation: Any = MODES[mode](decoder, point, Labels())
    canvas = generation.canvas
    for step in generation.steps:
        tokens, masked = canvas.tokens.clone(), canvas.masked.clone()
        run(generation, step)
        committed = masked & ~canvas.masked
        assert committed.sum(-1).tolist() == [step.tokens, step.tokens]
        assert torch.equal(tokens[~committed], canvas.tokens[~committed])
        if step.block is not None:
            start = point.prompt_tokens + step.block * 6
            assert not committed[:, :start].any()
            assert not committed[:, start + 6 :].any()
    assert not canvas.masked.any()


@pytest.mark.parametrize("mode", DIFFUSION)
@pytest.mark.parametrize(
    ("rule", "most"), [({"threshold": 1e-9}, 1), ({"threshold": 1.0}, 4), ({"factor": 1e5}, 1), ({"factor": 1e-6}, 3)]
)
def test_confidence_decides_how_many_steps_a_block_takes(
    mode: str, rule: dict[str, float], most: int, llada: Decoder
) -> None:
    """Whatever reaches a threshold of nothing commits at once; where nothing reaches it, one token a step.

    By factor the last two go together, whatever they are.
    """
    generation: Any = MODES[mode](llada, make_point(model="tiny-llada", mode=mode, block=4, batch=2, **rule), Labels())
    taken = []
    for step in walk(generation):
        run(generation, step)
        taken.append(step)
    denoising = Counter(step.block for step in taken if step.kind in ("denoise", "refresh", "reuse"))
    assert denoising == {0: most, 1: most, 2: most}
    assert not generation.canvas.masked.any()


def test_the_most_confident_positions_are_committed_first(llada: Decoder) -> None:
    generation = begin(FullDiffusion, llada, steps=6)
    step = generation.steps[0]
    generation.place(step)
    wanted = full(llada, generation.canvas.tokens)[:, PROMPT:].softmax(-1).amax(-1)[0]
    run(generation, step)
    committed = (~generation.canvas.masked[0, PROMPT:]).nonzero()[:, 0]
    assert set(committed.tolist()) == set(wanted.topk(2).indices.tolist())


def test_guidance_without_a_prompt_s_influence_is_none(llada: Decoder) -> None:
    """Guided logits are (1 + s) conditioned - s unconditioned, the latter with the prompt masked."""
    generation = begin(FullDiffusion, llada, guidance=0.5, batch=2)
    tokens = generation.canvas.tokens
    blind = tokens.clone()
    blind[:, :PROMPT] = llada.shape.mask_id
    expected = 1.5 * full(llada, tokens) - 0.5 * full(llada, blind)
    torch.testing.assert_close(logits(generation, generation.steps[0]), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("keys", [{}, {"temperature": 0.8}], ids=["greedy", "sampled"])
@pytest.mark.parametrize("mode", MODES)
def test_a_reset_generation_repeats_itself(mode: str, keys: dict[str, Any], llada: Decoder) -> None:
    generation: Any = MODES[mode](llada, make_point(model="tiny-llada", mode=mode, **keys), Labels())
    seen = []
    for _ in range(2):
        generation.reset()
        for step in generation.steps:
            run(generation, step)
        seen.append(generation.canvas.tokens.clone())
    assert torch.equal(*seen)


def test_memory_told_by_a_generation(llada: Decoder) -> None:
    dual = begin(DualCacheDiffusion, llada, block=4, batch=2, guidance=1.0)
    assert dual.cache_bytes == 4 * LENGTH * 2 * 4 * 256 * 4
    assert dual.logits_bytes == 4 * LENGTH * 4096 * 4
    assert begin(FullDiffusion, llada).cache_bytes == 0
    assert begin(Autoregressive, llada, batch=3).logits_bytes == 3 * 4096 * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_no_step_waits_for_the_device(mode: str) -> None:
    from ridgeline.capture.configuration.presets import PRESETS

    cuda = torch.device("cuda")
    decoder = random_decoder(PRESETS["tiny-llada"], torch.bfloat16, cuda, capacity=28, seed=0)
    generation = MODES[mode](decoder, make_point(model="tiny-llada", mode=mode), Labels())
    runner = Direct(generation, cuda)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        for step in generation.steps:
            runner.run(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
