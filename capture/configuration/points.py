"""From a TOML table to validated points: defaults, runs, combinations that cannot be.

A configuration is a TOML file. Keys at its top are shared; each `[[runs]]` table adds a sweep and overrides them. A
file without `[[runs]]` is one sweep. Any key may hold a list, and a sweep is the cartesian product of its lists, in the
order of Point's fields; the lists that `zip` names advance together:

    zip = ["prompt_tokens", "generated_tokens"]     # or several groups: [["a", "b"], ["c", "d"]]

Everything is checked here, before a weight is made; nothing here imports torch.
"""

from collections.abc import Mapping
from typing import Any

from ridgeline.capture.configuration.constraints import conflict, problem, unsupported
from ridgeline.capture.configuration.expansion import ZIP, combinations
from ridgeline.capture.configuration.point import IRRELEVANT, ITEM_BYTES, Mode, Point, default_fused, default_sampling
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.configuration.values import check_keys, typed
from ridgeline.capture.errors import ConfigError

__all__ = ["IRRELEVANT", "ITEM_BYTES", "Mode", "Point", "points", "unsupported"]


def points(document: Mapping[str, Any], *, source: str = "configuration") -> list[Point]:
    """Every point a parsed document asks for, in order, each once.

    Raises ConfigError for an unknown key, a wrong type, a missing key or a combination that cannot be; the message
    starts with `source` and, where there are several, the run's number.
    """
    shared = {key: value for key, value in document.items() if key != "runs"}
    shared.setdefault("experiment", source.removesuffix(".toml"))
    runs = document.get("runs", [{}])
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs) or not runs:
        raise ConfigError(f"{source}: runs is {typed(runs)}; expected one or more [[runs]] tables.")
    check_keys(document, source, extra=("runs", ZIP))
    found: list[Point] = []
    for number, run in enumerate(runs, 1):
        where = source if "runs" not in document else f"{source}, run {number}"
        check_keys(run, where, extra=(ZIP,))
        found += _expand({**shared, **run}, where)
    return _distinct(found, source)


def _expand(table: Mapping[str, Any], where: str) -> list[Point]:
    """All points of one table."""
    expanded = [_point(combination, where) for combination in combinations(table, where)]
    if table.get("name") and len(set(expanded)) > 1:
        raise ConfigError(
            f'{where}: name = "{table["name"]}" would name {len(set(expanded))} points; '
            "expected one point, or no name so that each is named by what it runs."
        )
    return expanded


def _point(values: dict[str, Any], where: str) -> Point:
    """One point with its defaults filled in. Raises ConfigError for a combination that cannot be."""
    for key in IRRELEVANT.get(values["mode"], ()):
        values.pop(key, None)
    if values.get("attention") != "block_sparse":
        values.pop("window", None)
    found = conflict(values)
    if found is None:
        point = Point(**_with_defaults(values))
        found = problem(point)
        if found is None:
            return point
    raise ConfigError(f"{where}: {found}.")


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a point with those that follow from others."""
    filled = {
        "sampling": default_sampling(values.get("variant", "clean")),
        "fused": default_fused(values.get("execution", "eager")),
        **values,
    }
    trained = PRESETS[values["model"]].trained_positions
    long = trained is not None and values["prompt_tokens"] + values["generated_tokens"] > trained
    filled["beyond_training"] = long and filled.get("beyond_training", False)
    if values["mode"] == "ar":
        return filled
    filled.setdefault("block", filled["generated_tokens"])
    if "schedule" in filled:
        filled.setdefault("steps", filled["generated_tokens"] // filled["block"] * len(filled["schedule"]))
    elif not {"threshold", "factor"} & filled.keys():
        filled.setdefault("steps", filled["generated_tokens"])
    return filled


def _distinct(found: list[Point], source: str) -> list[Point]:
    """The points in order without repetitions. Raises ConfigError when two different ones would share a directory."""
    distinct = list(dict.fromkeys(found))
    directories = [point.directory for point in distinct]
    for directory in directories:
        if directories.count(directory) > 1:
            raise ConfigError(
                f"{source}: {directories.count(directory)} different points would be written to {directory}; "
                "expected one each: give them a name, or put them in two files."
            )
    return distinct
