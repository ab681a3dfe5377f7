"""Real prompts from a JSONL file: an object a line, with `prompt` (text) or `tokens` (ids of the vocabulary).

    {"prompt": "Why is the sky blue?"}
    {"tokens": [791, 13180, 374]}

Sequence i of a batch takes prompt i, from the top again after the last one, and keeps its first `prompt_tokens` tokens.
A prompt that is taken and is shorter is an error. Without `prompt_tokens`, the shortest prompt of the file decides.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ridgeline.capture.configuration.shape import MOST
from ridgeline.capture.errors import ConfigError

TOKENIZER = "tokenizer.json"
Id = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class Line(msgspec.Struct, frozen=True):
    """A line of the file. Other keys are ignored."""

    prompt: str | None = None
    tokens: list[Id] | None = None


def digest(path: Path, where: str) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises ConfigError if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{where}: {path.name} cannot be read ({error.strerror}); expected a file.") from None


def shortest(path: str, sha256: str, tokenizer: str | None) -> int:
    """Return the number of tokens of the file's shortest prompt. Raises ConfigError as `read`."""
    return min(len(tokens) for _, tokens in read(path, sha256, tokenizer))


def taken(
    path: str, sha256: str, tokenizer: str | None, *, batch: int, length: int, vocabulary: int
) -> list[list[int]]:
    """Return the prompts of a batch, `batch` lists of `length` token ids.

    Raises ConfigError as `read`, for a prompt shorter than `length`, and for an id outside the vocabulary.
    """
    prompts = read(path, sha256, tokenizer)
    rows = []
    for sequence in range(batch):
        number, tokens = prompts[sequence % len(prompts)]
        where = f"{Path(path).name}, line {number}"
        if len(tokens) < length:
            raise ConfigError(
                f"{where} has {len(tokens)} tokens; expected at least prompt_tokens = {length}, or no prompt_tokens: "
                "the shortest prompt then decides."
            )
        if (largest := max(tokens[:length])) >= vocabulary:
            raise ConfigError(f"{where} has the token {largest}; expected ids below {vocabulary}, the vocabulary.")
        rows.append(tokens[:length])
    return rows


@lru_cache(maxsize=8)
def read(path: str, sha256: str, tokenizer: str | None) -> list[tuple[int, list[int]]]:
    """Return the number of each line that is not blank, and its tokens. `tokenizer` is the folder of a tokenizer.json.

    Raises ConfigError for a file that changed since its `sha256` was taken, a line that is not as documented, text
    without a tokenizer, a prompt without tokens, and a file without prompts.
    """
    name = Path(path).name
    content = Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ConfigError(f"{name} changed since the configuration was read; expected the same file: start again.")
    encoder: Any = None
    prompts = []
    for number, text in enumerate(content.splitlines(), 1):
        if not text.strip():
            continue
        where = f"{name}, line {number}"
        try:
            line = msgspec.json.decode(text, type=Line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: {error}; expected an object with prompt or tokens.") from None
        if (line.prompt is None) == (line.tokens is None):
            found = "neither prompt nor tokens" if line.prompt is None else "both prompt and tokens"
            raise ConfigError(f"{where} has {found}; expected one of them.")
        if line.prompt is not None:
            encoder = encoder or _encoder(tokenizer, where)
            tokens = list(encoder.encode(line.prompt))
        else:
            tokens = list(line.tokens or [])
        if not tokens:
            raise ConfigError(f"{where} has no tokens; expected one or more.")
        prompts.append((number, tokens))
    if not prompts:
        raise ConfigError(f"{name} has no prompts; expected one or more lines.")
    return prompts


def _encoder(tokenizer: str | None, where: str) -> Any:
    """Return the tokenizer of a checkpoint. Raises ConfigError where there is none, or it cannot be read."""
    if tokenizer is None or not (Path(tokenizer) / TOKENIZER).is_file():
        raise ConfigError(
            f"{where} has text, but the model has no {TOKENIZER}; expected tokens instead of prompt, or a "
            f"checkpoint or model directory with a {TOKENIZER}."
        )
    from transformers import PreTrainedTokenizerFast  # imports no torch

    library: Any = PreTrainedTokenizerFast
    try:
        return library(tokenizer_file=str(Path(tokenizer) / TOKENIZER))
    except Exception as error:  # the library raises plain Exceptions
        raise ConfigError(f"{TOKENIZER} of {Path(tokenizer).name} cannot be read: {error}.") from None
