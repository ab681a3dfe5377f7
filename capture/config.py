"""From a TOML table to validated points: types, defaults, expansion of lists, combinations that cannot be.

A configuration is a TOML file. Keys at its top are shared; each `[[runs]]` table adds a sweep and overrides them. A
file without `[[runs]]` is one sweep. Any key may hold a list, and a sweep is the cartesian product of its lists, in the
order of the keys below. Everything is checked here, before a weight is made; nothing here imports torch.
"""

import difflib
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from capture.errors import ConfigError
from capture.presets import PRESETS

Mode = Literal["ar", "dlm_full", "dlm_block_dual"]
MOST = 10_000_000
LARGEST_SEED = 2**63 - 1
Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]

ITEM_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
IRRELEVANT: dict[str, frozenset[str]] = {"ar": frozenset({"block", "steps"})}
"""Keys that mean nothing to a mode: they are dropped, so that a list of them does not multiply its points."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a sweep: everything that decides what is run. Lengths are in tokens, for each sequence.

    `block` is how many positions a diffusion mode decodes together and `steps` its denoising steps over all blocks;
    both are None in a mode they do not concern. `name` and `experiment` label the run and change nothing in it.
    """

    model: str
    mode: Mode
    prompt_tokens: Positive
    generated_tokens: Positive
    batch: Positive = 1
    block: Positive | None = None
    steps: Positive | None = None
    dtype: Literal["bf16", "fp16", "fp32"] = "bf16"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    repeats: Positive = 3
    execution: Literal["eager"] = "eager"
    checkpoint: str | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_SEED)] = 0
    experiment: str = "default"
    name: str = ""

    @property
    def length(self) -> int:
        """Positions a sequence ends with: prompt and generated tokens."""
        return self.prompt_tokens + self.generated_tokens

    @property
    def directory(self) -> str:
        """The run's directory: `name` where given, else what is run: `llama-3-8b_ar_p1024_g128_b1_bf16_eager`."""
        if self.name:
            return self.name
        parts = [self.model, self.mode, f"p{self.prompt_tokens}", f"g{self.generated_tokens}", f"b{self.batch}"]
        parts += [f"block{self.block}"] if self.block is not None else []
        parts += [f"k{self.steps}"] if self.steps is not None else []
        parts += [self.dtype, self.execution]
        parts += [f"seed{self.seed}"] if self.seed else []
        parts += [f"checkpoint-{Path(self.checkpoint).name}"] if self.checkpoint is not None else []
        return "_".join(parts)


_FIELDS = {field.name: field for field in msgspec.structs.fields(Point)}
_CHOICES: dict[str, tuple[str, ...]] = {
    "model": tuple(PRESETS),
    "mode": ("ar", "dlm_full", "dlm_block_dual"),
    "dtype": tuple(ITEM_BYTES),
    "device": ("auto", "cpu", "cuda"),
    "execution": ("eager",),
}
_TYPE_NAMES = {str: "a string", int: "an integer", float: "a float", bool: "a boolean", dict: "a table", list: "a list"}


def points(document: Mapping[str, Any], *, source: str = "configuration") -> list[Point]:
    """Every point a parsed document asks for, in order, each once.

    Raises ConfigError for an unknown key, a wrong type, a missing key or a combination that cannot be; the message
    starts with `source` and, where there are several, the run's number.
    """
    shared = {key: value for key, value in document.items() if key != "runs"}
    shared.setdefault("experiment", source.removesuffix(".toml"))
    runs = document.get("runs", [{}])
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs) or not runs:
        raise ConfigError(f"{source}: runs is {_typed(runs)}; expected one or more [[runs]] tables.")
    _check_keys(shared, source, extra=("runs",))
    found: list[Point] = []
    for number, run in enumerate(runs, 1):
        where = source if "runs" not in document else f"{source}, run {number}"
        _check_keys(run, where)
        found += _expand({**shared, **run}, where)
    return _distinct(found, source)


