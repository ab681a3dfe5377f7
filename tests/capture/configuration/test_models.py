"""What `model` names: tables of a configuration and Hugging Face directories, and the sentence for each refusal."""

import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.theory.output import theory
from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.huggingface import FAMILIES
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import PRESETS, published, shape_of
from ridgeline.capture.configuration.shape import RopeScaling, Shape
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.sweep import sweep

AR = {"mode": "ar", "prompt_tokens": 8, "generated_tokens": 16, "dtype": "fp32"}
MINE = {"hidden": 64, "layers": 2, "heads": 4, "ffn": 128, "vocabulary": 512}
LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 512, "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "hidden_act": "silu", "tie_word_embeddings": False,
}  # fmt: skip
LLADA = {
    "model_type": "llada", "d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "mlp_hidden_size": 128,
    "embedding_size": 512, "vocab_size": 500, "mask_token_id": 450, "max_sequence_length": 4096, "rope": True,
    "rope_theta": 500_000.0, "rms_norm_eps": 1e-5, "weight_tying": False, "block_type": "llama",
    "multi_query_attention": None,
}  # fmt: skip


def one(folder: Path, **document: Any) -> Point:
    (point,) = config.points({**AR, **document}, source="c.toml", folder=folder)
    return point


def directory(folder: Path, name: str, **stored: Any) -> Path:
    (folder / name).mkdir()
    (folder / name / "config.json").write_text(json.dumps(stored))
    return folder / name


def refusal(folder: Path, **document: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        one(folder, **document)
    assert str(refused.value).startswith("c.toml")
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix("c.toml")


def test_a_table_is_a_model_with_defaults(tmp_path: Path) -> None:
    point = one(tmp_path, model="mine", models={"mine": MINE})
    expected: dict[str, Any] = {
        **MINE,
        "name": "mine",
        "layout": "llama",
        "kv_heads": 4,
        "mask_id": 511,
        "source": "the configuration",
    }
    assert point.shape == Shape(**expected)
    assert point.directory == "mine_ar_p8_g16_b1_fp32_eager"
    assert shape_of(one(tmp_path, model="mine", models={"mine": MINE}, layers=1, kv_heads=1)).layers == 1


def test_a_preset_s_own_values_make_the_same_shape(tmp_path: Path) -> None:
    preset = PRESETS["tiny-dream"]
    table = {
        "layout": "dream", "hidden": 256, "layers": 4, "heads": 8, "kv_heads": 2, "ffn": 1280, "vocabulary": 4096,
        "mask_id": 4094, "rope_theta": 1e6, "norm_eps": 1e-6, "qkv_bias": True, "shifted": True,
        "source": preset.source,
    }  # fmt: skip
    mine = published(one(tmp_path, model="mine", models={"mine": table}))
    assert {**_fields(mine), "name": "tiny-dream"} == _fields(preset)


def _fields(shape: Shape) -> dict[str, Any]:
    return {name: getattr(shape, name) for name in Shape.__struct_fields__}


def test_tables_stand_in_lists_and_in_runs(tmp_path: Path) -> None:
    document = {
        **AR,
        "models": {"mine": MINE},
        "runs": [{"model": ["tiny-llama", "mine"]}, {"model": "mine", "batch": 2}],
    }
    points = config.points(document, source="c.toml", folder=tmp_path)
    assert [(point.model, point.batch) for point in points] == [("tiny-llama", 1), ("mine", 1), ("mine", 2)]


def test_a_plan_prices_a_table_by_its_own_numbers(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'model = "mine"\nmode = "ar"\nprompt_tokens = 8\ngenerated_tokens = 16\n\n'
        "[models.mine]\nhidden = 64\nlayers = 2\nheads = 4\nffn = 128\nvocabulary = 512\ntied = true\n"
    )
    (described,) = sweep.describe(sweep.load(tmp_path / "c.toml"))
    # Per layer four square projections, three of the FFN and two norms; one more norm; one table.
    parameters = 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64 + 512 * 64
    assert described.footprint.weights_bytes == 2 * parameters
    assert described.footprint.cache_bytes == 2 * 2 * 64 * 24 * 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"hiden": 64}, ', models.mine: unknown key "hiden"; did you mean "hidden"?'),
        ({"hidden": 0}, ", models.mine: hidden = 0; expected int >= 1."),
        ({"hidden": "64"}, ', models.mine: hidden = "64"; expected int, got str.'),
        ({"vocabulary": "x"}, ', models.mine: vocabulary = "x"; expected int, got str.'),
        ({"layout": "gpt"}, ', models.mine: layout = "gpt"; expected one of llama, llada, dream, diffusion_gemma.'),
        ({"mask_id": 512}, ", models.mine: mask_id = 512 is no id of 512; expected at most 511."),
        (
            {"experts": 8},
            ', models.mine: experts is set with layout = "llama"; expected it with "diffusion_gemma" only.',
        ),
        (
            {"layout": "diffusion_gemma", "experts": 8},
            ', models.mine: layout = "diffusion_gemma" lacks experts_per_token, moe_ffn, sliding_window, '
            "global_head_dim, declared_parameters; expected these keys.",
        ),
        ({"kv_heads": 3}, ": kv_heads = 3 does not divide heads = 4; expected a divisor of 4."),
        ({"heads": 3}, ": heads = 3 does not divide the width 64 of mine; expected a divisor of 64."),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    assert refusal(tmp_path, model="mine", models={"mine": {**MINE, **table}}) == message


