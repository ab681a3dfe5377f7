"""From one table of a configuration to combinations of its values: lists multiply, zipped lists advance together."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ridgeline.capture.configuration.values import FIELDS, alternatives, expected, literal, typed
from ridgeline.capture.errors import ConfigError

ZIP = "zip"
Axis = list[dict[str, Any]]


def combinations(table: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Every combination of a table's values, in the order of Point's fields: the last varies fastest.

    Keys named together in `zip` are one axis, at the place of the first of them. Raises ConfigError for a missing key,
    a wrong value or a zip that cannot be.
    """
    for name, field in FIELDS.items():
        if field.required and name not in table:
            raise ConfigError(f"{where}: {name} is missing; expected {expected(name)}.")
    values = {key: alternatives(key, table[key], where) for key in FIELDS if key in table}
    for combination in itertools.product(*_axes(values, _groups(table, where), where)):
        yield {key: value for part in combination for key, value in part.items()}


def _axes(values: Mapping[str, list[Any]], groups: list[list[str]], where: str) -> Iterator[Axis]:
    """The axes of a sweep: a key's alternatives, or those of several zipped keys."""
    members = {key: group for group in groups for key in group}
    for key in values:
        group = sorted(members.get(key, [key]), key=list(FIELDS).index)
        _check_group(values, group, where)
        if key == group[0]:
            rows = zip(*(values[member] for member in group), strict=True)
            yield [dict(zip(group, row, strict=True)) for row in rows]


def _check_group(values: Mapping[str, list[Any]], group: list[str], where: str) -> None:
    """Raise ConfigError unless the lists of zipped keys are equally long."""
    lengths = [len(values[key]) for key in group]
    if len(set(lengths)) > 1:
        found = ", ".join(f"{key} has {length}" for key, length in zip(group, lengths, strict=True))
        raise ConfigError(f"{where}: zip joins lists of different lengths ({found}); expected equal ones.")


def _groups(table: Mapping[str, Any], where: str) -> list[list[str]]:
    """The groups of keys that `zip` names. Raises ConfigError where it names none, a key twice or one not given."""
    found = table.get(ZIP, [])
    groups = [found] if isinstance(found, list) and found and all(isinstance(key, str) for key in found) else found
    if not isinstance(groups, list) or not all(_is_group(group) for group in groups) or (ZIP in table and not groups):
        raise ConfigError(
            f"{where}: zip = {literal(found)} is {typed(found)}; expected keys that advance together, as in "
            '["prompt_tokens", "generated_tokens"], or several lists of them.'
        )
    keys = [key for group in groups for key in group]
    for key in keys:
        if key not in FIELDS or key not in table:
            raise ConfigError(f"{where}: zip names {literal(key)}, which is not given; expected keys of the same run.")
        if keys.count(key) > 1:
            raise ConfigError(f"{where}: zip names {literal(key)} {keys.count(key)} times; expected each key once.")
    return groups


def _is_group(group: Any) -> bool:
    """Whether a value is a list of at least two words."""
    return isinstance(group, list) and len(group) > 1 and all(isinstance(key, str) for key in group)
