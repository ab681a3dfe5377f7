"""Weights from a local Hugging Face directory with the keys of LLaMA, Dream or LLaDA. Nothing is downloaded."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch

from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.configuration.shape import Shape
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
"""LLaDA's published keys, as patterns with at most one group, and the names of the same weights in LLaMA's blocks."""

_SIZE_KEYS = {
    "hidden": ("hidden_size", "d_model"),
    "layers": ("num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "kv_heads": ("num_key_value_heads", "n_kv_heads"),
    "ffn": ("intermediate_size", "mlp_hidden_size"),
    "vocabulary": ("vocab_size", "embedding_size"),
}
"""For each size of a shape, its key in config.json: LLaMA's and Dream's, and LLaDA's."""


def check(directory: Path, shape: Shape, *, layers: int | None = None) -> None:
    """Raise CheckpointError unless config.json in `directory` has the sizes of `shape`, and `layers` layers.

    A checkpoint has all layers of its model, even where a point runs a subset. None means those of the preset.
    """
    try:
        stored = msgspec.json.decode((directory / "config.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{directory.name}/config.json cannot be read: {error}.") from error
    published = shape.with_(layers=layers or PRESETS.get(shape.name, shape).layers)
    keys = {attribute: llada if shape.layout == "llada" else llama for attribute, (llama, llada) in _SIZE_KEYS.items()}
    if stored.get(keys["kv_heads"]) is None:  # In both layouts the default is the number of heads.
        stored[keys["kv_heads"]] = stored.get(keys["heads"])
    for attribute, key in keys.items():
        expected = getattr(published, attribute)
        if stored.get(key) != expected:
            raise CheckpointError(
                f"{directory.name}/config.json has {key} = {stored.get(key)}; {shape.name} expects {expected}: "
                "name the model the checkpoint was made for."
            )


def load(
    directory: Path,
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    *,
    capacity: int,
    layers: int | None = None,
    fused: bool = False,
    linear: str = "model",
) -> Decoder:
    """A decoder with the weights in `directory` on `device`, quantized there if `linear` is `fp8` or `int8`.

    `layers` is the number that the directory holds, as in `check`. Raises CheckpointError when config.json describes
    another shape or weights are missing.
    """
    check(directory, shape, layers=layers)
    network, report = network_class(shape).from_pretrained(
        str(directory),
        config=network_config(shape, capacity),
        dtype=dtype,
        key_mapping=LLADA_KEYS if shape.layout == "llada" else None,
        ignore_mismatched_sizes=True,  # they are in the report, and refused below
        local_files_only=True,
        output_loading_info=True,
    )
    _check_weights(directory, shape, report)
    network = network.to(device).requires_grad_(False)
    network.tie_weights()
    restore_rotary(network, device)
    return Decoder(network, shape, capacity=capacity, fused=fused, linear=linear)


def _check_weights(directory: Path, shape: Shape, report: dict[str, Any]) -> None:
    """Raise CheckpointError unless the weights that the library's `report` lists are those of the shape."""
    wrong = {
        "lacks {} of the weights": sorted(report["missing_keys"]),
        "has {} weights of other sizes than those": sorted(each[0] for each in report["mismatched_keys"]),
        # A run may have fewer layers than the checkpoint. A bias or a norm without a place would change the results.
        "has {} weights beside those": sorted(filter(_of_layer_below(shape.layers), report["unexpected_keys"])),
    }
    for found, keys in wrong.items():
        if keys:
            raise CheckpointError(
                f"{directory.name} {found.format(len(keys))} of {shape.name}, first {keys[0]}; expected all and no "
                "others: name the model the checkpoint was made for, or download it again."
            )


def _of_layer_below(layers: int) -> Callable[[str], bool]:
    """Return whether a key is a weight of one of the first `layers` layers; old checkpoints hold rotary frequencies."""

    def has(key: str) -> bool:
        match = re.match(r"model\.layers\.(\d+)\.", key)
        return match is not None and int(match[1]) < layers and "rotary_emb" not in key

    return has
