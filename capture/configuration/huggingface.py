"""The shape of a model from the config.json of a Hugging Face directory, without torch and without transformers.

Only what the decoder runs exactly is accepted; any other setting is refused by name. Keys that a file leaves out have
the defaults of its own configuration class.
"""

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import msgspec

from ridgeline.capture.configuration.shape import Shape
from ridgeline.capture.configuration.values import literal
from ridgeline.capture.errors import ConfigError


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """How a `model_type` writes a shape: fields by key, fields that all its models share, and settings it must have.

    `defaults` are of keys that a file may leave out. `exact` lists the values with which the decoder agrees.
    """

    keys: Mapping[str, str]
    fixed: Mapping[str, Any]
    exact: Mapping[str, tuple[Any, ...]]
    defaults: Mapping[str, Any]


_LLAMA_KEYS = {
    "hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "vocabulary": "vocab_size", "head_dim": "head_dim",
    "norm_eps": "rms_norm_eps", "tied": "tie_word_embeddings", "trained_positions": "max_position_embeddings",
    "mask_id": "mask_token_id",
}  # fmt: skip
_LLADA_KEYS = {
    "hidden": "d_model", "layers": "n_layers", "heads": "n_heads", "kv_heads": "n_kv_heads", "ffn": "mlp_hidden_size",
    "vocabulary": "embedding_size", "norm_eps": "rms_norm_eps", "tied": "weight_tying",
    "trained_positions": "max_sequence_length", "mask_id": "mask_token_id",
}  # fmt: skip
_LLAMA_DEFAULTS = {"rms_norm_eps": 1e-6, "tie_word_embeddings": False, "rope_theta": 10_000.0, "hidden_act": "silu"}
_UNQUANTIZED = {"quantization_config": (None,), "partial_rotary_factor": (None, 1.0)}
_FULL = {"hidden_act": ("silu",), "use_sliding_window": (None, False), **_UNQUANTIZED}
_QWEN = {**_LLAMA_DEFAULTS, "max_position_embeddings": 32_768}

FAMILIES = {
    "llama": Family(
        keys=_LLAMA_KEYS,
        fixed={"layout": "llama"},
        exact={"hidden_act": ("silu",), "attention_bias": (None, False), "mlp_bias": (None, False), **_UNQUANTIZED},
        defaults={**_LLAMA_DEFAULTS, "max_position_embeddings": 2048},
    ),
    "qwen2": Family(keys=_LLAMA_KEYS, fixed={"layout": "llama", "qkv_bias": True}, exact=_FULL, defaults=_QWEN),
    "qwen3": Family(
        keys=_LLAMA_KEYS,
        fixed={"layout": "llama", "qk_norm": True},
        exact={**_FULL, "attention_bias": (None, False)},
        defaults={**_QWEN, "head_dim": 128},
    ),
    "Dream": Family(
        keys=_LLAMA_KEYS, fixed={"layout": "dream", "qkv_bias": True, "shifted": True}, exact=_FULL, defaults=_QWEN
    ),
    "llada": Family(
        keys=_LLADA_KEYS,
        fixed={"layout": "llada"},
        exact={
            "activation_type": (None, "silu"), "block_type": (None, "llama"), "layer_norm_type": (None, "rms"),
            "rope": (None, True), "alibi": (None, False), "include_bias": (None, False),
            "include_qkv_bias": (None, False), "attention_layer_norm": (None, False), "scale_logits": (None, False),
            "input_emb_norm": (None, False), "multi_query_attention": (None, False), **_UNQUANTIZED,
        },
        defaults={"rms_norm_eps": 1e-5, "weight_tying": False, "rope_theta": 10_000.0},
    ),
}  # fmt: skip
"""The families that the decoder runs exactly, by `model_type`."""

MAX_POSITIONS = 131_072
"""The longest sequence that a model may run, unless it was trained for longer ones."""

MASKED = frozenset({"Dream", "llada"})
"""Families whose mask token must be known. Other models have none, and the last id stands in."""


