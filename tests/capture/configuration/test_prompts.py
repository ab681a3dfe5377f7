"""Prompts from a file: the tokens that each sequence takes, the common length, and each refusal."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.prompts import read
from ridgeline.capture.decoder.canvas import Canvas
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.recording.run_directory import config_of, difference, unfinished
from ridgeline.capture.steps import schedule
from tests.capture.benches import PLACE
from tests.capture.configuration.test_models import LLAMA, directory

AR = {"model": "tiny-llama", "mode": "ar", "generated_tokens": 4, "dtype": "fp32", "prompts": "p.jsonl"}
LINES = ['{"tokens": [1, 2, 3, 4, 5], "id": "first"}', "", '{"tokens": [6, 7, 8]}']


def one(folder: Path, lines: list[str] | None = None, **keys: Any) -> Point:
    (folder / "p.jsonl").write_text("\n".join(LINES if lines is None else lines))
    (point,) = config.points({**AR, **keys}, source="c.toml", folder=folder)
    return point


def test_sequences_take_the_prompts_in_turn(tmp_path: Path) -> None:
    point = one(tmp_path, batch=3, prompt_tokens=2)
    assert config.prompts_of(point) == [[1, 2], [6, 7], [1, 2]]
    assert point.directory == "tiny-llama_ar_p2_g4_b3_fp32_eager_prompts-p"
    assert config.prompts_of(one(tmp_path, batch=1, prompt_tokens=5)) == [[1, 2, 3, 4, 5]]


def test_without_a_length_the_shortest_prompt_decides(tmp_path: Path) -> None:
    point = one(tmp_path)
    assert (point.prompt_tokens, config.prompts_of(point)) == (3, [[1, 2, 3]])


def test_the_canvas_holds_the_prompts(tmp_path: Path, llama: Decoder) -> None:
    point = one(tmp_path, batch=2)
    canvas = Canvas(llama, point, schedule(point))
    expected = torch.tensor([[1, 2, 3, *[4095] * 4], [6, 7, 8, *[4095] * 4]])
    assert torch.equal(canvas.tokens, expected)
    canvas.tokens.fill_(0)
    assert canvas.masked[:, 3:].all()


def test_the_record_has_name_and_digest_and_no_text(tmp_path: Path) -> None:
    point = one(tmp_path)
    stored = config_of(point, "cpu")
    assert stored["prompts"] == "p.jsonl"
    assert stored["prompts_sha256"] == hashlib.sha256("\n".join(LINES).encode()).hexdigest()
    assert str(tmp_path) not in json.dumps(stored)
    assert {"folder", "tokenizer"}.isdisjoint(stored)
    record = unfinished(point, PLACE.environment)
    assert difference(record, point, "cpu") is None
    changed = difference(record, one(tmp_path, [*LINES, '{"tokens": [9, 9, 9]}']), "cpu")
    assert changed is not None
    assert changed.startswith("prompts_sha256 = ")


def tokenizer(folder: Path) -> None:
    words = Tokenizer(WordLevel({"the": 5, "sky": 7, "is": 9, "?": 2}, unk_token="?"))
    words.pre_tokenizer = Whitespace()
    words.save(str(folder / "tokenizer.json"))


def test_text_is_encoded_by_the_model_s_tokenizer(tmp_path: Path) -> None:
    tokenizer(directory(tmp_path, "net", **LLAMA))
    lines = ['{"prompt": "the sky is blue"}', '{"tokens": [1, 2, 3]}']
    point = one(tmp_path, lines, model="net", batch=2)
    assert (point.prompt_tokens, config.prompts_of(point)) == (3, [[5, 7, 9], [1, 2, 3]])
    assert (point.checkpoint, point.tokenizer) == (None, str(tmp_path / "net"))
    both = one(tmp_path, lines, checkpoint=str(tmp_path / "net"), prompt_tokens=3)
    assert config.prompts_of(both) == [[5, 7, 9]]


@pytest.mark.parametrize(
    ("lines", "keys", "message"),
    [
        ([], {}, "p.jsonl has no prompts; expected one or more lines."),
        (["[]"], {}, "p.jsonl, line 1: Expected `object`, got `array`; expected an object with prompt or tokens."),
        (["", "{"], {}, "p.jsonl, line 2: Input data was truncated; expected an object with prompt or tokens."),
        (["{}"], {}, "p.jsonl, line 1 has neither prompt nor tokens; expected one of them."),
        (['{"prompt": "a", "tokens": [1]}'], {}, "p.jsonl, line 1 has both prompt and tokens; expected one of them."),
        (['{"tokens": []}'], {}, "p.jsonl, line 1 has no tokens; expected one or more."),
        (
            ['{"tokens": [-1]}'],
            {},
            "p.jsonl, line 1: Expected `int` >= 0 - at `$.tokens[0]`; expected an object with prompt or tokens.",
        ),
        (['{"tokens": [4096]}'], {}, "p.jsonl, line 1 has the token 4096; expected ids below 4096, the vocabulary."),
        (
            LINES,
            {"batch": 2, "prompt_tokens": 4},
            "p.jsonl, line 3 has 3 tokens; expected at least prompt_tokens = 4, or no prompt_tokens: the shortest "
            "prompt then decides.",
        ),
        (
            ['{"prompt": "a secret"}'],
            {},
            "p.jsonl, line 1 has text, but the model has no tokenizer.json; expected tokens instead of prompt, or a "
            "checkpoint or model directory with a tokenizer.json.",
        ),
    ],
)
def test_wrong_prompts_are_refused(tmp_path: Path, lines: list[str], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        one(tmp_path, lines, **keys)
    assert str(refused.value) == f"c.toml: {message}"


def test_prompts_that_are_missing_or_changed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        config.points({**AR, "prompts": "none.jsonl"}, source="c.toml", folder=tmp_path)
    assert str(refused.value) == ("c.toml: none.jsonl cannot be read (No such file or directory); expected a file.")
    point = one(tmp_path)
    (tmp_path / "p.jsonl").write_text('{"tokens": [1, 2, 3]}')
    read.cache_clear()
    with pytest.raises(ConfigError, match=r"^p\.jsonl changed since the configuration was read; expected the same"):
        config.prompts_of(point)


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (directory(tmp_path, "net", **LLAMA) / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"^c\.toml: tokenizer\.json of net cannot be read: "):
        one(tmp_path, ['{"prompt": "a"}'], model="net")
