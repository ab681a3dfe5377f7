"""Select the runs of each side of a comparison: stored runs, and paths of traces to analyze."""

from pathlib import Path
from typing import NamedTuple

from ridgeline.reports.queries import Connection
from ridgeline.warehouse.errors import SelectionError
from ridgeline.warehouse.selection import EXPERIMENT, resolve


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

    A side is what :func:`~ridgeline.warehouse.selection.resolve` reads, an existing path, or several of these separated
    by commas. A run or an experiment whose whole name is ``side`` comes before any other reading, since a name may
    contain a comma. Of each part, a run of exactly that name or id comes first, then an existing path, then
    patterns and prefixes: ``./NAME`` is the path NAME.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if a part is unknown or ambiguous.
    """
    query = "SELECT run_id, name, experiment FROM runs"
    stored = connection.execute(query).fetchall() if connection else []
    exact = [run_id for run_id, name, _ in stored if side in (run_id, name)]
    if len(exact) == 1:
        return Selected(exact, [])
    if connection and any(side == f"{EXPERIMENT}{experiment}" for _, _, experiment in stored if experiment):
        return Selected(resolve(connection, [side]), [])
    if not exact and _exists(side):
        return Selected([], [Path(side)])
    named = {label for run_id, name, _ in stored for label in (run_id, name)}
    paths = [part for part in _parts(side) if part not in named and _exists(part)]
    runs = [part for part in _parts(side) if part not in paths]
    if runs and connection is None:
        raise SelectionError(f"{runs[0]}: no such file or folder, and no warehouse to find a run in: name one with -w")
    run_ids = resolve(connection, runs) if connection and runs else []
    return Selected(run_ids, list(map(Path, paths)))


def _parts(side: str) -> list[str]:
    return [part.strip() for part in side.split(",")]


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except OSError:  # too long for a name
        return False
