"""Configurations: what they expand to, and the exact sentence for each that is refused."""

from pathlib import Path
from typing import Any

import pytest

from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.constraints import unsupported
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import PRESETS, shape_of
from ridgeline.capture.errors import ConfigError

AR = {"model": "tiny-llama", "mode": "ar", "prompt_tokens": 8, "generated_tokens": 16}
TRAINED = {"llama-3-8b": 8192, "llada-8b": 4096, "llama-34b": 16_384, "llama-3-70b": 8192, "dream-7b": 2048}
"""What the published models were trained for."""
DLM = {**AR, "mode": "dlm_block_dual", "block": 4}


def test_defaults_are_filled_in() -> None:
    (point,) = config.points({**AR, "mode": "dlm_full"}, source="x.toml")
    assert (point.batch, point.block, point.steps, point.dtype) == (1, 16, 16, "bf16")
    assert (point.device, point.repeats, point.execution) == ("auto", 3, "eager")
    assert (point.seed, point.experiment, point.length) == (0, "x", 24)


def test_lists_expand_to_their_product_in_order() -> None:
    points = config.points({**DLM, "block": [4, 8], "batch": [1, 2]})
    assert [(point.batch, point.block) for point in points] == [(1, 4), (1, 8), (2, 4), (2, 8)]


def test_runs_share_the_keys_at_the_top_and_override_them() -> None:
    document = {**AR, "repeats": 5, "runs": [{"batch": [1, 2]}, {"mode": "dlm_full", "repeats": 1}]}
    points = config.points(document)
    assert [(point.mode, point.batch, point.repeats) for point in points] == [
        ("ar", 1, 5),
        ("ar", 2, 5),
        ("dlm_full", 1, 1),
    ]


def test_keys_of_other_modes_do_not_multiply_a_sweep() -> None:
    points = config.points({**AR, "mode": ["ar", "dlm_full"], "block": [4, 8], "steps": [8, 16]})
    assert [point.mode for point in points] == ["ar"] + 4 * ["dlm_full"]
    assert (points[0].block, points[0].steps) == (None, None)


def test_names_tell_points_apart() -> None:
    (ar,) = config.points({**AR, "dtype": "fp16"})
    (dual,) = config.points({**DLM, "seed": 3})
    assert ar.directory == "tiny-llama_ar_p8_g16_b1_fp16_eager"
    assert dual.directory == "tiny-llama_dlm_block_dual_p8_g16_b1_block4_k16_bf16_eager_seed3"


def test_a_given_name_is_the_directory() -> None:
    (point,) = config.points({**AR, "name": "baseline"})
    assert point.directory == "baseline"


def one(**keys: Any) -> Point:
    (point,) = config.points(keys)
    return point


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"schedule": [[1, 3]], "steps": 8}, "k8_s1-3"),
        ({"threshold": 0.9}, "block4_t0.9"),
        ({"factor": 1.5}, "block4_f1.5"),
        ({"variant": "faithful"}, "k16_faithful"),
        ({"variant": "faithful", "sampling": "fp32"}, "k16_sampling-fp32_faithful"),
        ({"variant": "unrotated"}, "k16_unrotated"),
        ({"guidance": 1}, "k16_cfg1"),
        ({"temperature": 0.7}, "k16_temp0.7"),
        ({"remasking": "random"}, "k16_random"),
        ({"sampling": "fp64"}, "k16_fp64"),
        ({"layers": 2}, "k16_layers2"),
        ({"heads": 4, "kv_heads": 4}, "k16_heads4_kv4"),
        ({"attention": "flash"}, "k16_attn-flash"),
        ({"linear": "int8", "attention": "math"}, "k16_linear-int8_attn-math"),
        ({"fused": True}, "k16_fused"),
        ({"fused": False}, "k16"),
    ],
)
def test_a_directory_says_what_differs_from_the_defaults(change: dict[str, Any], part: str) -> None:
    between = one(**DLM, **change).directory.removeprefix("tiny-llama_dlm_block_dual_p8_g16_b1_")
    expected = part if part.startswith("block4") else f"block4_{part}"
    assert between.removesuffix("_bf16_eager") == expected


@pytest.mark.parametrize(
    ("change", "end"),
    [({}, "k16_bf16_compile"), ({"fused": True}, "k16_bf16_compile"), ({"fused": False}, "k16_unfused_bf16_compile")],
)
def test_compiled_points_are_fused_by_default(change: dict[str, Any], end: str) -> None:
    point = one(**DLM, execution="compile", **change)
    assert point.directory.endswith(end)
    assert point.fused is change.get("fused", True)


