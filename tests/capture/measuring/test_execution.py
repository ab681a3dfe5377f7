"""Executions: compiled and replayed generations decode the same tokens as eager ones, with one compilation per kind."""

from typing import Any

import pytest
import torch

from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.decoder.decoder import random_decoder
from ridgeline.capture.measuring.execution import Direct, prepare, shape, walk
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import MODES
from tests.capture.conftest import make_point

CPU = torch.device("cpu")


def decoded(decoder: Any, mode: str, device: torch.device, how: str, **keys: Any) -> torch.Tensor:
    """The tokens of a generation run as `how` says."""
    point = make_point(model=decoder.shape.name, mode=mode, batch=2, block=4, **keys)
    generation = MODES[mode](decoder, point, Labels())
    prepared = prepare(generation, device, execution=how, progress=lambda _: None)
    for _ in range(2):
        generation.reset()
        for step in walk(generation):
            prepared.runner.run(step)
    return generation.canvas.tokens


@pytest.mark.parametrize("mode", ["ar", "dlm_block_dual"])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.exhaustive)])
@torch._inductor.config.patch(compile_threads=1)  # no processes that import torch
def test_compiled_decoding_equals_eager(mode: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a backend without code of its own all but the code is made: traced, its mutations and views resolved."""
    if backend != "inductor":
        real = torch.compile
        plain: dict[str, Any] = {"backend": backend, "fullgraph": True, "dynamic": False}
        monkeypatch.setattr(torch, "compile", lambda work, **_: real(work, **plain))
    decoder = random_decoder(PRESETS["tiny-llama"], torch.float32, CPU, capacity=28, seed=1, fused=True)
    decoder.depth = 1
    torch.compiler.reset()
    assert torch.equal(decoded(decoder, mode, CPU, "compile"), decoded(decoder, mode, CPU, "eager"))


def test_lengths_that_vary_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = random_decoder(PRESETS["tiny-llama"], torch.float32, CPU, capacity=28, seed=1, fused=True)
    decoder.depth = 1
    compiled = []

    def count(module: Any, _inputs: Any) -> Any:
        compiled.append(module)
        return module.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda work, **keys: real(work, backend=count, fullgraph=True, dynamic=False))
    for mode, kinds in (("ar", 2), ("dlm_block_prefix", 2), ("dlm_semi_ar", 1), ("dlm_block_causal", 3)):
        torch.compiler.reset()
        compiled.clear()
        decoded(decoder, mode, CPU, "compile")
        assert len(compiled) == kinds, mode


def test_a_step_s_work_depends_on_its_shape_alone() -> None:
    decoder = random_decoder(PRESETS["tiny-llada"], torch.float32, CPU, capacity=28, seed=1)
    generation = MODES["dlm_block_dual"](
        decoder, make_point(model="tiny-llada", mode="dlm_block_dual", block=4), Labels()
    )
    assert len({shape(step) for step in generation.steps}) == 2
    runner = Direct(generation, CPU)
    later = generation.steps[9]
    generation.place(later)
    offsets, visible = runner.sizes(generation.steps[1])
    generation.work("reuse", offsets, visible)
    assert (~generation.canvas.masked[0]).nonzero()[:, 0].tolist()[16:] != []
    assert not (~generation.canvas.masked[0, 16:24]).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores", r"ignore:\s*Online softmax is disabled")
@pytest.mark.parametrize("how", ["cuda_graph", "compile"])
@pytest.mark.parametrize("mode", MODES)
def test_graphs_and_compiled_code_decode_what_eager_code_does(mode: str, how: str) -> None:
    cuda = torch.device("cuda")
    decoder = random_decoder(PRESETS["tiny-llama"], torch.float32, cuda, capacity=28, seed=1, fused=True)
    torch.compiler.reset()
    assert torch.equal(decoded(decoder, mode, cuda, how), decoded(decoder, mode, cuda, "eager"))
