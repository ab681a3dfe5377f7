"""Write the study: ``study.html``, every figure that the runs make, with its caption, its SQL and values of papers."""

from collections.abc import Sequence
from pathlib import Path

from ridgeline.reports import html, queries
from ridgeline.reports.embedding import encode, rounded
from ridgeline.reports.queries import Connection, Row
from ridgeline.reports.study import figures as study
from ridgeline.reports.study import paper

NAME = "study.html"
# Views that several figures query: evaluated once.
HELD = ("step_costs", "figure_gap")


def write(connection: Connection, out: str | Path, run_ids: Sequence[str]) -> Path | None:
    """Write ``<out>/study.html`` about the runs with these ids and return its path.

    If the runs make no figure, return None and remove an older page. Materializes the views :data:`HELD`, unless
    Ridgeline captured none of the runs.
    """
    from ridgeline.warehouse import materialize

    path = Path(out) / NAME
    captured = queries.rows(connection, "captured_runs", runs=run_ids)
    if captured:
        materialize(connection, *HELD)
    sections, missing = gather(connection, run_ids) if captured else ([], [])
    if not sections:
        path.unlink(missing_ok=True)  # it would describe other runs than the report beside it
        return None
    return html.write(path, render(sections, missing, captured, others=len(run_ids) - len(captured)))


def gather(connection: Connection, run_ids: Sequence[str]) -> tuple[list[Row], list[study.Figure]]:
    """Return a section for each figure that the runs make, and the figures that they do not make."""
    # Figures compare settings, which only captured runs record.
    captured = [row["run_id"] for row in queries.rows(connection, "captured_runs", runs=run_ids)]
    draw = study.draw_functions(connection, captured)
    sections: list[Row] = []
    missing = []
    for figure in study.FIGURES:
        rows = study.rows(connection, figure, captured)
        panels = draw[figure.key](rows, paper.marks(figure.key, rows)) if rows else []
        if not panels:
            missing.append(figure)
            continue
        runs = len({row["run_id"] for row in rows})
        sections.append(
            {
                "figure": figure,
                "panels": panels,
                "papers": paper.table(figure.key, rows),
                "sql": queries.runnable(figure.statement, runs=captured),
                "runs": runs,
                "others": len(captured) - runs,
            }
        )
    return sections, missing


def render(sections: Sequence[Row], missing: Sequence[study.Figure], captured: Sequence[Row], others: int) -> str:
    """Return the page; ``others`` counts the runs of the report that Ridgeline did not capture."""
    panels = {
        section["figure"].key: [
            {"title": panel.title, "says": panel.says, "notes": list(panel.notes), "spec": rounded(panel.spec)}
            for panel in section["panels"]
        ]
        for section in sections
    }
    devices = list(dict.fromkeys(str(row["device"]) for row in captured))
    return html.render(
        "study/page.html",
        encode(panels),
        styles=["shared/page", "study/page"],
        scripts=["shared/hues", "shared/terms", "shared/access", "study/page"],
        sections=sections,
        missing=missing,
        summary={"runs": len(captured), "devices": devices, "others": others},
    )
