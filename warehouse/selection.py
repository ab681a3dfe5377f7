"""Find runs by name, id, unique prefix of either, pattern of names, or experiment."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ridgeline.warehouse.errors import SelectionError

if TYPE_CHECKING:
    import duckdb

EXPERIMENT = "experiment:"
LISTED = 4
"""Runs that a message lists."""

# Id and name of a run.
_Run = tuple[str, str]


def resolve(connection: duckdb.DuckDBPyConnection, runs: Sequence[str] = ()) -> list[str]:
    """Return the ids of the runs named in ``runs``, in that order and once each; of all runs if it is empty.

    Each is a name or an id, ``experiment:NAME``, a pattern of names with ``*`` and ``?``, or a unique prefix of a
    name or an id. The first of these readings that fits holds: a name may contain a star.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if one of them fits no run, or a prefix fits several.
    """
    rows = connection.execute("SELECT run_id, name, experiment FROM runs ORDER BY name, run_id").fetchall()
    stored = [(str(run_id), str(name)) for run_id, name, _ in rows]
    if not runs:
        return [run_id for run_id, _ in stored]
    experiments: dict[str, list[str]] = {}
    for run_id, _, experiment in rows:
        if experiment:
            experiments.setdefault(str(experiment), []).append(str(run_id))
    matched = [run_id for requested in runs for run_id in _matches(requested, stored, experiments)]
    return list(dict.fromkeys(matched))


def _matches(requested: str, stored: list[_Run], experiments: dict[str, list[str]]) -> list[str]:
    # An exact name wins over a prefix: `decode_b1` must not be ambiguous beside `decode_b16`.
    exact = [run for run in stored if requested in run]
    if not exact and requested.startswith(EXPERIMENT):
        return experiments.get(requested.removeprefix(EXPERIMENT)) or _no_match(requested, "experiments", experiments)
    if not exact and ("*" in requested or "?" in requested):
        # Names of runs hold brackets, which are not a part of our patterns.
        pattern = requested.replace("[", "[[]")
        fitting = [run_id for run_id, name in stored if fnmatchcase(name, pattern)]
        return fitting or _no_match(requested, "runs", {name for _, name in stored})
    if requested and not exact:
        exact = [run for run in stored if any(label.startswith(requested) for label in run)]
    if len(exact) != 1:
        raise SelectionError(f"{requested}: {_problem(requested, exact, stored)}")
    return [exact[0][0]]


def _no_match(requested: str, kind: str, names: Iterable[str]) -> list[str]:
    ordered = sorted(names)
    some = ", ".join(ordered[:LISTED]) + (", ..." if len(ordered) > LISTED else "")
    raise SelectionError(f"{requested}: fits none of the {len(ordered)} {kind}{f' ({some})' if ordered else ''}")


def _problem(requested: str, matches: list[_Run], stored: list[_Run]) -> str:
    if matches:
        choices = ", ".join(f"{name} ({run_id})" for run_id, name in matches[:LISTED])
        more = f" and {len(matches) - LISTED} more" if len(matches) > LISTED else ""
        return f"fits {len(matches)} runs, {choices}{more}: name one by its id"
    if not stored:
        return "no such run, the warehouse holds none: load traces with `ridgeline analyze`"
    nearest = difflib.get_close_matches(requested, list(dict.fromkeys(name for _, name in stored)), n=3, cutoff=0)
    return f"no such run, the nearest are {', '.join(nearest)}"
