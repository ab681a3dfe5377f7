"""DiffusionGemma: the library's logits at every step, an exact cache, counts of commitments, reproducible noise."""

import warnings
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import torch
import transformers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.decoder import diffusion_gemma
from ridgeline.capture.decoder.diffusion_gemma import EncoderCache, GemmaDecoder
from ridgeline.capture.measuring.execution import Direct, prepare
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes.dlm_canvas import CanvasDiffusion
from tests.capture.conftest import make_point

if not hasattr(transformers, "DiffusionGemmaForBlockDiffusion"):
    pytest.skip("this release of transformers has no DiffusionGemma", allow_module_level=True)

TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}  # processors sum in orders of their own
CPU = torch.device("cpu")
SHAPE = PRESETS["tiny-diffusion-gemma"]
NARROW = msgspec.structs.replace(SHAPE, sliding_window=6)
"""A window that the prompts below exceed, and the canvas does not."""


@pytest.fixture(scope="module")
def gemma() -> GemmaDecoder:
    with torch.inference_mode():
        return diffusion_gemma.random_decoder(NARROW, torch.float32, CPU, seed=1)


def make_canvas_point(**keys: Any) -> Point:
    """A point whose generation is three canvases of four tokens unless told otherwise."""
    return make_point(**{"model": SHAPE.name, "mode": "dlm_block_causal", "batch": 2, "block": 4, "steps": 9, **keys})


def make_generation(decoder: GemmaDecoder, **keys: Any) -> tuple[CanvasDiffusion, Direct]:
    generation = CanvasDiffusion(decoder, make_canvas_point(**keys), Labels())
    return generation, Direct(generation, decoder.device)


def plainly(decoder: GemmaDecoder, tokens: Tensor, canvas: Tensor, previous: Tensor | None) -> Tensor:
    """The library's own forward: everything before the canvas encoded at once, into the library's own cache."""
    logits: Tensor = decoder.network(
        input_ids=tokens, decoder_input_ids=canvas, self_conditioning_logits=previous
    ).logits
    return logits


def encoded(decoder: GemmaDecoder, tokens: Tensor, *lengths: int) -> EncoderCache:
    """A cache of `tokens` encoded in pieces."""
    cache = decoder.cache(batch=tokens.shape[0], capacity=tokens.shape[1])
    stop = 0
    for length in lengths:
        stop += length
        decoder.encode(tokens[:, stop - length : stop], torch.arange(stop), cache)
    cache.place(stop)
    return cache


def tensors(one: EncoderCache, other: EncoderCache) -> Iterator[tuple[Tensor, Tensor]]:
    """The keys and values of each layer of two caches, side by side."""
    for left, right in zip(one.slots, other.slots, strict=True):
        yield from zip(left, right, strict=True)


def other_at_the_end(tokens: Tensor) -> Tensor:
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % SHAPE.vocabulary
    return changed


def random_tokens(length: int, seed: int = 0) -> Tensor:
    return torch.randint(SHAPE.vocabulary, (2, length), generator=torch.Generator().manual_seed(seed))


def test_parameters_are_those_declared_and_none_is_of_vision() -> None:
    network = diffusion_gemma.empty_network(SHAPE, torch.bfloat16, torch.device("meta"))
    assert sum(weight.numel() for weight in network.parameters()) == SHAPE.parameters == 9_855_984
    assert not [name for name, _ in network.named_modules() if "vision" in name]


def test_encoder_and_decoder_share_their_weights(gemma: GemmaDecoder) -> None:
    body = gemma.network.model
    encoder, decoder = (dict(part.named_parameters()) for part in (body.encoder.language_model, body.decoder))
    apart = {name for name in decoder if encoder.get(name) is not decoder[name]}
    assert apart == {name for name in decoder if name.startswith("self_conditioning.")}
    assert gemma.network.lm_head.weight is body.decoder.embed_tokens.weight
    assert 0 < gemma.nbytes - 4 * SHAPE.parameters < 2000  # Buffers.


def test_weights_are_filled_experts_and_all(gemma: GemmaDecoder) -> None:
    for name, weight in gemma.network.named_parameters():
        spread = 0.0 if weight.dim() == 1 else 0.02
        assert weight.std().item() == pytest.approx(spread, rel=0.1), name
        assert weight.mean().item() == pytest.approx(float(weight.dim() == 1), abs=2e-3), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_buffers_are_what_the_library_makes(dtype: torch.dtype) -> None:
    made = diffusion_gemma.empty_network(SHAPE, dtype, CPU)
    library = type(made)(diffusion_gemma.network_config(SHAPE, dtype, CPU))
    expected = {name: buffer for name, buffer in library.named_buffers() if "vision" not in name}
    buffers = dict(made.named_buffers())
    assert buffers.keys() == expected.keys()
    for name, buffer in buffers.items():
        torch.testing.assert_close(buffer, expected[name].to(torch.float32 if "inv_freq" in name else dtype))


