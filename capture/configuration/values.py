"""Single values of a configuration: whether a key accepts a value, and the message if it does not."""

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from ridgeline.capture.configuration.point import DERIVED, LARGEST_SEED, MOST_FLOAT, Mode, Point
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.configuration.shape import MOST
from ridgeline.capture.errors import ConfigError

FIELDS = {field.name: field for field in msgspec.structs.fields(Point) if field.name not in DERIVED}
"""The keys of a configuration."""

_TYPE_NAMES = {str: "a string", int: "an integer", float: "a float", bool: "a boolean", dict: "a table", list: "a list"}
# Keys without an entry and without choices take an integer from 1 to MOST.
_EXPECTED = {
    **dict.fromkeys(("checkpoint", "experiment", "name", "prompts"), "a string"),
    **dict.fromkeys(("guidance", "temperature"), f"a number from 0 to {MOST_FLOAT:.0f}"),
    **dict.fromkeys(("beyond_training", "fused"), "true or false"),
    "seed": f"an integer from 0 to {LARGEST_SEED}",
    "schedule": "a list of token counts for the steps of a block, inside a list, as in [[4, 4, 8, 16]]",
    "threshold": "a number above 0 and up to 1",
    "factor": f"a number above 0 and up to {MOST_FLOAT:.0f}",
}


def check_keys(table: Mapping[str, Any], where: str, *, extra: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for the first unknown key, with the most similar known key, if one is similar."""
    for key in table:
        if key not in FIELDS and key not in extra:
            near = nearest(key, (*FIELDS, *extra))
            hint = f'did you mean "{near}"?' if near else f"expected one of {', '.join(FIELDS)}."
            raise ConfigError(f'{where}: unknown key "{key}"; {hint}')


def alternatives(key: str, value: Any, where: str, models: Collection[str] = PRESETS) -> list[Any]:
    """Return the alternatives of one key (a list, or a single value), converted to the key's type.

    `models` are the names of models; it may contain more than it iterates over. Raises ConfigError for an empty list
    and for a value that the key does not accept.
    """
    if value == []:
        raise ConfigError(f"{where}: {key} is an empty list; expected {expected(key)}, or a list of them.")
    converted = []
    for alternative in value if isinstance(value, list) else [value]:
        reason = ""
        try:
            result = msgspec.convert(alternative, FIELDS[key].type)
        except msgspec.ValidationError as error:
            result, reason = None, str(error)
        # Types with None accept it, but TOML has no null; an empty schedule has the right type as well.
        words = choices(key, models)
        if result is not None and result != () and (not words or result in words or _other(key, result, models)):
            converted.append(result)
            continue
        # msgspec says "got" for a wrong type and not for a value out of range; "$" leads to an element of a list.
        kind = f" is {typed(alternative)}" if ", got" in reason and "$" not in reason else ""
        near = nearest(alternative, words) if isinstance(alternative, str) else None
        hint = f" (nearest: {near})" if near else ""
        raise ConfigError(f"{where}: {key} = {literal(alternative)}{kind}; expected {expected(key, models)}{hint}.")
    return converted


def _other(key: str, value: Any, models: Collection[str]) -> bool:
    """Whether a key accepts a value that is none of its choices: a model's directory, or a mode of one's own."""
    if key == "model":
        return value in models
    module, colon, attribute = value.partition(":") if key == "mode" else ("", "", "")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), attribute))


def choices(key: str, models: Collection[str] = PRESETS) -> tuple[str, ...]:
    """Return the words that a key accepts; none for a key of another type."""
    if key == "model":
        return tuple(models)
    if key == "mode":
        return get_args(Mode)
    kind = FIELDS[key].type
    return get_args(kind) if get_origin(kind) is Literal else ()


def expected(key: str, models: Collection[str] = PRESETS) -> str:
    """Return what a key accepts, in words."""
    if words := choices(key, models):
        return f"one of {', '.join(words)}"
    return _EXPECTED.get(key, f"an integer from 1 to {MOST}")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most similar to `word`, or None if none is similar."""
    return next(iter(difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)), None)


def typed(value: Any) -> str:
    """Return the type of a TOML value, in words with an article."""
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


def literal(value: Any) -> str:
    """Return a TOML value as the user wrote it, or nearly so."""
    return json.dumps(value, default=str)
