"""Directories of every supported family, written by the library: the decoder has the library's logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from ridgeline.capture.configuration.points import points
from ridgeline.capture.configuration.presets import published, shape_of
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.errors import CheckpointError
from ridgeline.capture.sweep.recording import Workshop
from tests.capture.conftest import SMALL

CPU = torch.device("cpu")
TOKENS = torch.arange(1, 40)[None]
SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 128, "max_position_embeddings": 64,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0}
LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}
QWEN3 = {"head_dim": 32, "tie_word_embeddings": True}
FAMILIES: list[tuple[Any, Any, dict[str, Any]]] = [
    (LlamaConfig, LlamaForCausalLM, {}),
    (LlamaConfig, LlamaForCausalLM, {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    (LlamaConfig, LlamaForCausalLM, {"rope_parameters": YARN}),
    (LlamaConfig, LlamaForCausalLM, {"rope_parameters": LINEAR}),
    (Qwen2Config, Qwen2ForCausalLM, {"rms_norm_eps": 1e-3}),
    (Qwen3Config, Qwen3ForCausalLM, QWEN3),
]


def saved(folder: Path, config: Any, network: Any, keys: dict[str, Any]) -> Any:
    """The library's model with weights far from their initial ones, saved into `folder/net`."""
    torch.manual_seed(1)
    with torch.inference_mode(False), torch.no_grad():
        model = network(config(**{**SIZES, **keys})).eval()
        for name, weight in model.named_parameters():
            weight.uniform_(0.5, 1.5) if "norm" in name else weight.normal_(0.0, 0.1)
        model.save_pretrained(folder / "net")
    return model


@pytest.mark.parametrize(("config", "network", "keys"), FAMILIES)
@pytest.mark.parametrize("fused", [False, True])
def test_a_saved_model_has_the_library_s_logits(
    tmp_path: Path, config: Any, network: Any, keys: dict[str, Any], fused: bool
) -> None:
    model = saved(tmp_path, config, network, keys)
    (point,) = points({**SMALL, "model": "net", "mode": "ar", "fused": fused}, folder=tmp_path)
    assert point.checkpoint == str(tmp_path / "net")
    decoder = Workshop().decoder(point, CPU)
    decoder.reserve(64)
    expected = model(input_ids=TOKENS, use_cache=False).logits
    actual = decoder.forward(TOKENS, decoder.positions[:39], View(causal=True))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert published(point).parameters == model.num_parameters()
    assert decoder.nbytes >= 4 * published(point).parameters


@pytest.mark.parametrize("keys", [{}, {"layers": 1}])
def test_weights_of_a_directory_and_random_ones_fill_the_shape(tmp_path: Path, keys: dict[str, Any]) -> None:
    saved(tmp_path, Qwen3Config, Qwen3ForCausalLM, QWEN3)
    (loaded,) = points({**SMALL, "model": "net", "mode": "ar", **keys}, folder=tmp_path)
    (tmp_path / "net" / "model.safetensors").rename(tmp_path / "net" / "weights")
    (random,) = points({**SMALL, "model": "net", "mode": "ar", **keys}, folder=tmp_path)
    assert random.checkpoint is None
    decoder = Workshop().decoder(random, CPU)
    assert decoder.network.lm_head.weight is decoder.network.model.embed_tokens.weight
    assert sum(weight.numel() for weight in decoder.network.parameters()) == shape_of(random).parameters
    (tmp_path / "net" / "weights").rename(tmp_path / "net" / "model.safetensors")
    assert Workshop().decoder(loaded, CPU).depth == keys.get("layers", 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"qwen2"', '"qwen3"', "net lacks 4 of the weights of net, first model.layers.0.self_attn.k_norm.weight;"),
        ('"qwen2"', '"llama"', "net has 6 weights beside those of net, first model.layers.0.self_attn.k_proj.bias;"),
        (
            '_size": 96',
            '_size": 80',
            "net has 6 weights of other sizes than those of net, first model.layers.0.mlp.down",
        ),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    saved(tmp_path, Qwen2Config, Qwen2ForCausalLM, {})
    text = (tmp_path / "net" / "config.json").read_text()
    assert old in text
    changed = text.replace(old, new)
    if "qwen3" in new:
        changed = changed.replace("{", '{"head_dim": 16,', 1)
    (tmp_path / "net" / "config.json").write_text(changed)
    (point,) = points({**SMALL, "model": "net", "mode": "ar"}, folder=tmp_path)
    with pytest.raises(CheckpointError) as refused:
        Workshop().decoder(point, CPU)
    assert str(refused.value).startswith(message)