def shape_in(directory: Path, where: str) -> Shape:
    """Return the shape of the model in `directory`, named like it. `trained_positions` is the file's longest sequence.

    Raises ConfigError, with `where` in front, for a file that cannot be read, an unsupported family or setting, and a
    missing or wrong size.
    """
    kind, family, stored = _stored(directory, where)
    values = {name: stored[key] for name, key in family.keys.items() if key in stored}
    # Every family has as many heads of keys as of queries unless the file says otherwise.
    values.setdefault("kv_heads", values.get("heads"))
    vocabulary, trained = values.get("vocabulary"), values.get("trained_positions")
    if kind not in MASKED and isinstance(vocabulary, int):
        values.setdefault("mask_id", vocabulary - 1)
    for name, key in family.keys.items():
        if values.get(name) is None and name not in ("head_dim", "trained_positions"):
            raise ConfigError(f"{where} has no {key} in its config.json; expected one.")
    values |= {**family.fixed, **_rope(stored, where), "name": directory.name}
    values["source"] = f"config.json of {directory.name}"
    values["max_positions"] = max(MAX_POSITIONS, trained if isinstance(trained, int) else 0)
    try:
        shape = msgspec.convert(values, Shape)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: its config.json describes no decoder: {error}.") from None
    if shape.mask_id >= shape.vocabulary:
        raise ConfigError(f"{where} has mask_token_id = {shape.mask_id}; expected an id below {shape.vocabulary}.")
    return shape


def _stored(directory: Path, where: str) -> tuple[str, Family, dict[str, Any]]:
    """Return the `model_type` of config.json, its family, and the content with defaults and without nulls.

    Raises ConfigError for a file that cannot be read, and an unsupported family or setting.
    """
    try:
        stored = msgspec.json.decode((directory / "config.json").read_bytes(), type=dict[str, Any])
    except OSError:
        raise ConfigError(f"{where} has no config.json; expected a Hugging Face directory.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: its config.json is no JSON object: {error}.") from None
    kind = stored.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ConfigError(f"{where} has model_type = {literal(kind)}; expected one of {', '.join(FAMILIES)}.")
    family = FAMILIES[kind]
    stored = {**family.defaults, **{key: value for key, value in stored.items() if value is not None}}
    for key, allowed in family.exact.items():
        if stored.get(key) not in allowed:
            expected = f"no {key}" if allowed[-1] is None else f"{key} = {literal(allowed[-1])}"
            raise ConfigError(
                f"{where} has {key} = {shorten(literal(stored[key]), 80)}, which the decoder does not run; "
                f"expected {expected}."
            )
    return kind, family, stored


def _rope(stored: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return `rope_theta` and `rope_scaling` from the keys of transformers 5 (`rope_parameters`) or of earlier ones."""
    rope = stored.get("rope_parameters") or stored.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise ConfigError(f"{where} has rope_scaling = {literal(rope)}; expected an object.")
    rope = {key: value for key, value in rope.items() if value is not None}
    theta = rope.pop("rope_theta", stored.get("rope_theta"))
    kind = rope.pop("rope_type", rope.pop("type", "default"))
    rope.pop("type", None)
    if rope.pop("partial_rotary_factor", 1.0) != 1.0:
        raise ConfigError(f"{where} has partial_rotary_factor in rope_parameters; expected 1.0.")
    if kind == "default":
        return {"rope_theta": theta}
    if kind not in ("linear", "llama3", "yarn"):
        raise ConfigError(
            f"{where} has rope_type = {literal(kind)}, which the decoder does not run; "
            "expected default, linear, llama3 or yarn."
        )
    # The library's default is the longest sequence of its configuration, which here is that of the run.
    if kind == "yarn":
        rope.setdefault("original_max_position_embeddings", stored.get("max_position_embeddings"))
    return {"rope_theta": theta, "rope_scaling": {"rope_type": kind, **rope}}