def test_a_schedule_decides_the_steps() -> None:
    point = one(**DLM, schedule=[[1, 1, 2]])
    assert (point.schedule, point.steps) == ((1, 1, 2), 12)


def test_schedules_are_an_axis() -> None:
    assert [point.steps for point in config.points({**DLM, "schedule": [[4], [2, 2], [1, 1, 2]]})] == [4, 8, 12]


def test_where_confidence_decides_there_are_no_steps() -> None:
    assert [one(**DLM, **rule).steps for rule in ({"threshold": 1}, {"factor": 2.0})] == [None, None]


def test_the_published_code_samples_in_float64_unless_told_otherwise() -> None:
    points = config.points({**DLM, "variant": ["clean", "unrotated", "synchronous", "faithful"]})
    assert [point.sampling for point in points] == ["fp32", "fp32", "fp32", "fp64"]
    assert one(**DLM, variant="faithful", sampling="fp32").sampling == "fp32"


def test_what_means_nothing_to_a_mode_is_dropped() -> None:
    rest = {"guidance": 1.5, "remasking": "random", "schedule": [[4]], "variant": ["clean", "faithful"]}
    points = config.points({**DLM, **rest, "mode": ["ar", "dlm_full", "dlm_block_dual"]})
    assert [(point.mode, point.variant, point.guidance) for point in points] == [
        ("ar", "clean", 0.0),
        ("dlm_full", "clean", 1.5),
        ("dlm_block_dual", "clean", 1.5),
        ("dlm_block_dual", "faithful", 1.5),
    ]
    assert (points[0].schedule, points[0].remasking, points[0].sampling) == (None, "confidence", "fp32")


def test_a_window_is_block_sparse_attention_s_alone() -> None:
    points = config.points({**DLM, "mode": "dlm_full", "attention": ["auto", "block_sparse"], "window": [64, 512]})
    assert [(point.attention, point.window) for point in points] == [
        ("auto", None),
        ("block_sparse", 64),
        ("block_sparse", 512),
    ]
    assert points[2].directory == "tiny-llama_dlm_full_p8_g16_b1_block4_k16_attn-block_sparse_window512_bf16_eager"


def test_zipped_lists_advance_together() -> None:
    lengths = {"prompt_tokens": [8, 16], "generated_tokens": [4, 8], "zip": ["generated_tokens", "prompt_tokens"]}
    points = config.points({**AR, **lengths, "batch": [1, 2]})
    assert [(point.prompt_tokens, point.generated_tokens, point.batch) for point in points] == [
        (8, 4, 1),
        (8, 4, 2),
        (16, 8, 1),
        (16, 8, 2),
    ]


def test_several_groups_of_zipped_lists_multiply() -> None:
    axes = {"prompt_tokens": [8, 16], "generated_tokens": [4, 8], "batch": [1, 2], "seed": [3, 4]}
    points = config.points({**AR, **axes, "zip": [["prompt_tokens", "generated_tokens"], ["batch", "seed"]]})
    assert [(point.prompt_tokens, point.generated_tokens, point.batch, point.seed) for point in points] == [
        (8, 4, 1, 3),
        (8, 4, 2, 4),
        (16, 8, 1, 3),
        (16, 8, 2, 4),
    ]


def test_runs_may_zip_for_themselves() -> None:
    run = {"batch": [1, 2], "seed": [3, 4], "zip": ["batch", "seed"]}
    assert [(point.batch, point.seed) for point in config.points({**AR, "runs": [run]})] == [(1, 3), (2, 4)]


def test_heads_and_layers_take_the_place_of_the_presets() -> None:
    shape = shape_of(one(**{**AR, "model": "llama-3-8b"}, layers=4, kv_heads=32))
    assert (shape.layers, shape.heads, shape.kv_heads, shape.head_dim) == (4, 32, 32, 128)
    assert shape_of(one(**AR, heads=16)).head_dim == 16
    assert shape_of(one(**AR)) == PRESETS["tiny-llama"]


