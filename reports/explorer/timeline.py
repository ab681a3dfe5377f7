"""The events of a page's timeline: every event of some stretches of time, and an overview of the other runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ridgeline.reports import queries
from ridgeline.reports.embedding import coded
from ridgeline.reports.explorer.point_budget import EVENTS, bins_of_lanes, stretches
from ridgeline.reports.queries import Connection, Row

# Columns of lists, with a value for each event that a row stands for.
TIMES = (
    "start_ns",
    "duration_ns",
    "covered_ns",
    "since_launch_ns",
    "launch_duration_ns",
    "sync_ns",
    "host_ns",
    "call_ns",
    "queue_ns",
)


def gather(connection: Connection, run_ids: Sequence[str], steps: Iterable[Row], most: int = EVENTS) -> dict[str, Any]:
    """Return the timelines of runs; ``steps`` are rows of ``sql/steps.sql``, and the first of ``run_ids`` come first.

    ``runs`` holds for each run the start and the length of its trace and its start by the clock; ``stretches`` which
    parts of it have every event, in ns from its start; ``events`` and ``bins`` the rows of ``sql/timeline/``, times in
    a list as differences from the time before. ``most`` limits the events.
    """
    names = [f"{step['run_id']}/{step['step_id']}" for step in steps]
    windows = queries.rows(connection, "timeline/windows", runs=run_ids, steps=names)
    wholes = {row["run_id"]: row for row in windows if row["step_id"] is None}
    chosen = stretches(windows, run_ids, most)
    complete = {row["run_id"] for row in chosen if row["step_id"] is None}
    overview = [row for run_id, row in wholes.items() if run_id not in complete]
    events = _packed(connection, "events", wholes, windows=[_name(row) for row in chosen])
    bins_wanted = bins_of_lanes(sum(row["lanes"] for row in overview))
    bins = _packed(connection, "bins", wholes, windows=[_name(row) for row in overview], bins=bins_wanted)
    return {
        "runs": {
            run_id: {
                # A whole number that JavaScript would round: the page only writes it into SQL.
                "from_ns": str(row["from_ns"]),
                "length_ns": row["to_ns"] - row["from_ns"],
                "clock_ns": row["clock_ns"],
                "operators": row["operators"],
            }
            for run_id, row in wholes.items()
        },
        "steps": {
            f"{row['run_id']}/{row['step_id']}": _span(row, wholes) for row in windows if row["step_id"] is not None
        },
        "stretches": [[row["run_id"], *_span(row, wholes)] for row in sorted(chosen, key=lambda row: row["from_ns"])],
        "bins": bins_wanted,
        "events": events,
        "overview": bins,
    }


def _span(row: Row, wholes: dict[str, Row]) -> list[int]:
    """Return start and end of a window in ns from the start of its run."""
    first_ns = wholes[row["run_id"]]["from_ns"]
    return [row["from_ns"] - first_ns, row["to_ns"] - first_ns]


def _name(row: Row) -> str:
    return f"{row['run_id']}/{row['from_ns']}/{row['to_ns']}"


def _packed(connection: Connection, name: str, wholes: dict[str, Row], **parameters: Any) -> dict[str, Any]:
    """Return the rows of a statement: ``keys``, columns of one value a row, and ``times``, columns of a list a row."""
    statement = queries.text(f"timeline/packed_{name}").replace("$rows", queries.text(f"timeline/{name}"))
    columns = queries.fetch_columns(connection, statement, **parameters)
    times = {column: columns.pop(column) for column in TIMES if column in columns}
    first_ns = [wholes[run_id]["from_ns"] for run_id in columns["run_id"]]
    times["start_ns"] = list(map(_differences, first_ns, times["start_ns"]))
    for column, lists in times.items():
        times[column] = [None if all(value is None for value in values) else values for values in lists]
    return {"keys": coded(columns), "times": times}


def _differences(first: int, values: Sequence[int]) -> list[int]:
    return [value - before for before, value in zip([first, *values], values, strict=False)]
