"""Select the runs of each side of a comparison: stored runs, and paths of traces to analyze."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from ridgeline.reports.queries import Connection
from ridgeline.warehouse.errors import SelectionError
from ridgeline.warehouse.selection import resolve

EXPERIMENT = "experiment:"


class Selected(NamedTuple):
    """The runs of one side."""

    run_ids: list[str]
    """Stored runs, in their order and without repeats."""
    paths: list[Path]
    """Run directories, folders and traces, whose runs are not stored."""


def is_path(side: str) -> bool:
    """Return whether a whole side, or each of its parts, is an existing path."""
    return _exists(side) or all(map(_exists, _parts(side)))


def select(connection: Connection | None, side: str) -> Selected:
    """Return the stored runs and the paths that ``side`` names; without a connection there are only paths.

    A side is a run (name, id or unique prefix of either), a pattern of names with ``*`` and ``?``, ``experiment:NAME``,
    an existing path, or several of these separated by commas. A run or an experiment whose whole name is ``side`` comes
    before any other reading, since a name may contain a comma or a star. Of each part, a run of exactly that name or id
    comes first, then an existing path, then patterns and prefixes: ``./NAME`` is the path NAME.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if a part is unknown or ambiguous.
    """
    query = "SELECT run_id, name, experiment FROM runs ORDER BY name, run_id"
    stored = connection.execute(query).fetchall() if connection else []
    exact = [run_id for run_id, name, _ in stored if side in (run_id, name)]
    if len(exact) == 1:
        return Selected(exact, [])
    # An experiment's name may contain a comma too, so the whole side is tried as one before it is split.
    experiments: dict[str, list[str]] = {}
    for run_id, _, experiment in stored:
        if experiment:
            experiments.setdefault(EXPERIMENT + experiment, []).append(run_id)
    if side in experiments:
        return Selected(experiments[side], [])
    if not exact and _exists(side):
        return Selected([], [Path(side)])
    named = {label for run_id, name, _ in stored for label in (run_id, name)}
    paths = [part for part in _parts(side) if part not in named and _exists(part)]
    matched: list[str] = []
    for part in _parts(side):
        if part not in paths:
            matched += _stored(connection, part, [(run_id, name) for run_id, name, _ in stored], experiments)
    return Selected(list(dict.fromkeys(matched)), list(map(Path, paths)))


def _stored(
    connection: Connection | None, part: str, runs: list[tuple[str, str]], experiments: dict[str, list[str]]
) -> list[str]:
    """Return the ids of the runs that a part of a side names."""
    if connection is None:
        raise SelectionError(f"{part}: no such file or folder, and no warehouse to find a run in: name one with -w")
    if any(part in run for run in runs):
        return resolve(connection, [part])
    if part.startswith(EXPERIMENT):
        names = {name.removeprefix(EXPERIMENT) for name in experiments}
        return experiments.get(part) or _no_match(part, "experiments", names)
    if "*" in part or "?" in part:
        # Names of runs hold brackets, which are not a part of our patterns.
        pattern = part.replace("[", "[[]")
        fitting = [run_id for run_id, name in runs if fnmatchcase(name, pattern)]
        return fitting or _no_match(part, "runs", {name for _, name in runs})
    return resolve(connection, [part])


def _parts(side: str) -> list[str]:
    return [part.strip() for part in side.split(",")]


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except OSError:  # too long for a name
        return False


def _no_match(part: str, kind: str, names: set[str]) -> list[str]:
    some = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
    raise SelectionError(f"{part}: fits none of the {len(names)} {kind}{f' ({some})' if names else ''}")
