"""Write the report: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from reports import run_table, study_page, units
from reports.document import Gathered, device, document, gather, pack
from reports.machine import Machine
from reports.names import clip
from reports.queries import Row
from reports.selection import resolve

_TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = (
    "format",
    "state",
    "points",
    "sql",
    "theme",
    "tooltip",
    "roofline",
    "table",
    "bars",
    "lost",
    "icicle",
    "timeline",
    "bytes",
    "telemetry",
    "ledger",
    "controls",
    "main",
)


def write(warehouse: str | Path, out: str | Path, runs: Sequence[str] = ()) -> Path:
    """Write ``<out>/report.html`` about the runs (names, ids or unique prefixes; all if none) and return its path.

    Beside it, where the runs make figures of the study, stands ``study.html``.

    Raises :class:`~reports.errors.ReportError` for a run that is unknown or ambiguous, and
    :class:`warehouse.WarehouseError` for a warehouse that cannot be read.
    """
    from warehouse import connect, hold

    connection = connect(warehouse, read_only=True)
    try:
        hold(connection, "kernel_counters")
        run_ids = resolve(connection, runs)
        gathered = gather(connection, run_ids)
    finally:
        connection.close()
    study_page.write(warehouse, out, runs)
    return _replace(Path(out) / "report.html", render(gathered))


def render(gathered: Gathered) -> str:
    """The page of what was gathered."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(**_context(gathered))


def _context(gathered: Gathered) -> dict[str, Any]:
    rows = gathered.rows
    from markupsafe import Markup

    return {
        "table": run_table.table(rows["runs"]),
        "devices": list(dict.fromkeys(device(run) for run in rows["runs"])),
        "ceilings": _ceilings(rows),
        "clip": clip,
        "css": Markup(_text("page.css")),
        "plotly": Markup((files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")),
        "script": Markup("\n".join(_text(f"{name}.js") for name in SCRIPTS)),
        "data": Markup(pack(document(gathered))),
    }


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _ceilings(rows: dict[str, list[Row]]) -> list[tuple[str, list[Row]]]:
    """Every roof by device, with its source, method and date; the same ceilings of several runs once."""
    by_device: dict[str, list[Row]] = {}
    names = {run["run_id"]: device(run) for run in rows["runs"]}
    for row in rows["ceilings"]:
        by_device.setdefault(names[row["run_id"]], []).append(row)
    return [(name, _roof_rows(name, own)) for name, own in by_device.items()]


def _roof_rows(name: str, ceilings: Sequence[Row]) -> list[Row]:
    roofs = [roof for roof in Machine.of(name, ceilings).roofs if roof.resource in ("compute", "bandwidth")]
    shortest = [row for row in ceilings if row["resource"] == "latency"][:1]
    listed = [
        {
            "what": roof.what,
            "rate": roof.rate,
            "source": roof.source,
            "method": roof.method,
            "measured_on": roof.measured_on,
        }
        for roof in roofs
    ]
    return listed + [{**row, "what": "shortest kernel", "rate": units.duration(row["value"] * 1e9)} for row in shortest]


def _replace(path: Path, text: str) -> Path:
    """Write beside the path, then take its place: a reader finds the old page or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
