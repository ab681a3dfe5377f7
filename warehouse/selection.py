"""Which runs are meant: names, ids, or unique prefixes of either."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ridgeline.warehouse.errors import SelectionError

if TYPE_CHECKING:
    import duckdb


def resolve(connection: duckdb.DuckDBPyConnection, runs: Sequence[str] = ()) -> list[str]:
    """The ids of the runs asked for, in their order and once each; of all runs if none is named.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if one is unknown or ambiguous.
    """
    known = [
        (str(i), str(n))
        for i, n in connection.execute("SELECT run_id, name FROM runs ORDER BY name, run_id").fetchall()
    ]
    if not runs:
        return [run_id for run_id, _ in known]
    return list(dict.fromkeys(_one(known, run) for run in runs))


def _one(known: list[tuple[str, str]], wanted: str) -> str:
    exact = [run for run in known if wanted in run]
    found = exact or [run for run in known if wanted and any(label.startswith(wanted) for label in run)]
    if len(found) == 1:
        return found[0][0]
    if found:
        choices = _listed([f"{name} ({run_id})" for run_id, name in found])
        raise SelectionError(f"{wanted}: fits {len(found)} runs, {choices}: name one by its id")
    if not known:
        raise SelectionError(f"{wanted}: no such run, the warehouse holds none: load traces with `ridgeline analyze`")
    nearest = difflib.get_close_matches(wanted, list(dict.fromkeys(name for _, name in known)), n=3, cutoff=0)
    raise SelectionError(f"{wanted}: no such run, the nearest are {_listed(nearest)}")


def _listed(labels: list[str], most: int = 4) -> str:
    """
    >>> _listed(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    rest = len(labels) - most
    return ", ".join(labels[:most]) + (f" and {rest} more" if rest > 0 else "")
