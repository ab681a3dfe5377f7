"""Write the study: every figure that the runs make, with its caption, its SQL and what papers say, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ridgeline.reports import html, queries
from ridgeline.reports.explorer.data import encode, rounded
from ridgeline.reports.queries import Row
from ridgeline.reports.study import figures as study
from ridgeline.reports.study import paper
from ridgeline.reports.study.drawings.series import Panel
from ridgeline.warehouse.selection import resolve

if TYPE_CHECKING:
    import duckdb

NAME = "study.html"
HELD = ("kernel_counters", "step_costs", "figure_gap")
"""Views that several figures ask."""


def write(warehouse: str | Path, out: str | Path, runs: Sequence[str] = ()) -> Path | None:
    """Write ``<out>/study.html`` about the runs (names, ids or unique prefixes; all if none) and return its path.

    None, and no file, where the runs make no figure. Raises :class:`~ridgeline.warehouse.errors.SelectionError` for a
    run that is unknown or ambiguous, and :class:`warehouse.WarehouseError` for a warehouse that cannot be read.
    """
    from ridgeline.warehouse import connect, materialize

    connection = connect(warehouse, read_only=True)
    try:
        materialize(connection, *HELD)
        return write_of(connection, out, resolve(connection, runs))
    finally:
        connection.close()


def write_of(connection: duckdb.DuckDBPyConnection, out: str | Path, run_ids: Sequence[str]) -> Path | None:
    """The same of runs by their ids, from a connection of which what several figures ask is held."""
    sections, missing = gather(connection, run_ids)
    path = Path(out) / NAME
    if not sections:
        path.unlink(missing_ok=True)
        return None
    return html.write(path, render(sections, missing, _summary(connection, run_ids)))


def gather(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> tuple[list[Row], list[study.Figure]]:
    """The figures that the runs make, with all a page shows of them, and those they do not make."""
    captured = [row["run_id"] for row in queries.fetch(connection, _CAPTURED, runs=run_ids)]
    draw = study.drawings(connection, captured)
    sections, missing = [], []
    for figure in study.FIGURES:
        rows = study.rows(connection, figure, captured)
        panels = draw[figure.key](rows, paper.marks(figure.key, rows)) if rows else []
        if panels:
            sections.append(_section(figure, rows, panels, captured))
        else:
            missing.append(figure)
    return sections, missing


_CAPTURED = "SELECT run_id FROM generations WHERE list_contains($runs, run_id) ORDER BY name, run_id"


def _section(figure: study.Figure, rows: list[Row], panels: list[Panel], run_ids: Sequence[str]) -> Row:
    shown = len({row["run_id"] for row in rows})
    return {
        "figure": figure,
        "panels": panels,
        "papers": paper.beside(figure.key, rows),
        "sql": queries.written_out(figure.statement, runs=run_ids),
        "runs": shown,
        "others": len(run_ids) - shown,
    }


def _summary(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> Row:
    found = queries.fetch(
        connection, "SELECT run_id, device FROM generations WHERE list_contains($runs, run_id)", runs=run_ids
    )
    devices = list(dict.fromkeys(str(row["device"]) for row in found))
    return {"runs": len(found), "devices": devices, "others": len(run_ids) - len(found)}


def render(sections: Sequence[Row], missing: Sequence[study.Figure], summary: Row) -> str:
    """The page of these figures."""
    return html.render(
        "study.html",
        encode(_data(sections)),
        styles=["page", "study"],
        scripts=["study"],
        sections=sections,
        missing=missing,
        summary=summary,
    )


def _data(sections: Sequence[Row]) -> dict[str, Any]:
    """Of every figure its panels, by key."""
    return {
        section["figure"].key: [
            {"title": panel.title, "notes": list(panel.notes), "spec": rounded(panel.spec)}
            for panel in section["panels"]
        ]
        for section in sections
    }