@pytest.mark.parametrize(
    ("change", "capability", "sentence"),
    [
        ({}, (8, 0), None),
        ({}, None, None),
        (
            {},
            (7, 5),
            'dtype = "bf16" needs compute capability 8.0, but the device has 7.5; expected dtype = "fp16".',
        ),
        ({"dtype": "fp16"}, (7, 5), None),
        (
            {"dtype": "fp16", "attention": "flash"},
            (7, 5),
            'attention = "flash" needs compute capability 8.0, but the device has 7.5; expected attention = "auto".',
        ),
        (
            {"attention": "block_sparse", "window": 9, "mode": "dlm_full", "dtype": "fp16"},
            (7, 5),
            'attention = "block_sparse" needs compute capability 8.0, but the device has 7.5; expected '
            'attention = "auto".',
        ),
        ({"linear": "fp8"}, (8, 9), None),
        ({"linear": "fp8"}, None, None),
        (
            {"linear": "fp8"},
            (8, 0),
            'linear = "fp8" needs compute capability 8.9, but the device has 8.0; expected linear = "int8" or "model".',
        ),
        ({"linear": "int8", "dtype": "fp16"}, (8, 0), None),
        (
            {"linear": "int8", "dtype": "fp16"},
            (7, 5),
            'linear = "int8" needs compute capability 8.0, but the device has 7.5; expected linear = "model".',
        ),
        (
            {"dtype": "fp32", "execution": "compile"},
            (6, 1),
            'execution = "compile" needs compute capability 7.0, but the device has 6.1; '
            'expected execution = "eager" or "cuda_graph".',
        ),
        (
            {"dtype": "fp32", "attention": "cudnn"},
            (9, 0),
            'attention = "cudnn" takes no fp32 on a CUDA device; expected dtype = "bf16" or "fp16".',
        ),
        (
            {"execution": "cuda_graph"},
            None,
            'execution = "cuda_graph" needs a CUDA device; expected execution = "eager" or "compile" on a CPU.',
        ),
        (
            {"attention": "efficient"},
            None,
            'attention = "efficient" needs a CUDA device; expected attention = "auto", "flash" or "math" on a CPU.',
        ),
    ],
)
def test_what_a_device_lacks(change: dict[str, Any], capability: tuple[int, int] | None, sentence: str | None) -> None:
    assert unsupported(one(**{**AR, **change}), capability) == sentence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "dlm_full"}, 'mode = "dlm_full" does not work with {model}; expected mode = "dlm_block_causal"'),
        ({"execution": "compile"}, 'execution = "compile" does not work with {model}; expected execution = "eager"'),
        ({"guidance": 1.5}, "guidance = 1.5 does not work with {model}; expected guidance = 0.0"),
        ({"attention": "math"}, 'attention = "math" does not work with {model}; expected attention = "auto"'),
        ({"layers": 1}, "layers = 1 does not work with {model}; expected no layers"),
        ({"linear": "fp8"}, 'linear = "fp8" does not work with {model}; expected linear = "model"'),
    ],
)
def test_a_canvas_model_knows_one_way_to_decode(change: dict[str, Any], message: str) -> None:
    (model,) = [name for name, shape in PRESETS.items() if shape.layout == "diffusion_gemma"]
    base = {**DLM, "model": model, "mode": "dlm_block_causal"}
    assert one(**base).model == model
    with pytest.raises(ConfigError) as refused:
        config.points({**base, **change}, source="c.toml")
    assert str(refused.value) == f"c.toml: {message.format(model=model)}."


@pytest.mark.parametrize(("model", "trained"), TRAINED.items())
def test_a_point_says_whether_it_is_beyond_what_its_model_was_trained_for(model: str, trained: int) -> None:
    keys = {**AR, "model": model, "prompt_tokens": [trained - 16, trained - 15], "beyond_training": True}
    within, beyond = config.points(keys)
    assert (within.length, within.beyond_training) == (trained, False)
    assert (beyond.length, beyond.beyond_training) == (trained + 1, True)
    assert config.points({**keys, "prompt_tokens": trained - 16, "beyond_training": False}) == [within]


def test_the_largest_integers_are_taken() -> None:
    (point,) = config.points({**AR, "seed": 2**63 - 1, "batch": 10_000_000, "prompt_tokens": 131_072 - 16})
    assert (point.seed, point.batch, point.length) == (2**63 - 1, 10_000_000, 131_072)


def test_a_prompt_of_one_block_needs_no_mask() -> None:
    assert one(**{**DLM, "mode": "dlm_block_causal", "block": 8}, attention="flash").attention == "flash"


def test_a_checkpoint_has_its_own_heads(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert one(**AR, checkpoint=str(tmp_path), layers=2).layers == 2
    with pytest.raises(ConfigError, match="heads or kv_heads is set together with checkpoint"):
        one(**AR, checkpoint=str(tmp_path), kv_heads=8)


def test_the_same_point_twice_is_one() -> None:
    assert len(config.points({**AR, "runs": [{}, {"batch": [1, 1]}]})) == 1
