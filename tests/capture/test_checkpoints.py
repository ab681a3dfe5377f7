"""Weights from a directory: both layouts give the same decoder, and a wrong directory is refused with a sentence."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from capture import checkpoints
from capture.checkpoints import LLADA_KEYS
from capture.errors import CheckpointError
from capture.models import Decoder
from capture.presets import PRESETS

CPU = torch.device("cpu")
TOKENS = torch.arange(9)[None]


def published(name: str) -> str:
    """LLaDA's published key of a weight in LLaMA's blocks."""
    for pattern, ours in LLADA_KEYS.items():
        match = re.match(re.escape(ours).replace(r"\\1", r"(\d+)"), name)
        if match:
            layer = match[1] if match.groups() else ""
            return pattern.replace(r"(\d+)", layer).replace("^", "").replace("\\", "") + name[match.end() :]
    raise AssertionError(name)


def test_llama_layout(llama: Decoder, tmp_path: Path) -> None:
    with torch.inference_mode(False):
        llama.network.save_pretrained(tmp_path)
    loaded = checkpoints.load(tmp_path, PRESETS["tiny-llama"], torch.float32, CPU, capacity=32)
    assert torch.equal(loaded.forward(TOKENS), llama.forward(TOKENS))


@pytest.fixture
def llada_directory(llada: Decoder, tmp_path: Path) -> Path:
    weights = {published(name): weight.clone() for name, weight in llada.network.state_dict().items()}
    assert "model.transformer.blocks.3.attn_out.weight" in weights
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    sizes = {"model_type": "llada", "d_model": 256, "n_layers": 4, "embedding_size": 4096}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    return tmp_path


def test_llada_layout(llada: Decoder, llada_directory: Path) -> None:
    loaded = checkpoints.load(llada_directory, PRESETS["tiny-llada"], torch.float32, CPU, capacity=32)
    assert torch.equal(loaded.forward(TOKENS), llada.forward(TOKENS))


def test_another_shape_is_refused(llada_directory: Path) -> None:
    with pytest.raises(CheckpointError) as refused:
        checkpoints.load(llada_directory, PRESETS["llada-8b"], torch.float32, CPU, capacity=32)
    assert str(refused.value) == (
        f"{llada_directory}/config.json has d_model = 256; llada-8b expects 4096: "
        "name the model the checkpoint was made for."
    )


def test_missing_weights_are_refused(llada_directory: Path, llada: Decoder) -> None:
    weights = {published(name): weight.clone() for name, weight in llada.network.state_dict().items()}
    del weights["model.transformer.ln_f.weight"]
    save_file(weights, llada_directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 of the weights of tiny-llada, first model\.norm\.weight"):
        checkpoints.load(llada_directory, PRESETS["tiny-llada"], torch.float32, CPU, capacity=32)
