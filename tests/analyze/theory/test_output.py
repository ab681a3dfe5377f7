"""Lengths that are refused, wrong values in one sentence, and what is printed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.theory import output as theory_table
from ridgeline.analyze.theory.generation import predict
from ridgeline.capture.errors import ConfigError
from tests.analyze.theory.predicted import LLADA


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": 0}, "prompt = 0; expected at least 1."),
        ({"block": 5}, "block = 5 does not divide generate = 32."),
        ({"block": 8, "steps": 6}, "steps = 6; expected a multiple of the 4 blocks, 32 at most."),
        ({"steps": 64}, "steps = 64; expected a multiple of the 1 blocks, 32 at most."),
    ],
)
def test_lengths_that_cannot_be(values: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        predict(LLADA, mode="dlm_full", **{"prompt": 32, "generate": 32, **values})  # type: ignore[arg-type]
    assert str(caught.value) == message


def printed(**values: Any) -> str:
    sizes = {"model": "llama-3-8b", "mode": "ar", "prompt": 2048, "generate": 2, "device": "A6000"}
    return theory_table.theory(**{**sizes, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "llama-9"}, 'theory: model = "llama-9"; expected one of'),
        ({"mode": "dlm"}, 'theory: mode = "dlm"; expected one of ar,'),
        ({"prompt": 0}, "theory: prompt_tokens = 0; expected an integer from 1"),
        ({"mode": "dlm_full", "block": 3}, "theory: block = 3 does not divide"),
        ({"prompt": 200_000}, "exceeds the 131072 positions"),
        ({"device": "abacus"}, "theory: device = abacus has no datasheet; expected"),
        ({"device": "nvidia"}, "theory: device = nvidia has no datasheet; expected"),
        ({"output_format": "xml"}, "format = xml; expected one of table, csv, json."),
        ({"model": "tiny-diffusion-gemma", "mode": "dlm_block_causal"}, "expected a dense decoder"),
    ],
)
def test_wrong_values_are_refused_in_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        printed(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("A6000", "NVIDIA RTX A6000 by its datasheet: 154.8 TFLOP/s and 0.768 TB/s, which meet at 201.6 FLOP/byte"),
        ("A100", "NVIDIA A100 SXM 80GB by its datasheet: 312.0 TFLOP/s and 2.039 TB/s, which meet at 153.0 FLOP/byte"),
    ],
)
@pytest.mark.parametrize(("model", "mode", "block"), [("llama-3-8b", "ar", None), ("llada-8b", "dlm_block_dual", 32)])
def test_the_papers_models_on_its_own_devices(device: str, line: str, model: str, mode: str, block: int | None) -> None:
    text = printed(device=device, model=model, mode=mode, block=block, prompt=1024, generate=128)
    assert text.splitlines()[1] == f"{line}; a step is the mean of its kind"


def test_a_device_without_bf16_computes_in_fp16() -> None:
    lines = printed(device="v100").splitlines()
    assert lines[0].endswith("batch 1, fp16")
    assert lines[1].startswith("NVIDIA V100 SXM2 by its datasheet: 125.0 TFLOP/s and 0.900 TB/s")


def test_table_has_the_conventions_side_by_side() -> None:
    lines = printed().splitlines()
    assert lines[0] == "llama-3-8b, ar: 2048 prompt and 2 generated tokens, batch 1, bf16"
    assert lines[1].startswith("NVIDIA RTX A6000 by its datasheet: 154.8 TFLOP/s and 0.768 TB/s")
    assert [line for line in lines if line and line[0] != " " and "forward" in line] == [
        "prefill, 1 forward",
        "decode, 1 forward",
        "generation, 2 forwards",
    ]
    cells = {line[:22].strip(): line[22:].split() for line in lines[5 : lines.index("decode, 1 forward")] if line}
    assert cells["linear, with head"][2] == cells["linear, with head"][6] == "1110.3567"
    assert cells["attention"] == [
        "2053.129",
        "1.3422",
        "1529.7000",
        "13.2631",
        "1100.048",
        "1.3422",
        "819.6000",
        "7.1063",
    ]
    assert cells["softmax"][2] == "-"
    assert cells["sampling"][:4] == ["-"] * 4
    assert cells["all"][2] == "708.9658"


def test_csv_and_json_say_the_same() -> None:
    found = json.loads(printed(output_format="json"))
    text = printed(output_format="csv").splitlines()
    assert text[0].split(",") == list(theory_table.COLUMNS) == list(found[0])
    assert len(text) == len(found) + 1 == 3 * (9 + 11) + 1
    (row,) = (
        r for r in found if (r["convention"], r["kind"], r["component"]) == ("as_authored", "decode", "attention")
    )
    assert f"{row['intensity']:.4f}" == "3.9922"
    assert row["floor_s"] == row["bytes"] / 768e9
    assert {r["kind"] for r in found if r["scope"] == "generation"} == {None}
    assert {r["intensity"] for r in found if r["component"] == "softmax"} == {None}


@pytest.mark.process
def test_neither_torch_nor_a_warehouse_is_imported() -> None:
    script = (
        "import sys; from ridgeline.analyze.theory.output import theory;"
        "theory(model='llada-8b', mode='dlm_full', prompt=64, generate=32, device='A100');"
        "print(sorted({'torch', 'duckdb', 'polars', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"