def test_a_table_without_a_size_is_refused(tmp_path: Path) -> None:
    for key in MINE:
        table = {name: value for name, value in MINE.items() if name != key}
        message = refusal(tmp_path, model="mine", models={"mine": table})
        assert message == f", models.mine: {key} is missing; expected an integer."


@pytest.mark.parametrize("name", ["a/b", "a\\b", ".a", "a\nb", ""])
def test_a_table_that_cannot_name_a_directory_is_refused(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, model="tiny-llama", models={name: MINE})
    assert message.endswith(
        f"the name {json.dumps(name)} cannot begin the name of a directory; expected printable characters without "
        '"/" and "\\", and no "." at its start.'
    )


def test_other_wrong_models_are_refused(tmp_path: Path) -> None:
    mine = {"models": {"mine": MINE}}
    assert refusal(tmp_path, model="mne", **mine) == (
        f': model = "mne"; expected one of {", ".join(PRESETS)}, mine (nearest: mine).'
    )
    assert refusal(tmp_path, model="mine", models={"tiny-llama": MINE}) == (
        ", models.tiny-llama is the name of a preset; expected another name."
    )
    assert refusal(tmp_path, model="mine", models=[MINE]) == ": models is a list; expected [models.NAME] tables."
    assert refusal(tmp_path, model="./none") == (
        ': model = "./none" is no directory; expected a Hugging Face directory, relative to the configuration.'
    )
    (tmp_path / "bare").mkdir()
    assert refusal(tmp_path, model="bare") == ': model = "bare" has no config.json; expected a Hugging Face directory.'


def test_a_directory_is_a_model_under_its_name(tmp_path: Path) -> None:
    directory(tmp_path, "net", **LLAMA)
    expected = Shape(
        name="net", layout="llama", hidden=64, layers=2, heads=4, kv_heads=2, ffn=128, vocabulary=512, mask_id=511,
        norm_eps=1e-5, trained_positions=2048, source="config.json of net",
    )  # fmt: skip
    for value in ("net", "./net", str(tmp_path / "net")):
        point = one(tmp_path, model=value)
        assert (point.model, point.shape, point.checkpoint) == ("net", expected, None)
    (tmp_path / "net" / "model.safetensors").write_bytes(b"")
    assert one(tmp_path, model="net").checkpoint == str(tmp_path / "net")
    assert one(tmp_path, model="net", checkpoint=str(tmp_path / "./net")).checkpoint == str(tmp_path / "./net")


