"""From one table of a configuration to combinations of its values: lists multiply, zipped lists advance together."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.configuration.values import FIELDS, alternatives, expected, literal, typed
from ridgeline.capture.errors import ConfigError

ZIP = "zip"


def combinations(table: Mapping[str, Any], where: str, models: Collection[str] = PRESETS) -> Iterator[dict[str, Any]]:
    """Yield every combination of a table's values, in the order of Point's fields: the last key varies fastest.

    Keys named together in `zip` are one axis, at the place of the first of them. Raises ConfigError, with `where` in
    front, for a missing key, a wrong value or a wrong `zip`. `models` are the names of models.
    """
    for name, field in FIELDS.items():
        # The shortest prompt of a file has a length of its own.
        if field.required and name not in table and not (name == "prompt_tokens" and "prompts" in table):
            raise ConfigError(f"{where}: {name} is missing; expected {expected(name, models)}.")
    values = {key: alternatives(key, table[key], where, models) for key in FIELDS if key in table}
    # Sorted like the fields: the first key of a group decides where its axis stands.
    group_of = {key: sorted(group, key=list(FIELDS).index) for group in _groups(table, where) for key in group}
    # An axis is a list of partial combinations: one for each value of a key, or for each row of zipped keys.
    axes = []
    for key in values:
        group = group_of.get(key, [key])
        lengths = {member: len(values[member]) for member in group}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{member} has {length}" for member, length in lengths.items())
            raise ConfigError(
                f"{where}: zip joins lists of different lengths ({listed}); expected lists of one length."
            )
        if key == group[0]:
            rows = zip(*(values[member] for member in group), strict=True)
            axes.append([dict(zip(group, row, strict=True)) for row in rows])
    # A combination takes one part of each axis; the last axis varies fastest.
    for parts in itertools.product(*axes):
        yield {key: value for part in parts for key, value in part.items()}


def _groups(table: Mapping[str, Any], where: str) -> list[list[str]]:
    """Return the groups of keys in `zip`, which may be one list of keys or a list of such lists.

    Raises ConfigError for another value, for a key that is not set, and for a key named twice.
    """
    if ZIP not in table:
        return []
    value = table[ZIP]
    # A list of keys stands for a list of one such list.
    one_group = isinstance(value, list) and all(isinstance(key, str) for key in value)
    groups = [value] if one_group else value
    if not isinstance(groups, list) or not all(
        isinstance(group, list) and len(group) > 1 and all(isinstance(key, str) for key in group) for group in groups
    ):
        raise ConfigError(
            f"{where}: zip = {literal(value)} is {typed(value)}; expected a list of two or more keys, as in "
            '["prompt_tokens", "generated_tokens"], or several such lists.'
        )
    keys = [key for group in groups for key in group]
    for key in keys:
        if key not in FIELDS or key not in table:
            raise ConfigError(f"{where}: zip names {literal(key)}, which is not set; expected keys of the same run.")
        if keys.count(key) > 1:
            raise ConfigError(f"{where}: zip names {literal(key)} {keys.count(key)} times; expected each key once.")
    return groups
