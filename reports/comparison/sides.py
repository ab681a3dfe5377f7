"""Which runs each side of a comparison is made of."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ridgeline.warehouse.errors import SelectionError
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import duckdb

EXPERIMENT = "experiment:"

Known = tuple[str, str, str | None]
"""Id, name and experiment of a run."""


def group(connection: duckdb.DuckDBPyConnection, wanted: str) -> list[str]:
    """The ids of the runs a side names, in their order and once each.

    A side is a run (name, id or unique prefix of either), a pattern of names with ``*`` and ``?``, ``experiment:NAME``,
    or several of these with commas between. A name that holds a comma or a star is itself before anything else. Raises
    :class:`~ridgeline.warehouse.errors.SelectionError` if a part is unknown or ambiguous.
    """
    known = [(str(i), str(n), e) for i, n, e in connection.execute(_RUNS).fetchall()]
    exact = [run_id for run_id, name, _ in known if wanted in (run_id, name)]
    if len(exact) == 1 or (exact := _of_experiment(known, wanted)):
        return exact
    parts = [_part(connection, known, part.strip()) for part in wanted.split(",")]
    return list(dict.fromkeys(run_id for part in parts for run_id in part))


_RUNS = "SELECT run_id, name, experiment FROM runs ORDER BY name, run_id"


def _part(connection: duckdb.DuckDBPyConnection, known: list[Known], part: str) -> list[str]:
    if any(part in (run_id, name) for run_id, name, _ in known):
        return resolve(connection, [part])
    if part.startswith(EXPERIMENT):
        return _of_experiment(known, part) or _none(
            part, "experiments", {experiment for *_, experiment in known if experiment}
        )
    if "*" in part or "?" in part:
        pattern = part.replace("[", "[[]")
        found = [run_id for run_id, name, _ in known if fnmatchcase(name, pattern)]
        return found or _none(part, "runs", {name for _, name, _ in known})
    return resolve(connection, [part])


def _of_experiment(known: list[Known], wanted: str) -> list[str]:
    return [run_id for run_id, _, experiment in known if experiment and wanted == EXPERIMENT + experiment]


def _none(part: str, of: str, there: set[str]) -> list[str]:
    some = ", ".join(sorted(there)[:4]) + (", ..." if len(there) > 4 else "")
    raise SelectionError(f"{part}: fits none of the {len(there)} {of}{f' ({some})' if there else ''}")
