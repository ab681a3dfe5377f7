"""Configurations: what they expand to, and the exact sentence for each that is refused."""

from typing import Any

import pytest

from capture import config
from capture.errors import ConfigError

AR = {"model": "tiny-llama", "mode": "ar", "prompt_tokens": 8, "generated_tokens": 16}
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"promt_tokens": 8}, 'c.toml: unknown key "promt_tokens"; did you mean "prompt_tokens"?'),
        ({"Runs": []}, 'c.toml: unknown key "Runs"; did you mean "runs"?'),
        (
            {"zzz": 8},
            'c.toml: unknown key "zzz"; expected one of model, mode, prompt_tokens, generated_tokens, batch, block, '
            "steps, dtype, device, repeats, execution, checkpoint, seed, experiment, name.",
        ),
        ({"batch": "two"}, 'c.toml: batch = "two" is a string; expected an integer from 1 to 10000000.'),
        ({"batch": [1, 2.5]}, "c.toml: batch = 2.5 is a float; expected an integer from 1 to 10000000."),
        ({"batch": True}, "c.toml: batch = true is a boolean; expected an integer from 1 to 10000000."),
        ({"prompt_tokens": 0}, "c.toml: prompt_tokens = 0 is an integer; expected an integer from 1 to 10000000."),
        ({"seed": -1}, "c.toml: seed = -1 is an integer; expected an integer from 0 to 9223372036854775807."),
        (
            {"batch": 10_000_001},
            "c.toml: batch = 10000001 is an integer; expected an integer from 1 to 10000000.",
        ),
        (
            {"seed": 2**63},
            "c.toml: seed = 9223372036854775808 is an integer; expected an integer from 0 to 9223372036854775807.",
        ),
        (
            {"prompt_tokens": 10**30},
            f"c.toml: prompt_tokens = {10**30} is an integer; expected an integer from 1 to 10000000.",
        ),
        (
            {"seed": []},
            "c.toml: seed is an empty list; expected an integer from 0 to 9223372036854775807, or a list of them.",
        ),
        ({"checkpoint": 3}, "c.toml: checkpoint = 3 is an integer; expected a string."),
        ({"dtype": "bf61"}, 'c.toml: dtype = "bf61"; expected one of bf16, fp16, fp32 (nearest: bf16).'),
        ({"device": 0}, "c.toml: device = 0 is an integer; expected one of auto, cpu, cuda."),
        ({"execution": "graph"}, 'c.toml: execution = "graph"; expected one of eager.'),
        (
            {"model": "llama-8b"},
            'c.toml: model = "llama-8b"; expected one of tiny-llama, tiny-llada, llama-3-8b, llada-8b '
            "(nearest: llama-3-8b).",
        ),
        ({"block": 5}, "c.toml: block = 5 does not divide generated_tokens = 16."),
        ({"steps": 6}, "c.toml: steps = 6 is not a multiple of the 4 blocks of 4 tokens."),
        (
            {"steps": 32},
            "c.toml: steps = 32 exceeds generated_tokens = 16; expected at least one token a step.",
        ),
        (
            {"checkpoint": "/nowhere"},
            'c.toml: checkpoint = "/nowhere" holds no config.json; expected a directory in Hugging Face layout.',
        ),
        (
            {"name": "a/b"},
            'c.toml: name = "a/b" cannot name a directory; expected one without "/" and "\\" that starts with no ".".',
        ),
        (
            {"name": ".."},
            'c.toml: name = ".." cannot name a directory; expected one without "/" and "\\" that starts with no ".".',
        ),
        (
            {"name": "a\\b"},
            'c.toml: name = "a\\\\b" cannot name a directory; '
            'expected one without "/" and "\\" that starts with no ".".',
        ),
        (
            {"name": "a\n"},
            'c.toml: name = "a\\n" has characters that cannot be printed; expected none.',
        ),
        (
            {"experiment": "\x1b[31m"},
            'c.toml: experiment = "\\u001b[31m" has characters that cannot be printed; expected none.',
        ),
        (
            {"name": "a", "batch": [1, 2]},
            'c.toml: name = "a" would name 2 points; expected one point, or no name so that each is named by what it '
            "runs.",
        ),
        ({"runs": {}}, "c.toml: runs is a table; expected one or more [[runs]] tables."),
        ({"runs": []}, "c.toml: runs is a list; expected one or more [[runs]] tables."),
        (
            {"runs": [{}, {"batch": 0}]},
            "c.toml, run 2: batch = 0 is an integer; expected an integer from 1 to 10000000.",
        ),
        ({"runs": [{"modes": "ar"}]}, 'c.toml, run 1: unknown key "modes"; did you mean "mode"?'),
        (
            {"runs": [{}, {"repeats": 1}]},
            "c.toml: 2 different points would be written to "
            "tiny-llama_dlm_block_dual_p8_g16_b1_block4_k16_bf16_eager; expected one each: give them a name, or put "
            "them in two files.",
        ),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.points({**DLM, **change}, source="c.toml")
    assert str(refused.value) == message


def test_the_largest_integers_are_taken() -> None:
    (point,) = config.points({**AR, "seed": 2**63 - 1, "prompt_tokens": 10_000_000})
    assert (point.seed, point.prompt_tokens) == (2**63 - 1, 10_000_000)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        config.points({"mode": "ar", "prompt_tokens": 8, "generated_tokens": 8}, source="c.toml")
    assert str(refused.value) == (
        "c.toml: model is missing; expected one of tiny-llama, tiny-llada, llama-3-8b, llada-8b."
    )


def test_the_same_point_twice_is_one() -> None:
    assert len(config.points({**AR, "runs": [{}, {"batch": [1, 1]}]})) == 1
