"""Write the report: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports import html, run_table, study_page, units
from reports.document import Gathered, device, document, gather, pack
from reports.machine import Machine
from reports.queries import Row
from warehouse.selection import resolve

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

    Raises :class:`~warehouse.errors.SelectionError` for a run that is unknown or ambiguous, and
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
    return html.write(Path(out) / "report.html", render(gathered))


def render(gathered: Gathered) -> str:
    """The page of what was gathered."""
    rows = gathered.rows
    return html.render(
        "report.html",
        pack(document(gathered)),
        styles=["page"],
        scripts=SCRIPTS,
        table=run_table.table(rows["runs"]),
        devices=list(dict.fromkeys(device(run) for run in rows["runs"])),
        ceilings=_ceilings(rows),
    )


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
