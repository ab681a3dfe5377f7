"""8-bit layers: values against plain rounding, layers against exact products of rounded values, whole decoders."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ridgeline.capture.configuration.forecast.footprint import forward_seconds, predict
from ridgeline.capture.configuration.forecast.forwards import dram_bytes, flops, forwards, linear_flops
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.decoder import quantization
from ridgeline.capture.decoder.attention import View, join
from ridgeline.capture.decoder.decoder import Decoder, random_decoder
from ridgeline.capture.decoder.quantization import QuantizedLinear, quantized
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import MODES
from ridgeline.capture.sweep.recording import Workshop, ready
from tests.capture.conftest import make_point

CPU = torch.device("cpu")
PRECISIONS = ["fp8", "int8"]
STEP = {"fp8": 2.0**-4, "int8": 0.5 / 127}
"""The largest error of rounding, of fp8 relative to a value, of int8 to the row's largest."""


def rows(count: int, width: int, seed: int = 0) -> Tensor:
    wide = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return (wide * torch.logspace(-3, 3, count)[:, None]).bfloat16()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_row_has_the_scale_of_its_largest(precision: str) -> None:
    sample = rows(5, 64)
    sample[3] = 0
    values, scales = quantized(sample, quantization.TYPES[precision])
    assert (values.dtype, scales.dtype, scales.shape) == (quantization.TYPES[precision], torch.float32, (5, 1))
    largest = {"fp8": 448.0, "int8": 127.0}[precision]
    assert values.float().abs().amax(-1).tolist() == [largest] * 3 + [0.0, largest]
    error = (values.float() * scales - sample.float()).abs()
    reference = sample.float().abs() if precision == "fp8" else sample.float().abs().amax(-1, keepdim=True)
    smallest = scales * 2.0**-10 if precision == "fp8" else 0.0
    assert (error <= STEP[precision] * reference * 1.001 + smallest).all()


def check(layer: QuantizedLinear, hidden: Tensor, actual: Tensor) -> None:
    """Assert that `actual` is the product of rounded activations and weights, plus the bias, each rounded to bf16.

    Activations are rounded where `hidden` lies: a GPU divides by 127 with a product, so that ties fall elsewhere. Its
    float8 units align what they add to the largest and drop bits, so that their error goes with the sum of magnitudes:
    2^-13.2 of it at most on an H200, of 256 products.
    """
    values, scales = (part.cpu().double() for part in quantized(hidden, layer.weight.dtype))
    left, right = values * scales, (layer.weight.cpu().double() * layer.scale.cpu().double()[:, None]).T
    product = left @ right
    bias = torch.zeros(()) if layer.bias is None else layer.bias.cpu().double()
    allowed = 2.0**-8 * (product.abs() + (product + bias).abs()) + 1e-5 * left.abs().amax(-1, keepdim=True)
    if hidden.is_cuda and layer.weight.dtype is torch.float8_e4m3fn:
        allowed += 2.0**-12.5 * (left.abs() @ right.abs())
    assert ((actual.cpu().double() - (product + bias)).abs() <= allowed).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("count", [1, 31, 32, 45])
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_multiplies_what_was_rounded(precision: str, count: int, bias: bool) -> None:
    torch.manual_seed(count)
    plain = nn.Linear(64, 48, bias=bias, dtype=torch.bfloat16)
    layer = QuantizedLinear(plain, quantization.TYPES[precision])
    hidden = rows(count, 64, seed=1)
    actual = layer(hidden[None])
    assert (actual.shape, actual.dtype) == ((1, count, 48), torch.bfloat16)
    check(layer, hidden, actual[0])
    near = plain(hidden)
    assert (actual[0] - near).norm() < 0.05 * near.norm()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_joined_layer_does_what_its_parts_do(precision: str) -> None:
    parts = [
        QuantizedLinear(nn.Linear(64, width, dtype=torch.bfloat16), quantization.TYPES[precision]) for width in (48, 16)
    ]
    hidden = rows(3, 64)
    apart = torch.cat([part(hidden) for part in parts], -1)
    whole = join(*parts)
    assert torch.equal(quantization.linear(hidden, *whole), apart)
    assert torch.equal(torch.cat([part(hidden) for part in parts], -1), apart)
    assert parts[1].weight.untyped_storage().data_ptr() == whole[0].untyped_storage().data_ptr()


def decoder(name: str, linear: str, *, fused: bool = False) -> Decoder:
    return random_decoder(PRESETS[name], torch.bfloat16, CPU, capacity=64, seed=1, fused=fused, linear=linear)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-dream"])
