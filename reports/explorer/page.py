"""Write the report: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ridgeline.reports import html, units
from ridgeline.reports.explorer import run_table
from ridgeline.reports.explorer.data import Gathered, device, document, gather, pack
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.queries import Row
from ridgeline.reports.study import page as study_page
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import duckdb

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


def write(
    warehouse: str | Path,
    out: str | Path,
    runs: Sequence[str] = (),
    *,
    lake: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write ``<out>/report.html`` about the runs (names, ids or unique prefixes; all if none) and return its path.

    Beside it, where the runs make figures of the study, stands ``study.html``. With a ``lake`` the runs are its own and
    no warehouse is read.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` for a run that is unknown or ambiguous, and
    :class:`warehouse.WarehouseError` for a warehouse or a lake that cannot be read.
    """
    from ridgeline.warehouse import materialize

    progress("reading")
    connection = _opened(warehouse, lake)
    try:
        materialize(connection, *study_page.HELD)
        run_ids = resolve(connection, runs)
        progress("every kernel")
        page = html.write(Path(out) / "report.html", render(gather(connection, run_ids)))
        progress("the study")
        study_page.write_of(connection, out, run_ids)
    finally:
        connection.close()
    return page


def _opened(warehouse: str | Path, lake: str | Path | None) -> duckdb.DuckDBPyConnection:
    if lake is None:
        from ridgeline.warehouse import connect

        return connect(warehouse, read_only=True)
    from ridgeline.warehouse.lake import load_lake

    return load_lake(lake)


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