def _expand(table: Mapping[str, Any], where: str) -> list[Point]:
    """The cartesian product of a table's lists."""
    missing = [name for name, field in _FIELDS.items() if field.required and name not in table]
    if missing:
        raise ConfigError(f"{where}: {missing[0]} is missing; expected {_expected(missing[0])}.")
    axes = [[(key, value) for value in _values(key, table[key], where)] for key in _FIELDS if key in table]
    expanded = [_point(dict(combination), where) for combination in itertools.product(*axes)]
    if table.get("name") and len(set(expanded)) > 1:
        raise ConfigError(
            f'{where}: name = "{table["name"]}" would name {len(set(expanded))} points; '
            "expected one point, or no name so that each is named by what it runs."
        )
    return expanded


def _values(key: str, value: Any, where: str) -> list[Any]:
    """The checked alternatives of one key."""
    alternatives = value if isinstance(value, list) else [value]
    if not alternatives:
        raise ConfigError(f"{where}: {key} is an empty list; expected {_expected(key)}, or a list of them.")
    for alternative in alternatives:
        _check_value(key, alternative, where)
    return alternatives


def _check_value(key: str, value: Any, where: str) -> None:
    """Raise ConfigError unless `value` is of the key's type and among its choices."""
    try:
        msgspec.convert(value, _FIELDS[key].type)
    except msgspec.ValidationError:
        pass
    else:
        if key != "model" or value in PRESETS:
            return
    if isinstance(value, str) and key in _CHOICES:
        near = _nearest(value, _CHOICES[key])
        hint = f" (nearest: {near})" if near else ""
        raise ConfigError(f"{where}: {key} = {_literal(value)}; expected {_expected(key)}{hint}.")
    raise ConfigError(f"{where}: {key} = {_literal(value)} is {_typed(value)}; expected {_expected(key)}.")


def _point(values: dict[str, Any], where: str) -> Point:
    """One point with its defaults filled in. Raises ConfigError for a combination that cannot be."""
    for key in IRRELEVANT.get(values["mode"], ()):
        values.pop(key, None)
    if values["mode"] != "ar":
        values.setdefault("block", values["generated_tokens"])
        values.setdefault("steps", values["generated_tokens"])
    point = Point(**values)
    problem = _problem(point)
    if problem:
        raise ConfigError(f"{where}: {problem}.")
    return point


def _problem(point: Point) -> str | None:
    """What is impossible about a point, or None."""
    for key, label in (("experiment", point.experiment), ("name", point.name)):
        if not label.isprintable():
            return f"{key} = {_literal(label)} has characters that cannot be printed; expected none"
    if "/" in point.name or "\\" in point.name or point.name.startswith("."):
        return (
            f"name = {_literal(point.name)} cannot name a directory; "
            'expected one without "/" and "\\" that starts with no "."'
        )
    if point.checkpoint is not None and not (Path(point.checkpoint) / "config.json").is_file():
        return f'checkpoint = "{point.checkpoint}" holds no config.json; expected a directory in Hugging Face layout'
    if point.block is None or point.steps is None:
        return None
    if point.generated_tokens % point.block:
        return f"block = {point.block} does not divide generated_tokens = {point.generated_tokens}"
    blocks = point.generated_tokens // point.block
    if point.steps % blocks:
        return f"steps = {point.steps} is not a multiple of the {blocks} blocks of {point.block} tokens"
    if point.steps > point.generated_tokens:
        return (
            f"steps = {point.steps} exceeds generated_tokens = {point.generated_tokens}; "
            "expected at least one token a step"
        )
    return None


def _check_keys(table: Mapping[str, Any], where: str, *, extra: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for the first key that does not exist, with the nearest that does."""
    for key in table:
        if key not in _FIELDS:
            near = _nearest(key, (*_FIELDS, *extra))
            hint = f'did you mean "{near}"?' if near else f"expected one of {', '.join(_FIELDS)}."
            raise ConfigError(f'{where}: unknown key "{key}"; {hint}')


def _nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like a word, or None when nothing is near."""
    return next(iter(difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)), None)


def _expected(key: str) -> str:
    """What a key accepts, in words."""
    if key in _CHOICES:
        return f"one of {', '.join(_CHOICES[key])}"
    if key in ("checkpoint", "experiment", "name"):
        return "a string"
    return f"an integer from 0 to {LARGEST_SEED}" if key == "seed" else f"an integer from 1 to {MOST}"


def _typed(value: Any) -> str:
    """The type of a TOML value, in words."""
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


def _literal(value: Any) -> str:
    """A TOML value as the user wrote it, near enough."""
    return json.dumps(value, default=str)


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
