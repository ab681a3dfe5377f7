"""Weights from a directory: every layout gives the same decoder, and a wrong directory raises CheckpointError."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.decoder import checkpoints
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.checkpoints import LLADA_KEYS
from ridgeline.capture.decoder.decoder import Decoder, random_decoder
from ridgeline.capture.errors import CheckpointError
from tests.capture import reference

CPU = torch.device("cpu")
LLADA = {
    "model_type": "llada",
    "d_model": 256,
    "n_layers": 4,
    "n_heads": 8,
    "n_kv_heads": 8,
    "mlp_hidden_size": 768,
    "embedding_size": 4096,
}
TOKENS = torch.arange(9)[None]


def logits(decoder: Decoder) -> Tensor:
    return decoder.forward(TOKENS, torch.arange(9), View())


def plain(weights: dict[str, Tensor], name: str) -> Tensor:
    """The logits of those weights by a forward written plainly."""
    expected = reference.logits(weights, PRESETS[name], TOKENS[0], torch.ones(9, 9, dtype=torch.bool))
    return torch.cat([expected[:1], expected[:-1]])[None] if PRESETS[name].shifted else expected[None]


def published(name: str) -> str:
    """LLaDA's published key of a weight in LLaMA's blocks."""
    for pattern, llama in LLADA_KEYS.items():
        match = re.match(re.escape(llama).replace(r"\\1", r"(\d+)"), name)
        if match:
            layer = match[1] if match.groups() else ""
            return pattern.replace(r"(\d+)", layer).replace("^", "").replace("\\", "") + name[match.end() :]
    raise AssertionError(name)


def test_llama_layout(llama: Decoder, tmp_path: Path) -> None:
    with torch.inference_mode(False):
        llama.network.save_pretrained(tmp_path)
    loaded = checkpoints.load(tmp_path, PRESETS["tiny-llama"], torch.float32, CPU, capacity=32)
    assert torch.equal(logits(loaded), logits(llama))
    torch.testing.assert_close(logits(loaded), plain(llama.network.state_dict(), "tiny-llama"), rtol=1e-4, atol=1e-5)


@pytest.fixture
def llada_directory(llada: Decoder, tmp_path: Path) -> Path:
    weights = {published(name): weight.clone() for name, weight in llada.network.state_dict().items()}
    assert "model.transformer.blocks.3.attn_out.weight" in weights
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(LLADA))
    return tmp_path


def test_llada_layout(llada: Decoder, llada_directory: Path) -> None:
    loaded = checkpoints.load(llada_directory, PRESETS["tiny-llada"], torch.float32, CPU, capacity=32)
    assert torch.equal(logits(loaded), logits(llada))
    torch.testing.assert_close(logits(loaded), plain(llada.network.state_dict(), "tiny-llada"), rtol=1e-4, atol=1e-5)


def test_dream_layout(tmp_path: Path) -> None:
    """Dream's checkpoints have Qwen2's keys, biases among them."""
    weights = random_decoder(PRESETS["tiny-dream"], torch.float32, CPU, capacity=32, seed=5).network.state_dict()
    assert weights["model.layers.0.self_attn.k_proj.bias"].any()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    shape = PRESETS["tiny-dream"]
    sizes = {
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.ffn,
        "vocab_size": shape.vocabulary,
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "Dream", **sizes}))
    for fused in (False, True):
        loaded = checkpoints.load(tmp_path, shape, torch.float32, CPU, capacity=32, fused=fused)
        torch.testing.assert_close(logits(loaded), plain(weights, "tiny-dream"), rtol=1e-4, atol=1e-5)


def test_a_subset_of_the_layers_is_loaded_from_a_whole_checkpoint(llada_directory: Path) -> None:
    shape = PRESETS["tiny-llada"].with_(layers=2)
    loaded = checkpoints.load(llada_directory, shape, torch.float32, CPU, capacity=32)
    assert len(loaded.network.model.layers) == loaded.depth == 2


def test_another_shape_is_refused(llada_directory: Path) -> None:
    with pytest.raises(CheckpointError) as refused:
        checkpoints.load(llada_directory, PRESETS["llada-8b"], torch.float32, CPU, capacity=32)
    assert str(refused.value) == (
        f"{llada_directory.name}/config.json has d_model = 256; llada-8b expects 4096: "
        "name the model the checkpoint was made for."
    )


@pytest.mark.parametrize(
    ("key", "value"), [("n_heads", 4), ("n_kv_heads", 4), ("mlp_hidden_size", 512), ("embedding_size", 4095)]
)
def test_every_size_is_compared(tmp_path: Path, key: str, value: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLADA, key: value}))
    with pytest.raises(CheckpointError) as refused:
        checkpoints.check(tmp_path, PRESETS["tiny-llada"])
    assert str(refused.value) == (
        f"{tmp_path.name}/config.json has {key} = {value}; tiny-llada expects {LLADA[key]}: "
        "name the model the checkpoint was made for."
    )


@pytest.mark.parametrize(
    ("key", "value"), [("num_attention_heads", 16), ("num_key_value_heads", 8), ("intermediate_size", 900)]
)
def test_every_size_of_llama_s_layout_is_compared(tmp_path: Path, key: str, value: int) -> None:
    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2}
    sizes |= {"intermediate_size": 896, "vocab_size": 4096}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    checkpoints.check(tmp_path, PRESETS["tiny-llama"])
    (tmp_path / "config.json").write_text(json.dumps({**sizes, key: value}))
    with pytest.raises(CheckpointError, match=f"has {key} = {value}; tiny-llama expects {sizes[key]}: "):
        checkpoints.check(tmp_path, PRESETS["tiny-llama"])


@pytest.mark.parametrize("value", [{}, {"n_kv_heads": None}])
def test_kv_heads_that_are_not_said_are_as_many_as_heads(tmp_path: Path, value: dict[str, None]) -> None:
    said = {key: size for key, size in LLADA.items() if key != "n_kv_heads"}
    (tmp_path / "config.json").write_text(json.dumps({**said, **value}))
    checkpoints.check(tmp_path, PRESETS["tiny-llada"])


def test_missing_weights_are_refused(llada_directory: Path, llada: Decoder) -> None:
    weights = {published(name): weight.clone() for name, weight in llada.network.state_dict().items()}
    del weights["model.transformer.ln_f.weight"]
    save_file(weights, llada_directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 of the weights of tiny-llada, first model\.norm\.weight"):
        checkpoints.load(llada_directory, PRESETS["tiny-llada"], torch.float32, CPU, capacity=32)
