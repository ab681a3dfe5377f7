"""Find runs by name, by id, or by a unique prefix of either."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ridgeline.warehouse.errors import SelectionError

if TYPE_CHECKING:
    import duckdb

LISTED = 4
"""Runs that a message lists."""


def resolve(connection: duckdb.DuckDBPyConnection, runs: Sequence[str] = ()) -> list[str]:
    """Return the ids of the runs named in ``runs``, in that order and once each; of all runs if it is empty.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if a run is unknown or ambiguous.
    """
    rows = connection.execute("SELECT run_id, name FROM runs ORDER BY name, run_id").fetchall()
    stored = [(str(run_id), str(name)) for run_id, name in rows]
    if not runs:
        return [run_id for run_id, _ in stored]
    run_ids = []
    for requested in runs:
        # An exact name wins over a prefix: `decode_b1` must not be ambiguous beside `decode_b16`.
        matches = [run for run in stored if requested in run]
        if requested and not matches:
            matches = [run for run in stored if any(label.startswith(requested) for label in run)]
        if len(matches) != 1:
            raise SelectionError(f"{requested}: {_problem(requested, matches, stored)}")
        run_ids.append(matches[0][0])
    return list(dict.fromkeys(run_ids))


def _problem(requested: str, matches: list[tuple[str, str]], stored: list[tuple[str, str]]) -> str:
    if matches:
        choices = ", ".join(f"{name} ({run_id})" for run_id, name in matches[:LISTED])
        more = f" and {len(matches) - LISTED} more" if len(matches) > LISTED else ""
        return f"fits {len(matches)} runs, {choices}{more}: name one by its id"
    if not stored:
        return "no such run, the warehouse holds none: load traces with `ridgeline analyze`"
    nearest = difflib.get_close_matches(requested, list(dict.fromkeys(name for _, name in stored)), n=3, cutoff=0)
    return f"no such run, the nearest are {', '.join(nearest)}"
