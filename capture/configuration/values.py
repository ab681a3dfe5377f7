"""One value of a configuration at a time: whether a key takes it, and the sentence when it does not."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from ridgeline.capture.configuration.point import LARGEST_SEED, MOST, MOST_FLOAT, Point
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.errors import ConfigError

FIELDS = {field.name: field for field in msgspec.structs.fields(Point)}
_TYPE_NAMES = {str: "a string", int: "an integer", float: "a float", bool: "a boolean", dict: "a table", list: "a list"}
_EXPECTED = {
    **dict.fromkeys(("checkpoint", "experiment", "name"), "a string"),
    **dict.fromkeys(("guidance", "temperature"), f"a number from 0 to {MOST_FLOAT:.0f}"),
    **dict.fromkeys(("beyond_training", "fused"), "true or false"),
    "seed": f"an integer from 0 to {LARGEST_SEED}",
    "schedule": "tokens for each step of a block, within a list as in [[4, 4, 8, 16]]",
    "threshold": "a number above 0 and up to 1",
    "factor": f"a number above 0 and up to {MOST_FLOAT:.0f}",
}


def check_keys(table: Mapping[str, Any], where: str, *, extra: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for the first key that does not exist, with the nearest that does."""
    for key in table:
        if key not in FIELDS and key not in extra:
            near = nearest(key, (*FIELDS, *extra))
            hint = f'did you mean "{near}"?' if near else f"expected one of {', '.join(FIELDS)}."
            raise ConfigError(f'{where}: unknown key "{key}"; {hint}')


def alternatives(key: str, value: Any, where: str) -> list[Any]:
    """The alternatives of one key, checked and of the key's own type."""
    found = value if isinstance(value, list) else [value]
    if not found:
        raise ConfigError(f"{where}: {key} is an empty list; expected {expected(key)}, or a list of them.")
    return [_converted(key, alternative, where) for alternative in found]


def _converted(key: str, value: Any, where: str) -> Any:
    """`value` as the key's type. Raises ConfigError unless it is that and among the key's choices."""
    try:
        converted = msgspec.convert(value, FIELDS[key].type)
    except msgspec.ValidationError:
        pass
    else:
        if value is not None and converted != () and (key != "model" or value in PRESETS):
            return converted
    if isinstance(value, str) and choices(key):
        near = nearest(value, choices(key))
        hint = f" (nearest: {near})" if near else ""
        raise ConfigError(f"{where}: {key} = {literal(value)}; expected {expected(key)}{hint}.")
    raise ConfigError(f"{where}: {key} = {literal(value)} is {typed(value)}; expected {expected(key)}.")


def choices(key: str) -> tuple[str, ...]:
    """The words a key takes, none for a key that takes others."""
    if key == "model":
        return tuple(PRESETS)
    kind = FIELDS[key].type
    return get_args(kind) if get_origin(kind) is Literal else ()


def expected(key: str) -> str:
    """What a key accepts, in words."""
    if choices(key):
        return f"one of {', '.join(choices(key))}"
    return _EXPECTED.get(key, f"an integer from 1 to {MOST}")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like a word, or None when nothing is near."""
    return next(iter(difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)), None)


def typed(value: Any) -> str:
    """The type of a TOML value, in words."""
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


def literal(value: Any) -> str:
    """A TOML value as the user wrote it, near enough."""
    return json.dumps(value, default=str)