def test_a_generation_s_logits_are_the_library_s_at_every_step(gemma: GemmaDecoder) -> None:
    """Both of the step and of the cache: the library encodes prompt and finished canvases anew, each time at once."""
    generation, direct = make_generation(gemma)
    previous: Tensor | None = None
    for step in generation.steps:
        start, visible = step.context - step.query, torch.arange(step.context)
        canvas = generation.canvas.tokens[:, start : step.context].clone()
        if step.kind == "reuse":
            logits = generation.logits(step.kind, visible[start:], visible)
            expected = plainly(gemma, generation.canvas.tokens[:, :start], canvas, previous)
            torch.testing.assert_close(logits, expected, **TOLERANCE)
        previous = logits if step.kind == "reuse" else None
        direct.run(step)


def test_the_logits_of_the_last_step_make_a_difference(gemma: GemmaDecoder) -> None:
    """Guards the test above, as do the next two."""
    tokens, canvas = random_tokens(16), random_tokens(4, seed=1)
    first = plainly(gemma, tokens, canvas, None)
    assert not torch.allclose(first, plainly(gemma, tokens, canvas, first), **TOLERANCE)


def test_a_canvas_is_bidirectional(gemma: GemmaDecoder) -> None:
    tokens, canvas = random_tokens(16), random_tokens(4, seed=1)
    changed = other_at_the_end(canvas)
    first, other = (plainly(gemma, tokens, block, None)[:, 0] for block in (canvas, changed))
    assert not torch.allclose(first, other, **TOLERANCE)


def test_what_is_encoded_is_causal(gemma: GemmaDecoder) -> None:
    tokens = random_tokens(16)
    before, after = encoded(gemma, tokens, 16), encoded(gemma, other_at_the_end(tokens), 16)
    for left, right in tensors(before, after):
        torch.testing.assert_close(left[:, :, :15], right[:, :, :15], **TOLERANCE)
        assert not torch.allclose(left[:, :, 15], right[:, :, 15], **TOLERANCE)


@pytest.mark.parametrize("lengths", [(16, 4, 4), (4, 4, 16), (1, 23)])
def test_encoding_in_pieces_equals_encoding_at_once(gemma: GemmaDecoder, lengths: tuple[int, ...]) -> None:
    tokens = random_tokens(24)
    for left, right in tensors(encoded(gemma, tokens, *lengths), encoded(gemma, tokens, 24)):
        torch.testing.assert_close(left, right, **TOLERANCE)


def test_a_canvas_sees_the_slots_that_the_library_would_keep(gemma: GemmaDecoder) -> None:
    tokens = random_tokens(16)
    kept = gemma.network.model.encoder.language_model(input_ids=tokens)[diffusion_gemma.cache_keyword(gemma.network)]
    seen = encoded(gemma, tokens, 16)
    assert [layer.keys.shape[2] for layer in seen.layers] == [5, 5, 5, 5, 5, 16]
    for left, right in zip(seen.layers, kept.layers, strict=True):
        torch.testing.assert_close(left.keys, right.keys, **TOLERANCE)
        torch.testing.assert_close(left.values, right.values, **TOLERANCE)


def test_steps_are_a_prefill_then_denoising_and_a_commit_between_canvases(gemma: GemmaDecoder) -> None:
    steps = make_generation(gemma, block=6, steps=4)[0].steps
    assert [(step.kind, step.query, step.context, step.tokens) for step in steps] == [
        ("prefill", 16, 16, 0),
        ("reuse", 6, 22, 3),
        ("reuse", 6, 22, 3),
        ("commit", 6, 22, 0),
        ("reuse", 6, 28, 3),
        ("reuse", 6, 28, 3),
    ]


def test_a_step_commits_what_it_says_and_draws_the_rest_of_its_canvas_anew(gemma: GemmaDecoder) -> None:
    generation, direct = make_generation(gemma, block=6, steps=8)
    canvas, noise = generation.canvas, []
    for step in generation.steps:
        tokens, masked = canvas.tokens.clone(), canvas.masked.clone()
        direct.run(step)
        start = step.context - step.query
        committed, redrawn = masked & ~canvas.masked, torch.zeros_like(masked)
        assert committed.sum(-1).tolist() == [step.tokens, step.tokens]
        assert not committed[:, :start].any()
        assert not committed[:, step.context :].any()
        if step.kind == "reuse":
            redrawn[:, start : step.context] = canvas.masked[:, start : step.context]
            noise.append((canvas.tokens[redrawn] != tokens[redrawn]).float())
        assert torch.equal(canvas.tokens[~committed & ~redrawn], tokens[~committed & ~redrawn])
    assert not canvas.masked.any()
    assert canvas.tokens.min() >= 0
    assert canvas.tokens.max() < SHAPE.vocabulary
    assert torch.cat(noise).mean() > 0.9


