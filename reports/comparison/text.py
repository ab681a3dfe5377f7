"""Print a comparison: a table to read, a part of it as Markdown, or every row as CSV or JSON."""

import io
import json

from ridgeline.formats import table_lines, write_csv, write_json
from ridgeline.reports.comparison.cells import cells, label, signed
from ridgeline.reports.comparison.compare import WHOLE, Comparison
from ridgeline.reports.comparison.markdown import markdown
from ridgeline.reports.comparison.verdict import verdict
from ridgeline.reports.names import clip

# Rows of a level and kind of step in the table; the others are counted and summed in a last line.
MOST = 10
LONGEST = 1000
"""Characters of a sentence."""


def text(comparison: Comparison, output_format: str) -> str:
    """Return the comparison as ``table``, ``markdown``, ``csv`` or ``json``.

    The last two hold every row of the query, unrounded.
    """
    if output_format in ("table", "markdown"):
        return _table(comparison) if output_format == "table" else markdown(comparison)
    columns = list(comparison.rows[0]) if comparison.rows else []
    values = (list(row.values()) for row in comparison.rows)
    file = io.StringIO()
    if output_format == "csv":
        write_csv(columns, values, file)
        return file.getvalue()
    # An object of both sides' runs, differing settings, warnings, verdict and rows.
    sides = (("base", comparison.base), ("other", comparison.other))
    head = {
        **{name: [{"run_id": run["run_id"], "name": run["name"]} for run in side.runs] for name, side in sides},
        "differing": {title: {"base": before, "other": after} for title, before, after in comparison.differing},
        "warnings": comparison.warnings,
        "unit": comparison.unit,
        "verdict": verdict(comparison),
    }
    file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "rows": ')
    write_json(columns, values, file)
    return file.getvalue().rstrip() + "}\n"


def _table(comparison: Comparison) -> str:
    """Return the sides, the verdict, their differing settings, and a section a level, with the longest rows of each."""
    base, other = (clip(side.title, 110) for side in (comparison.base, comparison.other))
    lines = [f"base   {base}", f"other  {other}", "", *(clip(sentence, LONGEST) for sentence in verdict(comparison))]
    if comparison.differing:
        differing = [[clip(cell, 44) for cell in row] for row in comparison.differing]
        lines += ["", *table_lines(["differs", "base", "other"], differing, "lll")]
    for level in (*WHOLE, *comparison.parts):
        rows = comparison.level(level)
        head = [comparison.titles[level], "base", "other", "change", "%", "noise", "launches", "", ""]
        if level in WHOLE:
            body = [cells(row, row["stage"]) for row in rows]
        else:
            body = []
            for stage in comparison.stages:
                own = [row for row in rows if row["stage"] == stage]
                body.append([f"{stage}:", *[""] * 8])
                body += [cells(row, f"  {label(row)}") for row in own[:MOST]]
                if own[MOST:]:
                    delta_ns = sum(row["delta_ns_per_step"] for row in own[MOST:])
                    body.append([f"  ({len(own) - MOST} more: --format csv)", "", "", signed(delta_ns), *[""] * 5])
        if rows:
            lines += ["", *table_lines(head, body, "lrrrrrrll")]
    return "\n".join(lines) + "\n"