def test_a_decoder_of_8_bits_is_near_the_one_it_was_made_of(name: str, precision: str, fused: bool) -> None:
    plain, narrow = decoder(name, "model"), decoder(name, precision, fused=fused)
    tokens = torch.randint(0, 4000, (2, 11), generator=torch.Generator().manual_seed(3))
    expected = plain.forward(tokens, plain.positions[:11], View())
    actual = narrow.forward(tokens, narrow.positions[:11], View())
    assert 0 < (actual - expected).norm() < 0.15 * expected.norm()
    layers = [module for module in narrow.network.modules() if isinstance(module, QuantizedLinear)]
    assert len(layers) == 7 * 4
    assert [type(module) for module in narrow.network.modules() if isinstance(module, nn.Linear)] == [nn.Linear]
    assert narrow.network.lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-dream"])
def test_predicted_weights_are_those_that_are_left(name: str, precision: str, fused: bool) -> None:
    point = make_point(model=name, mode="ar", dtype="bf16", linear=precision, fused=fused)
    made = decoder(name, precision, fused=fused)
    buffers = sum(buffer.nbytes for buffer in made.network.buffers())
    assert made.nbytes - buffers == predict(point).weights_bytes
    assert predict(point).making_bytes == PRESETS[name].parameters * 2


def test_8_bits_need_less_of_all_but_flops() -> None:
    big: dict[str, Any] = {"model": "llada-8b", "mode": "dlm_full", "prompt_tokens": 1024, "generated_tokens": 128}
    wide, narrow = (make_point(**big, dtype="bf16", linear=linear) for linear in ("model", "fp8"))
    (step,) = forwards(wide)
    assert flops(step, wide) == flops(step, narrow)
    assert linear_flops(step, narrow) == 2 * 1152 * 6_979_321_856
    outputs = 32 * (2 * 4096 + 3 * 4096 + 2 * 12288)
    inputs = 32 * (6 * 4096 + 12288)
    assert predict(wide).weights_bytes - predict(narrow).weights_bytes == 6_979_321_856 - 4 * outputs
    assert dram_bytes(step, wide) - dram_bytes(step, narrow) == 6_979_321_856 - 4 * outputs + 1152 * inputs
    roofs = Roofs(of="a device", compute={"bf16": 800e12, "fp8": 1600e12}, bytes_per_s=1e15)
    saved = linear_flops(step, wide) / 1600e12
    assert forward_seconds(step, narrow, roofs) == pytest.approx(forward_seconds(step, wide, roofs) - saved)


def generate(mode: str, precision: str, **keys: Any) -> None:
    point = make_point(model="tiny-llama", mode=mode, layers=1, dtype="bf16", linear=precision, batch=2, **keys)
    prepared = ready(point, Workshop().decoder(point, CPU), CPU, Labels(), lambda _: None)
    for step in prepared.runner.generation.steps:
        prepared.runner.run(step)
    assert not prepared.runner.generation.canvas.masked.any()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mode", MODES)
def test_generations_of_8_bits_run_in_every_mode(mode: str, precision: str) -> None:
    generate(mode, precision)


@pytest.mark.parametrize(
    ("precision", "backend"),
    [
        ("fp8", "eager"),
        pytest.param("int8", "eager", marks=pytest.mark.exhaustive),
        pytest.param("fp8", "inductor", marks=pytest.mark.exhaustive),
        pytest.param("int8", "inductor", marks=pytest.mark.exhaustive),
    ],
)
def test_generations_of_8_bits_compile_whole(precision: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries shorten from block to block, so that they are symbolic, and from more rows than are padded to fewer.

    Without a backend's code all but the code is made.
    """
    if backend == "eager":
        real = torch.compile
        plain: dict[str, Any] = {"backend": "eager", "fullgraph": True, "dynamic": False}
        monkeypatch.setattr(torch, "compile", lambda work, **_: real(work, **plain))
    torch.compiler.reset()
    generate("dlm_block_prefix", precision, block=4, steps=10, generated_tokens=20, execution="compile")


def test_weights_of_another_precision_are_made_anew() -> None:
    workshop = Workshop()
    points = [make_point(model="tiny-llama", mode="ar", dtype="bf16", linear=linear) for linear in ("model", "int8")]
    made = [workshop.decoder(point, CPU).nbytes for point in points]
    assert made[1] < made[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("count", [1, 17, 32, 45])
def test_a_gpu_multiplies_what_was_rounded(precision: str, count: int) -> None:
    plain = nn.Linear(256, 512, bias=True, dtype=torch.bfloat16)
    layer = QuantizedLinear(plain, quantization.TYPES[precision]).cuda()
    hidden = rows(count, 256).cuda()
    actual = layer(hidden)
    assert actual.shape == (count, 512)
    check(layer, hidden, actual)