def test_the_most_confident_positions_commit_their_likeliest_tokens(gemma: GemmaDecoder) -> None:
    generation, direct = make_generation(gemma, block=12, steps=4)
    for step in generation.steps[:2]:
        logits = plainly(gemma, generation.canvas.tokens[:, :16], generation.canvas.tokens[:, 16:], None)
        direct.run(step)
    probability, token = logits.softmax(-1).max(-1)
    best = probability.topk(3).indices
    assert torch.equal(generation.canvas.tokens[:, 16:].gather(1, best), token.gather(1, best))
    assert not generation.canvas.masked[:, 16:].gather(1, best).any()


def test_a_reset_generation_repeats_itself_in_the_same_memory(gemma: GemmaDecoder) -> None:
    generation, direct = make_generation(gemma)
    places = [tensor.data_ptr() for slots in generation._cache.slots for tensor in slots]

    def run() -> list[Tensor]:
        seen = [generation.canvas.tokens.clone()]
        for step in generation.steps:
            direct.run(step)
            seen.append(generation.canvas.tokens.clone())
        return seen

    first = run()
    generation.reset()
    assert all(torch.equal(*pair) for pair in zip(first, run(), strict=True))
    assert places == [tensor.data_ptr() for slots in generation._cache.slots for tensor in slots]
    assert not torch.equal(first[0][:, 16:], make_generation(gemma, seed=1)[0].canvas.tokens[:, 16:])


def test_bytes_are_those_of_the_tensors(gemma: GemmaDecoder) -> None:
    generation, _ = make_generation(gemma)
    slots = 5 * NARROW.head_dim + 64  # Five layers with a sliding window, one that sees everything.
    assert generation.cache_bytes == 2 * 2 * 28 * NARROW.kv_heads * slots * 4
    assert generation.logits_bytes == 2 * 4 * NARROW.vocabulary * 4


@pytest.mark.parametrize("kind", ["prefill", "reuse", "commit"])
def test_only_denoising_selects_tokens(gemma: GemmaDecoder, kind: str) -> None:
    labels = Labels()
    generation = CanvasDiffusion(gemma, make_canvas_point(), labels)
    direct = Direct(generation, CPU)
    step = next(step for step in generation.steps if step.kind == kind)
    for earlier in generation.steps[: step.index]:
        direct.run(earlier)
    with labels.attached(gemma.network), torch.profiler.profile(acc_events=True) as profile:
        direct.run(step)
    names = {event.key for event in profile.key_averages()}
    assert ("module=sampling" in names) == (kind == "reuse")
    side = "decoder" if kind == "reuse" else "encoder.language_model"
    assert {f"module=model.{side}.layers.0.experts", f"module=model.{side}.layers.5.self_attn"} <= names


class Waiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the operators called whose result the host would have to wait for, on a device."""

    NAMES = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2"})

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= {func.overloadpacket.__name__} & self.NAMES
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("experts", "waits"), [("grouped_mm", False), ("batched_mm", False), ("eager", True)])
def test_no_step_asks_for_a_value(experts: str, waits: bool) -> None:
    decoder = diffusion_gemma.random_decoder(NARROW, torch.float32, CPU, seed=0)
    decoder.network.set_experts_implementation(experts)
    generation, direct = make_generation(decoder)
    with Waiting() as waiting:
        generation.reset()
        for step in generation.steps:
            direct.run(step)
    assert bool(waiting.seen) == waits


def test_experts_are_multiplied_without_waiting() -> None:
    cuda = torch.device("cuda")
    assert diffusion_gemma.experts_implementation(torch.float16, cuda) == "batched_mm"
    assert diffusion_gemma.experts_implementation(torch.bfloat16, cuda) == "grouped_mm"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_no_step_waits_for_the_device(dtype: torch.dtype) -> None:
    decoder = diffusion_gemma.random_decoder(NARROW, dtype, torch.device("cuda"), seed=0)
    generation, direct = make_generation(decoder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        for step in generation.steps:
            direct.run(step)
        generation.reset()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_replayed_graphs_decode_what_launched_kernels_do() -> None:
    decoder = diffusion_gemma.random_decoder(NARROW, torch.bfloat16, torch.device("cuda"), seed=0)
    generation, _ = make_generation(decoder)
    prepared = prepare(generation, decoder.device, execution="cuda_graph", progress=lambda _: None)
    seen = []
    for runner in (prepared.runner, prepared.launched, prepared.runner):
        generation.reset()
        for step in generation.steps:
            runner.run(step)
        seen.append(generation.canvas.tokens.clone())
    assert prepared.replayed
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[0][:, :16], seen[1][:, :16])
    assert not generation.canvas.masked.any()


def test_its_cache_is_as_large_as_predicted() -> None:
    shape = PRESETS["tiny-diffusion-gemma"]
    decoder = diffusion_gemma.random_decoder(shape, torch.float32, torch.device("cpu"), seed=0)
    assert decoder.cache(batch=2, capacity=28).nbytes == shape.cache_elements(28) * 2 * 4
