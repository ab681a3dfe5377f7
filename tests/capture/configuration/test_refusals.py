"""The exact sentence for each configuration that is refused."""

from pathlib import Path
from typing import Any

import pytest

from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.errors import ConfigError

AR = {"model": "tiny-llama", "mode": "ar", "prompt_tokens": 8, "generated_tokens": 16}
TRAINED = {"llama-3-8b": 8192, "llada-8b": 4096, "llama-34b": 16_384, "llama-3-70b": 8192, "dream-7b": 2048}
DLM = {**AR, "mode": "dlm_block_dual", "block": 4}


def one(**keys: Any) -> Point:
    (point,) = config.points(keys)
    return point


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"promt_tokens": 8}, 'c.toml: unknown key "promt_tokens"; did you mean "prompt_tokens"?'),
        ({"Runs": []}, 'c.toml: unknown key "Runs"; did you mean "runs"?'),
        (
            {"zzz": 8},
            'c.toml: unknown key "zzz"; expected one of model, mode, prompts, prompt_tokens, generated_tokens, batch, '
            "block, steps, schedule, threshold, factor, variant, guidance, temperature, remasking, sampling, layers, "
            "heads, kv_heads, dtype, linear, device, repeats, execution, attention, window, fused, counted, "
            "beyond_training, checkpoint, seed, experiment, name.",
        ),
        ({"batch": "two"}, 'c.toml: batch = "two" is a string; expected an integer from 1 to 10000000.'),
        ({"batch": [1, 2.5]}, "c.toml: batch = 2.5 is a float; expected an integer from 1 to 10000000."),
        ({"batch": True}, "c.toml: batch = true is a boolean; expected an integer from 1 to 10000000."),
        ({"prompt_tokens": 0}, "c.toml: prompt_tokens = 0; expected an integer from 1 to 10000000."),
        ({"seed": -1}, "c.toml: seed = -1; expected an integer from 0 to 9223372036854775807."),
        (
            {"batch": 10_000_001},
            "c.toml: batch = 10000001; expected an integer from 1 to 10000000.",
        ),
        (
            {"seed": 2**63},
            "c.toml: seed = 9223372036854775808; expected an integer from 0 to 9223372036854775807.",
        ),
        (
            {"prompt_tokens": 10**30},
            f"c.toml: prompt_tokens = {10**30}; expected an integer from 1 to 10000000.",
        ),
        (
            {"seed": []},
            "c.toml: seed is an empty list; expected an integer from 0 to 9223372036854775807, or a list of them.",
        ),
        ({"checkpoint": 3}, "c.toml: checkpoint = 3 is an integer; expected a string."),
        ({"dtype": "bf61"}, 'c.toml: dtype = "bf61"; expected one of bf16, fp16, fp32 (nearest: bf16).'),
        ({"device": 0}, "c.toml: device = 0 is an integer; expected one of auto, cpu, cuda."),
        (
            {"execution": "graph"},
            'c.toml: execution = "graph"; expected one of eager, cuda_graph, compile (nearest: cuda_graph).',
        ),
        (
            {"model": "llama-8b"},
            f'c.toml: model = "llama-8b"; expected one of {", ".join(PRESETS)} (nearest: llama-3-8b).',
        ),
        ({"block": 5}, "c.toml: block = 5 does not divide generated_tokens = 16; expected a divisor of 16."),
        ({"steps": 6}, "c.toml: steps = 6 is not a multiple of the 4 blocks; expected a multiple of 4."),
        (
            {"steps": 32},
            "c.toml: steps = 32 exceeds generated_tokens = 16; expected at least one token per step.",
        ),
        (
            {"prompt_tokens": 131_072},
            "c.toml: prompt_tokens + generated_tokens = 131088 exceeds the 131072 positions of tiny-llama; "
            "expected at most 131072.",
        ),
        *(
            (
                {"model": model, "prompt_tokens": trained - 15},
                f"c.toml: prompt_tokens + generated_tokens = {trained + 1} exceeds the {trained} positions that "
                f"{model} was trained for; expected at most {trained}, or beyond_training = true to measure "
                "times and bytes only.",
            )
            for model, trained in TRAINED.items()
        ),
        (
            {"model": "dream-7b", "prompt_tokens": 131_072, "beyond_training": True},
            "c.toml: prompt_tokens + generated_tokens = 131088 exceeds the 131072 positions of dream-7b; "
            "expected at most 131072.",
        ),
        (
            {"model": "llada-8b", "prompt_tokens": 131_072, "beyond_training": True},
            "c.toml: prompt_tokens + generated_tokens = 131088 exceeds the 131072 positions of llada-8b; "
            "expected at most 131072.",
        ),
        ({"beyond_training": 1}, "c.toml: beyond_training = 1 is an integer; expected true or false."),
        (
            {"schedule": [4, 4]},
            "c.toml: schedule = 4 is an integer; expected a list of token counts for the steps of a block, "
            "inside a list, as in [[4, 4, 8, 16]].",
        ),
        (
            {"schedule": [[]]},
            "c.toml: schedule = []; expected a list of token counts for the steps of a block, "
            "inside a list, as in [[4, 4, 8, 16]].",
        ),
        (
            {"schedule": [[1, 2]]},
            "c.toml: schedule = [1, 2] commits 3 tokens; expected 4, the tokens of a block.",
        ),
        (
            {"schedule": [[1, 3]], "steps": 4},
            "c.toml: steps = 4 is set together with a schedule of 2 steps for each of 4 blocks; expected 8, or "
            "no steps.",
        ),
        (
            {"schedule": [[4]], "factor": 1.5},
            "c.toml: schedule and factor are set together; expected at most one of schedule, threshold and factor.",
        ),
        (
            {"threshold": 0.9, "steps": 16},
            "c.toml: steps = 16 is set together with threshold, by which confidence decides the number of steps; "
            "expected one of them.",
        ),
        ({"threshold": 0}, "c.toml: threshold = 0; expected a number above 0 and up to 1."),
        ({"threshold": 1.5}, "c.toml: threshold = 1.5; expected a number above 0 and up to 1."),
        ({"factor": 0.0}, "c.toml: factor = 0.0; expected a number above 0 and up to 1000000."),
        (
            {"guidance": float("nan")},
            "c.toml: guidance = NaN; expected a number from 0 to 1000000.",
        ),
        ({"temperature": -1}, "c.toml: temperature = -1; expected a number from 0 to 1000000."),
        ({"fused": 1}, "c.toml: fused = 1 is an integer; expected true or false."),
        ({"layers": 5}, "c.toml: layers = 5 exceeds the 4 layers of tiny-llama; expected at most 4."),
        ({"heads": 3}, "c.toml: heads = 3 does not divide the width 256 of tiny-llama; expected a divisor of 256."),
        (
            {"heads": 256},
            "c.toml: heads = 256 makes heads of 1 elements; expected heads of an even number, which rotary "
            "positions need.",
        ),
        ({"kv_heads": 16}, "c.toml: kv_heads = 16 does not divide heads = 8; expected a divisor of 8."),
        ({"kv_heads": 3}, "c.toml: kv_heads = 3 does not divide heads = 8; expected a divisor of 8."),
        (
            {"device": "cpu", "execution": "cuda_graph"},
            'c.toml: execution = "cuda_graph" needs a CUDA device; expected execution = "eager" or "compile" on a CPU.',
        ),
        (
            {"device": "cpu", "attention": "cudnn"},
            'c.toml: attention = "cudnn" needs a CUDA device; expected attention = "auto", "flash" or "math" on a CPU.',
        ),
        (
            {"device": "cuda", "attention": "flash", "dtype": "fp32"},
            'c.toml: attention = "flash" takes no fp32 on a CUDA device; expected dtype = "bf16" or "fp16".',
        ),
        (
            {"variant": "faithful", "execution": "cuda_graph"},
            'c.toml: execution = "cuda_graph" cannot run variant = "faithful", which waits for the device; '
            'expected execution = "eager".',
        ),
        (
            {"variant": "synchronous", "execution": "compile"},
            'c.toml: execution = "compile" cannot run variant = "synchronous", which waits for the device; '
            'expected execution = "eager".',
        ),
        (
            {"threshold": 0.9, "execution": "compile"},
            'c.toml: execution = "compile" cannot run threshold, which waits for the device; '
            'expected execution = "eager".',
        ),
        (
            {"factor": 1.5, "execution": "cuda_graph"},
            'c.toml: execution = "cuda_graph" cannot run factor, which waits for the device; '
            'expected execution = "eager".',
        ),
        (
            {"mode": "dlm_block_causal", "attention": "flash"},
            'c.toml: attention = "flash" takes no mask, but a prefill of 8 tokens in blocks of 4 needs one; '
            'expected attention = "auto" or a prompt of at most one block.',
        ),
        (
            {"zip": ["batch", "block"], "batch": [1, 2]},
            "c.toml: zip joins lists of different lengths (batch has 2, block has 1); expected lists of one length.",
        ),
        (
            {"zip": ["batch", "block"]},
            'c.toml: zip names "batch", which is not set; expected keys of the same run.',
        ),
        (
            {"zip": [["mode", "block"], ["mode", "model"]]},
            'c.toml: zip names "mode" 2 times; expected each key once.',
        ),
        *(
            (
                {"zip": wrong},
                f"c.toml: zip = {shown}; expected a list of two or more keys, as in "
                '["prompt_tokens", "generated_tokens"], or several such lists.',
            )
            for wrong, shown in (
                ("block", '"block" is a string'),
                ([], "[] is a list"),
                (["block"], '["block"] is a list'),
                ([["block", 3]], '[["block", 3]] is a list'),
            )
        ),
        (
            {"linear": "fp8", "dtype": "fp16"},
            'c.toml: linear = "fp8" returns bf16, but dtype = "fp16"; expected dtype = "bf16" or linear = "int8".',
        ),
        (
            {"linear": "int8", "heads": 64, "kv_heads": 2},
            'c.toml: linear = "int8" needs matrices whose sizes are multiples of 16, but the kv_heads of '
            "tiny-llama make "
            '8; expected linear = "model".',
        ),
        (
            {"attention": "block_sparse", "window": 8},
            'c.toml: attention = "block_sparse" does not work with mode = "dlm_block_dual"; expected mode = '
            '"dlm_full".',
        ),
        (
            {"attention": "block_sparse", "mode": "dlm_full"},
            'c.toml: attention = "block_sparse" is set without window; expected window = a number of tokens.',
        ),
        ({"window": 0}, "c.toml: window = 0; expected an integer from 1 to 10000000."),
        (
            {"checkpoint": "/nowhere"},
            'c.toml: checkpoint = "/nowhere" has no config.json; expected a directory in Hugging Face layout.',
        ),
        (
            {"name": "a/b"},
            'c.toml: name = "a/b" cannot name a directory; expected no "/", no "\\" and no "." at its start.',
        ),
        (
            {"name": ".."},
            'c.toml: name = ".." cannot name a directory; expected no "/", no "\\" and no "." at its start.',
        ),
        (
            {"name": "a\\b"},
            'c.toml: name = "a\\\\b" cannot name a directory; expected no "/", no "\\" and no "." at its start.',
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
            'c.toml: name = "a" would name 2 points; expected one point, or no name so that each is named by its '
            "settings.",
        ),
        ({"runs": {}}, "c.toml: runs is a table; expected one or more [[runs]] tables."),
        ({"runs": []}, "c.toml: runs is a list; expected one or more [[runs]] tables."),
        (
            {"runs": [{}, {"batch": 0}]},
            "c.toml, run 2: batch = 0; expected an integer from 1 to 10000000.",
        ),
        ({"runs": [{"modes": "ar"}]}, 'c.toml, run 1: unknown key "modes"; did you mean "mode"?'),
        (
            {"runs": [{}, {"repeats": 1}]},
            "c.toml: 2 different points have the directory "
            "tiny-llama_dlm_block_dual_p8_g16_b1_block4_k16_bf16_eager; expected one: give each a name, or put them "
            "in two files.",
        ),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.points({**DLM, **change}, source="c.toml")
    assert str(refused.value) == message


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        config.points({"mode": "ar", "prompt_tokens": 8, "generated_tokens": 8}, source="c.toml")
    assert str(refused.value) == f"c.toml: model is missing; expected one of {', '.join(PRESETS)}."


def test_a_canvas_model_s_weights_are_random(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        ConfigError, match=r"checkpoint = .* does not work with tiny-diffusion-gemma; expected no checkpoint"
    ):
        one(**{**DLM, "model": "tiny-diffusion-gemma", "mode": "dlm_block_causal", "checkpoint": str(tmp_path)})
