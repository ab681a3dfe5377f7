"""What a page is made of: runs by machine, their points, modules and ledgers, as JSON a browser decodes quickly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reports import families, queries
from reports.figures import bars, marks, roofs
from reports.machine import Machine
from reports.points import EDGES, placed
from reports.queries import Row

if TYPE_CHECKING:
    import duckdb

PANELS = {
    "points": "Roofline, bandwidth lane, time by family and phase, time lost, and what the ledger names",
    "modules": "Time by module",
    "ledger": "Ledger",
    "ceilings": "Roofs",
    "runs": "Runs",
}
"""Each query and what it feeds."""


def gather(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of every panel."""
    return {name: queries.rows(connection, name, run_ids) for name in PANELS}


def document(rows: dict[str, list[Row]]) -> dict[str, Any]:
    """The page's data: figures without points, and the points apart, so that filters need no new figure."""
    machines = _machines(rows)
    groups = _groups(machines, rows["runs"])
    points = [point for run_id, own in _by_run(rows["points"]).items() for point in placed(own, machines[run_id].frame)]
    points.sort(key=lambda point: -point["duration_ns"])
    return {
        "families": {
            family: {"color": color, "symbol": families.symbol(family)} for family, color in families.COLORS.items()
        },
        "entries": bars.ENTRIES,
        "marks": {
            "style": marks.STYLE,
            "largest": marks.LARGEST,
            "edges": EDGES,
            "badges": marks.BADGES,
            "above": marks.ABOVE,
        },
        "bars": {"layout": bars.frame(0), "row": bars.ROW},
        "runs": [_run(run, groups) for run in rows["runs"]],
        "groups": [_figures(machine, points, ids) for machine, ids in groups],
        "points": columns(points),
        "modules": columns(rows["modules"]),
        "ledger": rows["ledger"],
    }


def _by_run(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["run_id"], []).append(row)
    return found


def _machines(rows: dict[str, list[Row]]) -> dict[str, Machine]:
    ceilings = _by_run(rows["ceilings"])
    return {run["run_id"]: Machine.of(device(run), ceilings.get(run["run_id"], [])) for run in rows["runs"]}


def device(run: Row) -> str:
    """The device as the run names it, else its kind."""
    return str(run["device"] or {"cpu": "CPU"}.get(run["device_kind"], run["device_kind"]))


def _groups(machines: dict[str, Machine], runs: Sequence[Row]) -> list[tuple[Machine, list[str]]]:
    """Runs that share a frame: of one device, with ceilings in the same decades. The first run's roofs are drawn."""
    found: dict[Any, tuple[Machine, list[str]]] = {}
    for run in sorted(runs, key=lambda run: -(run["device_time_ns"] or 0)):
        machine = machines[run["run_id"]]
        found.setdefault((machine.device, machine.frame, bool(machine.roofs)), (machine, []))[1].append(run["run_id"])
    return list(found.values())


def _run(run: Row, groups: list[tuple[Machine, list[str]]]) -> Row:
    (group,) = (i for i, (_, ids) in enumerate(groups) if run["run_id"] in ids)
    return {
        "id": run["run_id"],
        "name": run["name"],
        "group": group,
        "device_time_ns": run["device_time_ns"],
        "kernels": run["kernels"],
        "outcome": run["outcome"],
        "message": run["message"],
    }


def _figures(machine: Machine, points: Sequence[Row], run_ids: Sequence[str]) -> Row:
    members = set(run_ids)
    own = [point for point in points if point["run_id"] in members]
    used = {(point["unit"], point["precision"]) for point in own if point["place"] == "roofline"}
    lane = [family for family in families.COLORS if any(p["family"] == family and p["place"] == "lane" for p in own)]
    return {
        "device": machine.device,
        "has_roofs": bool(machine.roofs),
        "runs": list(run_ids),
        "roofline": roofs.skeleton(machine, used),
        "roofline_all": roofs.skeleton(machine),
        "lane": roofs.lane(machine, lane),
    }


def columns(rows: Sequence[Row]) -> Row:
    """Rows by column; text is written once, in ``values``, with its place there in ``codes`` (-1 for NULL)."""
    names = list(rows[0]) if rows else []
    return {name: _column([row[name] for row in rows]) for name in names}


def _column(values: list[Any]) -> Any:
    if not any(isinstance(value, str) for value in values):
        return [_finite(value) for value in values]
    known: dict[str, int] = {}
    codes = [-1 if value is None else known.setdefault(value, len(known)) for value in values]
    return {"values": list(known), "codes": codes}


def _finite(value: Any) -> Any:
    """JSON has no infinity; whole floats are written without their point."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def encode(value: Any) -> str:
    """JSON that is safe inside ``<script>``: no ``</script>``, no ``<!--``, no line separators.

    >>> encode({"kernel": "</script>"})
    '{"kernel":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
