"""What a page is made of: runs by machine, their points, modules and ledgers, as JSON a browser decodes quickly."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ridgeline.reports import queries
from ridgeline.reports.explorer import point_budget as launches
from ridgeline.reports.figures import bars, families, marks, roofs
from ridgeline.reports.figures.layout import axis, layout
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.figures.placement import EDGES
from ridgeline.reports.names import shorten
from ridgeline.reports.queries import Columns, Row

if TYPE_CHECKING:
    import duckdb

PANELS = {
    "runs": "Runs",
    "ceilings": "Roofs",
    "ledger": "Ledger",
    "step_diagnosis": "Kinds of step",
    "steps": "Steps that have a timeline",
    "timings": "Times without the profiler",
    "telemetry": "Power and clocks",
}
"""Each query of its own, and what it feeds. Panels about kernels are made from ``alike``, in the browser."""

STATEMENTS = ("alike", *PANELS, "timeline")
DIGITS = 10
"""Of sums in rows that a page shows as SQL gives them."""
DRAWN_DIGITS = 7
"""Of what is only drawn."""
TEMPLATES = ("chosen", "points", "bars", "icicle", "lost", "bytes")
"""Statements that the page fills in with what is chosen."""


@dataclass(frozen=True)
class Gathered:
    """The rows of every panel, and by column what kernels are alike and what happened in the steps that are shown."""

    rows: dict[str, list[Row]]
    alike: Columns
    timeline: Columns


def gather(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> Gathered:
    """All that a page is made of, from the warehouse."""
    rows = {name: queries.rows(connection, name, run_ids) for name in PANELS}
    longest = sorted(rows["runs"], key=lambda run: -(run["device_time_ns"] or 0))
    steps = launches.timelines(rows["steps"], [run["run_id"] for run in longest])
    alike = queries.columns(connection, "alike", run_ids, grid=grid_of(rows))
    return Gathered(rows, alike, queries.columns(connection, "timeline", run_ids, steps=steps))


def grid_of(rows: dict[str, list[Row]]) -> int:
    """Intervals of duration to an octave; 0 where launches are few enough to stand alone."""
    return launches.grid(sum(run["kernels"] or 0 for run in rows["runs"]))


def document(gathered: Gathered) -> dict[str, Any]:
    """The page's data: figures without points, and what the points are made of, so that choosing needs no new page."""
    rows = gathered.rows
    groups = _groups(_machines(rows), rows["runs"])
    names = dict.fromkeys([*gathered.alike["kernel"], *gathered.timeline["kernel"]])
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
        "plain": layout(300, xaxis=axis(""), yaxis=axis("")),
        "runs": [_run(run, groups) for run in rows["runs"]],
        "groups": [_figures(machine, ids) for machine, ids in groups],
        "grid": grid_of(rows),
        "sql": {name: queries.text(name) for name in STATEMENTS},
        "templates": {name: queries.text(f"panels/{name}") for name in TEMPLATES},
        "short": {name: shorten(name) for name in names if name},
        "alike": coded(gathered.alike),
        "timeline": coded(gathered.timeline),
        **{name: rows[name] for name in ("ledger", "step_diagnosis", "steps", "timings", "telemetry")},
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
        "mode": run["mode"],
        "execution": run["execution"],
        "device_time_ns": run["device_time_ns"],
        "kernels": run["kernels"],
        "outcome": run["outcome"],
        "message": run["message"],
    }


def _figures(machine: Machine, run_ids: Sequence[str]) -> Row:
    latency = [roof for roof in machine.roofs if roof.resource == "latency"]
    return {
        "device": machine.device,
        "has_roofs": bool(machine.roofs),
        "runs": list(run_ids),
        "frame": asdict(machine.frame),
        "peaks": [asdict(roof) | {"what": roof.what} for roof in machine.peaks],
        "floor_ns": min((roof.value * 1e9 for roof in latency), default=None),
        "roofline": roofs.skeleton(machine),
        "lane": roofs.lane(machine, list(families.COLORS)),
    }


def coded(columns: Columns) -> Row:
    """Columns as a page holds them: text is written once, in ``values``, with its place there in ``codes``.

    The code of NULL is -1; a column without any value is None.
    """
    return {name: _column(values) for name, values in columns.items()}


def _column(values: list[Any]) -> Any:
    kinds = set(map(type, values)) - {type(None)}
    if str in kinds:
        known: dict[str, int] = {}
        codes = [-1 if value is None else known.setdefault(value, len(known)) for value in values]
        return {"values": list(known), "codes": codes}
    if float in kinds:
        return [_finite(value) for value in values]
    return values if kinds else None


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return rounded(value, DIGITS) if value is not None and math.isfinite(value) else None


def rounded(value: Any, digits: int = DRAWN_DIGITS) -> Any:
    """The value, or all of it, with floats to so many digits, whole ones as int.

    The last digits of a sum depend on the order it was taken in: without them, the same rows make the same page.

    >>> rounded({"sum": [0.1 + 0.2, 4.0, None]})
    {'sum': [0.3, 4, None]}
    """
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part, digits) for part in value]
    if not isinstance(value, float):
        return value
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def encode(value: Any) -> str:
    """JSON that is safe inside ``<script>``: no ``</script>``, no ``<!--``, no line separators.

    >>> encode({"kernel": "</script>"})
    '{"kernel":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pack(value: Any) -> str:
    """JSON, deflated, in base64: a fifth of its size, and no text in it can be markup."""
    return deflated(json.dumps(value, allow_nan=False, separators=(",", ":")))


def deflated(text: str) -> str:
    """Text as a page holds much of it, in base64."""
    return base64.b64encode(zlib.compress(text.encode(), 7)).decode()


def unpack(text: str) -> Any:
    """What :func:`pack` was given.

    >>> unpack(pack({"kernel": "</script>"}))
    {'kernel': '</script>'}
    """
    return json.loads(zlib.decompress(base64.b64decode(text)))