def test_a_preset_s_name_is_no_directory(tmp_path: Path) -> None:
    directory(tmp_path, "tiny-llama", **LLAMA)
    assert one(tmp_path, model="tiny-llama").shape is None
    assert one(tmp_path, model="./tiny-llama").shape is not None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({**LLAMA, "num_key_value_heads": None}, {"kv_heads": 4}),
        ({**LLAMA, "tie_word_embeddings": True, "head_dim": 32}, {"tied": True, "head_dim": 32}),
        ({**LLAMA, "model_type": "qwen2"}, {"qkv_bias": True, "qk_norm": False}),
        ({**LLAMA, "model_type": "qwen3"}, {"qk_norm": True, "qkv_bias": False, "head_dim": 128}),
        (
            {**LLAMA, "model_type": "Dream", "mask_token_id": 300},
            {"layout": "dream", "shifted": True, "qkv_bias": True, "mask_id": 300},
        ),
        (LLADA, {"layout": "llada", "mask_id": 450, "vocabulary": 512, "trained_positions": 4096, "ffn": 128}),
        ({**LLAMA, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}}, {"rope_theta": 9.0}),
        ({**LLAMA, "rope_scaling": {"type": "linear", "factor": 2.0}},
         {"rope_scaling": RopeScaling(rope_type="linear", factor=2.0), "rope_theta": 500_000.0}),
        ({**LLAMA, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
         {"rope_scaling": RopeScaling(rope_type="yarn", factor=4.0, original_max_position_embeddings=2048)}),
    ],
)  # fmt: skip
def test_every_family_is_read(tmp_path: Path, stored: dict[str, Any], expected: dict[str, Any]) -> None:
    directory(tmp_path, "net", **stored)
    shape = shape_of(one(tmp_path, model="net"))
    assert {name: getattr(shape, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"model_type": "gpt2"}, f' has model_type = "gpt2"; expected one of {", ".join(FAMILIES)}.'),
        ({}, f" has model_type = null; expected one of {', '.join(FAMILIES)}."),
        ({**LLAMA, "hidden_act": "gelu"},
         ' has hidden_act = "gelu", which the decoder does not run; expected hidden_act = "silu".'),
        ({**LLAMA, "attention_bias": True},
         " has attention_bias = true, which the decoder does not run; expected attention_bias = false."),
        ({**LLAMA, "model_type": "qwen2", "use_sliding_window": True},
         " has use_sliding_window = true, which the decoder does not run; expected use_sliding_window = false."),
        ({**LLAMA, "quantization_config": {"bits": 4}},
         ' has quantization_config = {"bits": 4}, which the decoder does not run; expected no quantization_config.'),
        ({**LLADA, "alibi": True}, " has alibi = true, which the decoder does not run; expected alibi = false."),
        ({**LLAMA, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
         ' has rope_type = "dynamic", which the decoder does not run; expected default, linear, llama3 or yarn.'),
        ({**LLAMA, "hidden_size": None}, " has no hidden_size in its config.json; expected one."),
        ({**LLAMA, "model_type": "Dream"}, " has no mask_token_id in its config.json; expected one."),
        ({**LLADA, "mask_token_id": 512}, " has mask_token_id = 512; expected an id below 512."),
        ({**LLAMA, "vocab_size": "big"}, " has no mask_token_id in its config.json; expected one."),
        ({**LLAMA, "hidden_size": -1}, ": its config.json describes no decoder: Expected `int` >= 1 - at `$.hidden`."),
        ({**LLAMA, "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}},
         ": its config.json describes no decoder: Object contains unknown field `mscale` - at `$.rope_scaling`."),
    ],
)  # fmt: skip
def test_a_directory_that_the_decoder_cannot_run_is_refused(
    tmp_path: Path, stored: dict[str, Any], message: str
) -> None:
    directory(tmp_path, "net", **stored)
    assert refusal(tmp_path, model="net") == f': model = "net"{message}'


def test_a_broken_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("[1]")
    assert refusal(tmp_path, model="net").startswith(': model = "net": its config.json is no JSON object: Expected')


def test_lengths_beyond_the_file_s_need_beyond_training(tmp_path: Path) -> None:
    directory(tmp_path, "net", **{**LLAMA, "max_position_embeddings": 20})
    assert refusal(tmp_path, model="net") == (
        ": prompt_tokens + generated_tokens = 24 exceeds the 20 positions that net was trained for; expected at most "
        "20, or beyond_training = true to measure times and bytes only."
    )
    assert one(tmp_path, model="net", beyond_training=True).beyond_training


def test_theory_takes_a_directory(tmp_path: Path) -> None:
    net = directory(tmp_path, "net", **LLAMA)
    text = theory(model=str(net), mode="ar", prompt=8, generate=4, device="A100")
    assert text.startswith("net, ar: 8 prompt and 4 generated tokens, batch 1, bf16\n")
