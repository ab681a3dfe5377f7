"""Select the runs of each side of a comparison."""

from fnmatch import fnmatchcase

from ridgeline.reports.queries import Connection
from ridgeline.warehouse.errors import SelectionError
from ridgeline.warehouse.selection import resolve

EXPERIMENT = "experiment:"


def side_run_ids(connection: Connection, side: str) -> list[str]:
    """Return the ids of the runs that ``side`` names, in their order and without repeats.

    A side is a run (name, id or unique prefix of either), a pattern of names with ``*`` and ``?``, ``experiment:NAME``,
    or several of these separated by commas. A run whose whole name is ``side`` comes before any other reading, since a
    name may contain a comma or a star.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if a part is unknown or ambiguous.
    """
    stored = connection.execute("SELECT run_id, name, experiment FROM runs ORDER BY name, run_id").fetchall()
    exact = [run_id for run_id, name, _ in stored if side in (run_id, name)]
    if len(exact) == 1:
        return exact
    # An experiment's name may contain a comma too, so the whole side is tried as one before it is split.
    experiments: dict[str, list[str]] = {}
    for run_id, _, experiment in stored:
        if experiment:
            experiments.setdefault(EXPERIMENT + experiment, []).append(run_id)
    if side in experiments:
        return experiments[side]
    matched: list[str] = []
    for part in map(str.strip, side.split(",")):
        if any(part in (run_id, name) for run_id, name, _ in stored):
            matched += resolve(connection, [part])
        elif part.startswith(EXPERIMENT):
            names = {name.removeprefix(EXPERIMENT) for name in experiments}
            matched += experiments.get(part) or _no_match(part, "experiments", names)
        elif "*" in part or "?" in part:
            # Names of runs hold brackets, which are not a part of our patterns.
            pattern = part.replace("[", "[[]")
            fitting = [run_id for run_id, name, _ in stored if fnmatchcase(name, pattern)]
            matched += fitting or _no_match(part, "runs", {name for _, name, _ in stored})
        else:
            matched += resolve(connection, [part])
    return list(dict.fromkeys(matched))


def _no_match(part: str, kind: str, names: set[str]) -> list[str]:
    some = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
    raise SelectionError(f"{part}: fits none of the {len(names)} {kind}{f' ({some})' if names else ''}")
