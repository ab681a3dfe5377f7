"""Block-sparse attention: its mask against the library's and a plain one, its pairs counted, a decoder against SDPA."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from ridgeline.capture.configuration.forecast.footprint import forward_seconds
from ridgeline.capture.configuration.forecast.forwards import flops, forwards
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.decoder import block_sparse
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.block_sparse import block_mask
from ridgeline.capture.decoder.sparsity import BLOCK, kept_pairs
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.sweep.recording import Workshop, ready
from tests.capture.conftest import make_point

CPU = torch.device("cpu")
SIZES = [(128, 1), (300, 100), (512, 128), (640, 129), (1000, 1), (1024, 255), (1024, 256), (1100, 5000)]


def dense(length: int, window: int) -> Tensor:
    places = torch.arange(length)
    return ((places[:, None] - places[None]).abs() <= window) | (places[None] < BLOCK)


@pytest.mark.parametrize(("length", "window"), SIZES)
def test_the_mask_is_the_one_the_library_makes_of_all_pairs(length: int, window: int) -> None:
    built = block_mask(length, window, CPU)
    library = create_block_mask(built.mask_mod, None, None, length, length, device="cpu", BLOCK_SIZE=BLOCK)
    assert (built.shape, built.seq_lengths) == (library.shape, library.seq_lengths)
    for name in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"):
        actual, expected = getattr(built, name), getattr(library, name)
        assert actual.dtype == expected.dtype == torch.int32
        assert torch.equal(actual, expected), name


@pytest.mark.parametrize(("length", "window"), SIZES)
def test_pairs_are_those_of_all_blocks_in_which_one_is_seen(length: int, window: int) -> None:
    blocks = torch.arange(length) // BLOCK
    visible = dense(length, window)
    kept = torch.zeros(int(blocks[-1]) + 1, int(blocks[-1]) + 1, dtype=torch.bool)
    kept[blocks[:, None].expand_as(visible)[visible], blocks[None].expand_as(visible)[visible]] = True
    assert kept_pairs(length, window) == int(kept[blocks[:, None], blocks[None]].sum())


def sparse(**keys: Any) -> Any:
    base = {"model": "tiny-llama", "mode": "dlm_full", "attention": "block_sparse", "window": 60, "steps": 2}
    return make_point(**{**base, "prompt_tokens": 372, **keys})


def test_flops_are_those_of_the_pairs_that_are_kept() -> None:
    near, far, whole = sparse(), sparse(window=384), sparse(attention="auto")
    (step,), (wide,), (full,) = (forwards(point) for point in (near, far, whole))
    assert (step.pairs, wide.pairs, full.pairs) == (8 * BLOCK**2, 384 * 384, 384 * 384)
    long = sparse(prompt_tokens=1012)
    (step,) = forwards(long)
    assert step.pairs == kept_pairs(1024, 60) == BLOCK**2 * (2 + 3 + 5 * 4 + 3)
    attention = 4 * (1024**2 - step.pairs) * 256 * 4
    assert flops(forwards(sparse(prompt_tokens=1012, attention="auto"))[0], long) - flops(step, long) == attention
    roofs = Roofs(of="a device", compute={"fp32": 1e12}, bytes_per_s=1e15)
    assert forward_seconds(step, long, roofs) == flops(step, long) / 1e12


@pytest.mark.parametrize(
    "execution", [None, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("eager", "compile"))]
)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch._inductor.config.patch(compile_threads=1)  # no processes that import torch
def test_a_decoder_sees_what_the_mask_says(execution: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 384 positions the last 128 do not see the middle ones: one generation, and the logits of its first step.

    Without an execution the attention itself is not compiled either, which takes most of the time of the others.
    """
    if execution is None:
        monkeypatch.setattr(block_sparse, "_compiled", lambda: flex_attention)
    point = sparse(window=20, execution=execution or "eager", layers=1)
    decoder = Workshop().decoder(point, CPU)
    prepared = ready(point, decoder, CPU, Labels(), lambda _: None)
    generation: Any = prepared.runner.generation
    tokens = generation.canvas.tokens.clone()
    expected = decoder.forward(tokens, decoder.positions[:384], View(mask=dense(384, 20)))
    assert not torch.allclose(expected, decoder.forward(tokens, decoder.positions[:384], View()), rtol=1e-3)
    if execution != "compile":
        actual = decoder.forward(tokens, decoder.positions[:384], generation.view("denoise", None, None))
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    masked = generation.canvas.masked.clone()
    prepared.runner.run(generation.steps[0])
    committed = masked & ~generation.canvas.masked
    assert int(committed.sum()) == generation.steps[0].tokens == 6
    assert torch.equal(generation.canvas.tokens[committed], expected.argmax(-1)[committed])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores", r"ignore:\s*Online softmax is disabled")
@pytest.mark.parametrize("execution", ["eager", "cuda_graph", "compile"])
def test_a_gpu_sees_what_the_mask_says(execution: str) -> None:
    cuda = torch.device("cuda")
    point = sparse(window=20, execution=execution, device="cuda")
    decoder = Workshop().decoder(point, cuda)
    prepared = ready(point, decoder, cuda, Labels(), lambda _: None)
    generation: Any = prepared.runner.generation
    expected = decoder.forward(
        generation.canvas.tokens.clone(), decoder.positions[:384], View(mask=dense(384, 20).cuda())
    )
    masked = generation.canvas.masked.clone()
    prepared.runner.run(generation.steps[0])
    committed = masked & ~generation.canvas.masked
    assert int(committed.sum()) == generation.steps[0].tokens == 6
    likeliest = expected.topk(2).values[committed]
    sure = likeliest[:, 0] - likeliest[:, 1] > 1e-3
    assert torch.equal(generation.canvas.tokens[committed][sure], expected.argmax(-1)[committed][sure])
