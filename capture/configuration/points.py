"""From a TOML table to validated points: runs, defaults, and combinations that cannot run.

A configuration is a TOML file. Keys at its top are shared; each `[[runs]]` table adds a sweep and overrides them. A
file without `[[runs]]` is one sweep. Any key may hold a list, and a sweep is the cartesian product of its lists, in the
order of Point's fields; the lists that `zip` names advance together:

    zip = ["prompt_tokens", "generated_tokens"]     # or several groups: [["a", "b"], ["c", "d"]]

Everything is checked here, before any weight is made. Nothing here imports torch. `models` documents the key `model`,
`prompts` the key `prompts`.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ridgeline.capture.configuration.constraints import conflict, problem, unsupported
from ridgeline.capture.configuration.expansion import ZIP, combinations
from ridgeline.capture.configuration.models import Models
from ridgeline.capture.configuration.point import IRRELEVANT, ITEM_BYTES, Mode, Point, default_fused, default_sampling
from ridgeline.capture.configuration.presets import PRESETS, shape_of
from ridgeline.capture.configuration.prompts import digest, shortest, taken
from ridgeline.capture.configuration.values import check_keys, typed
from ridgeline.capture.errors import ConfigError

__all__ = ["IRRELEVANT", "ITEM_BYTES", "Mode", "Point", "points", "prompts_of", "unsupported"]


def points(document: Mapping[str, Any], *, source: str = "configuration", folder: Path | None = None) -> list[Point]:
    """Return every point of a parsed document, in order and without repetitions.

    Models, modules and prompts are looked for relative to `folder`, the current one by default.

    Raises ConfigError for an unknown or missing key, a wrong value, a combination that cannot run, and for different
    points with the same directory. The message starts with `source` and, if there are several runs, the run's number.
    """
    shared = {key: value for key, value in document.items() if key not in ("runs", "models")}
    shared.setdefault("experiment", source.removesuffix(".toml"))
    runs = document.get("runs", [{}])
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs) or not runs:
        raise ConfigError(f"{source}: runs is {typed(runs)}; expected one or more [[runs]] tables.")
    check_keys(document, source, extra=("runs", "models", ZIP))
    home = (folder or Path()).resolve()
    models = Models(document.get("models", {}), home, source)
    distinct: dict[Point, None] = {}  # in order; a set would lose it
    for number, run in enumerate(runs, 1):
        where = source if "runs" not in document else f"{source}, run {number}"
        check_keys(run, where, extra=(ZIP,))
        table = {**shared, **run}
        expanded = dict.fromkeys(_point(values, where, models, home) for values in combinations(table, where, models))
        if table.get("name") and len(expanded) > 1:
            raise ConfigError(
                f'{where}: name = "{table["name"]}" would name {len(expanded)} points; '
                "expected one point, or no name so that each is named by its settings."
            )
        distinct |= expanded
    for directory, count in Counter(point.directory for point in distinct).items():
        if count > 1:
            raise ConfigError(
                f"{source}: {count} different points have the directory {directory}; "
                "expected one: give each a name, or put them in two files."
            )
    return list(distinct)


def _point(values: dict[str, Any], where: str, models: Models, folder: Path) -> Point:
    """Return the point of one combination, with defaults filled in that depend on other keys.

    Raises ConfigError for a combination that cannot run.
    """
    # Keys that do not apply are dropped before defaults and checks, which would count or refuse them.
    for key in IRRELEVANT.get(values["mode"], ()):
        values.pop(key, None)
    if values.get("attention") != "block_sparse":
        values.pop("window", None)
    if message := conflict(values):
        raise ConfigError(f"{where}: {message}.")
    _resolve(values, where, models, folder)
    values.setdefault("sampling", default_sampling(values.get("variant", "clean")))
    values.setdefault("fused", default_fused(values.get("execution", "eager")))
    trained = (values.get("shape") or PRESETS[values["model"]]).trained_positions
    generated = values["generated_tokens"]
    # The stored key says that a point is beyond training, not that it would be allowed to be.
    beyond = trained is not None and values["prompt_tokens"] + generated > trained
    values["beyond_training"] = beyond and values.get("beyond_training", False)
    if values["mode"] in get_args(Mode) and values["mode"] != "ar":
        # By default all tokens are one block, and a step commits one token.
        values.setdefault("block", generated)
        if "schedule" in values:
            values.setdefault("steps", generated // values["block"] * len(values["schedule"]))
        elif not {"threshold", "factor"} & values.keys():
            values.setdefault("steps", generated)
    point = Point(**values)
    if message := problem(point):
        raise ConfigError(f"{where}: {message}.")
    _check_prompts(point, where)
    return point


def _resolve(values: dict[str, Any], where: str, models: Models, folder: Path) -> None:
    """Replace names of models and files by what `folder` holds: shape, checkpoint, tokenizer and prompts.

    Raises ConfigError for a model that cannot be run and for prompts that cannot be read.
    """
    model = models.found(values["model"], where)
    values["model"] = model.name
    if model.shape is not None:
        values["shape"] = model.shape
    if model.checkpoint is not None:
        values.setdefault("checkpoint", str(model.checkpoint))
    if values["mode"] not in get_args(Mode):
        values["folder"] = str(folder)
        # A mode that changed is another configuration. What it imports may change unseen.
        module = folder.joinpath(*values["mode"].partition(":")[0].split("."))
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.is_file():
                values.setdefault("mode_sha256", digest(file, where))
    if "prompts" not in values:
        return
    path = folder / values["prompts"]
    tokenizer = values.get("checkpoint") or (str(model.directory) if model.directory is not None else None)
    values |= {"prompts": str(path), "prompts_sha256": digest(path, where), "tokenizer": tokenizer}
    if "prompt_tokens" not in values:
        try:
            values["prompt_tokens"] = shortest(values["prompts"], values["prompts_sha256"], tokenizer)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None


def _check_prompts(point: Point, where: str) -> None:
    """Raise ConfigError where a point's file of prompts does not fill its batch."""
    try:
        prompts_of(point)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def prompts_of(point: Point) -> list[list[int]] | None:
    """Return the token ids of a point's prompts, `batch` lists of `prompt_tokens`; None for random prompts.

    Raises ConfigError as `prompts.taken`.
    """
    if point.prompts is None or point.prompts_sha256 is None:
        return None
    return taken(
        point.prompts,
        point.prompts_sha256,
        point.tokenizer,
        batch=point.batch,
        length=point.prompt_tokens,
        vocabulary=shape_of(point).vocabulary,
    )
