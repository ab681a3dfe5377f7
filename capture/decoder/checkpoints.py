"""Weights from a local directory in Hugging Face layout: LLaMA's keys, Dream's or LLaDA's; nothing is downloaded."""

from pathlib import Path
from typing import Any

import msgspec
import torch

from ridgeline.capture.configuration.presets import PRESETS, Shape
from ridgeline.capture.decoder.decoder import Decoder, network_class, network_config, restore_rotary
from ridgeline.capture.errors import CheckpointError

LLADA_KEYS = {
    r"^model\.transformer\.wte\.": "model.embed_tokens.",
    r"^model\.transformer\.ln_f\.": "model.norm.",
    r"^model\.transformer\.ff_out\.": "lm_head.",
    r"^model\.transformer\.blocks\.(\d+)\.q_proj\.": r"model.layers.\1.self_attn.q_proj.",
    r"^model\.transformer\.blocks\.(\d+)\.k_proj\.": r"model.layers.\1.self_attn.k_proj.",
    r"^model\.transformer\.blocks\.(\d+)\.v_proj\.": r"model.layers.\1.self_attn.v_proj.",
    r"^model\.transformer\.blocks\.(\d+)\.attn_out\.": r"model.layers.\1.self_attn.o_proj.",
    r"^model\.transformer\.blocks\.(\d+)\.ff_proj\.": r"model.layers.\1.mlp.gate_proj.",
    r"^model\.transformer\.blocks\.(\d+)\.up_proj\.": r"model.layers.\1.mlp.up_proj.",
    r"^model\.transformer\.blocks\.(\d+)\.ff_out\.": r"model.layers.\1.mlp.down_proj.",
    r"^model\.transformer\.blocks\.(\d+)\.attn_norm\.": r"model.layers.\1.input_layernorm.",
    r"^model\.transformer\.blocks\.(\d+)\.ff_norm\.": r"model.layers.\1.post_attention_layernorm.",
}
"""LLaDA's published keys, as patterns with at most one group, and the same weights' names in LLaMA's blocks."""

_HUGGING_FACE = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "ffn": "intermediate_size",
    "vocabulary": "vocab_size",
}
_SIZE_KEYS = {
    "llama": _HUGGING_FACE,
    "dream": _HUGGING_FACE,
    "llada": {
        "hidden": "d_model",
        "layers": "n_layers",
        "heads": "n_heads",
        "kv_heads": "n_kv_heads",
        "ffn": "mlp_hidden_size",
        "vocabulary": "embedding_size",
    },
}


def check(directory: Path, shape: Shape) -> None:
    """Raise CheckpointError unless the directory's config.json describes the shape."""
    try:
        stored = msgspec.json.decode((directory / "config.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{directory}/config.json cannot be read: {error}.") from error
    published = PRESETS[shape.name]  # A point may run a subset of the layers; the checkpoint has them all.
    keys = _SIZE_KEYS[shape.layout]
    if stored.get(keys["kv_heads"]) is None:  # Both layouts mean as many as there are heads then.
        stored[keys["kv_heads"]] = stored.get(keys["heads"])
    for attribute, key in keys.items():
        expected = getattr(published, attribute)
        if stored.get(key) != expected:
            raise CheckpointError(
                f"{directory}/config.json has {key} = {stored.get(key)}; {shape.name} expects {expected}: "
                "name the model the checkpoint was made for."
            )


def load(
    directory: Path,
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    *,
    capacity: int,
    fused: bool = False,
    linear: str = "model",
) -> Decoder:
    """A decoder with the directory's weights on `device`, which holds them all before 8-bit ones are made of them.

    Raises CheckpointError when the directory is of another shape or lacks weights.
    """
    check(directory, shape)
    config = network_config(shape, capacity)
    mapping = LLADA_KEYS if shape.layout == "llada" else None
    library = network_class(shape)
    network, report = library.from_pretrained(
        str(directory), config=config, dtype=dtype, key_mapping=mapping, local_files_only=True, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{directory} lacks {len(missing)} of the weights of {shape.name}, first {missing[0]}; expected all."
        )
    network = network.to(device).requires_grad_(False)
    restore_rotary(network, device)
    return Decoder(network, shape, capacity=capacity, fused=fused, linear=linear)
