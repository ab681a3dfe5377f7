"""Shapes: the parameter counts of the published models, by formula, as built here and as transformers counts them."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from ridgeline.capture.configuration import presets
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.configuration.shape import Shape
from ridgeline.capture.decoder.decoder import empty_network

COUNTS = {
    "llama-3-8b": 8_030_261_248,
    "llada-8b": 8_015_581_184,
    "dream-7b": 7_615_616_512,
    "llama-34b": 33_743_970_304,
    "llama-3-70b": 70_553_706_496,
}
DENSE = [name for name, shape in PRESETS.items() if shape.layout != "diffusion_gemma"]


def of_library(shape: Shape, **changes: Any) -> int:
    """The parameters of transformers' own model of a shape, counted on the meta device."""
    sizes = {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
        **changes,
    }
    with torch.device("meta"):
        model = Qwen2ForCausalLM(Qwen2Config(**sizes)) if shape.qkv_bias else LlamaForCausalLM(LlamaConfig(**sizes))
    model.tie_weights()  # which transformers 5.0 does not do on the meta device
    return int(model.num_parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_as_published(name: str) -> None:
    assert PRESETS[name].parameters == COUNTS[name]


@pytest.mark.parametrize("name", [name for name in DENSE if name.startswith("tiny-")])
@pytest.mark.parametrize("change", [{}, {"kv_heads": 8}, {"heads": 16, "kv_heads": 1}, {"layers": 1}])
def test_parameters_as_transformers_counts_them(name: str, change: dict[str, int]) -> None:
    shape = PRESETS[name].with_(**change)
    assert shape.parameters == of_library(shape)


def test_parameters_of_tied_embeddings_and_of_heads_of_their_own_width() -> None:
    tied = Shape(**{**_keys("tiny-llama"), "tied": True})
    wide = Shape(**{**_keys("tiny-llama"), "head_width": 64})
    assert tied.parameters == of_library(tied) == PRESETS["tiny-llama"].parameters - 4096 * 256
    assert wide.parameters == of_library(wide, head_dim=64)


@pytest.mark.parametrize("name", DENSE)
def test_parameters_as_built(name: str) -> None:
    network = empty_network(PRESETS[name], torch.bfloat16, torch.device("meta"), capacity=32)
    assert sum(weight.numel() for weight in network.parameters()) == PRESETS[name].parameters


def test_layers_of_both_8b_shapes_are_the_same_size() -> None:
    assert PRESETS["llama-3-8b"].layer_parameters == PRESETS["llada-8b"].layer_parameters == 218_103_808


@pytest.mark.parametrize(("name", "expected"), [("llama-3-8b", 131_072), ("llada-8b", 524_288)])
def test_cache_bytes_of_a_token(name: str, expected: int) -> None:
    assert 2 * PRESETS[name].cache_elements(1) == expected


@pytest.mark.parametrize("name", PRESETS)
def test_every_shape_can_be_run_and_says_where_it_is_from(name: str) -> None:
    shape = PRESETS[name]
    assert shape.name == name
    assert shape.heads % shape.kv_heads == 0
    assert 0 < shape.mask_id < shape.vocabulary
    assert (shape.trained_positions or 0) <= shape.max_positions
    assert shape.source


def test_of_experts_a_token_reads_those_it_takes() -> None:
    keys = {"experts": 8, "experts_per_token": 2, "moe_ffn": 128, "declared_parameters": 9_000_000, "tied": True}
    shape = Shape(**{**_keys("tiny-llama"), **keys})
    assert shape.parameters == 9_000_000
    assert shape.streamed_parameters == 9_000_000 - 6 * 3 * 256 * 128 * 4


def test_presets_are_read_when_one_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(presets, "SOURCE", tmp_path / "presets.toml")
    late = presets.Presets()
    (tmp_path / "presets.toml").write_text(
        '[a]\nlayout = "llama"\nhidden = 8\nlayers = 1\nheads = 2\nkv_heads = 1\nffn = 8\nvocabulary = 9\n'
        'mask_id = 8\nhead_dim = 6\nsource = "a test"\n'
    )
    assert (list(late), late["a"].head_dim, late["a"].name) == (["a"], 6, "a")


def _keys(name: str) -> dict[str, Any]:
    return {field: getattr(PRESETS[name], field) for field in Shape.__struct_fields__}
