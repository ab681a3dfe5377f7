"""A comparison for the shell: a table to read, or every row as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

from ridgeline.reports import units
from ridgeline.reports.comparison.compare import ANY_MODULE, LEVELS, Comparison
from ridgeline.reports.names import clip
from ridgeline.reports.queries import Row

MOST = 10
"""Rows of a level and kind of step in the table; the others are counted and summed in a last line."""

Cells = list[str]


def text(found: Comparison, output_format: str) -> str:
    """The comparison as ``table``, ``csv`` or ``json``; the last two hold every row of the query, unrounded."""
    return {"table": _table, "csv": _csv, "json": _json}[output_format](found)


def _csv(found: Comparison) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(found.rows[0])
    writer.writerows(row.values() for row in found.rows)
    return file.getvalue()


def _json(found: Comparison) -> str:
    """An object: both sides' runs, in what they differ, warnings, and the rows, one a line."""
    sides = {
        name: [{"run_id": run["run_id"], "name": run["name"]} for run in side.runs]
        for name, side in (("base", found.base), ("other", found.other))
    }
    head = {
        **sides,
        "differing": {title: {"base": before, "other": after} for title, before, after in found.differing},
        "warnings": found.warnings,
    }
    rows = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in found.rows)
    return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "rows": [\n{rows}\n]}}\n'


def _table(found: Comparison) -> str:
    lines = [f"base   {clip(', '.join(found.base.names), 110)}", f"other  {clip(', '.join(found.other.names), 110)}"]
    if found.differing:
        differing = [[clip(cell, 44) for cell in row] for row in found.differing]
        lines += ["", *_aligned(["differs", "base", "other"], differing, "lll")]
    for level in ("unprofiled", "step", *found.parts):
        lines += _section(found, level)
    return "\n".join(lines) + "\n"


def _section(found: Comparison, level: str) -> list[str]:
    rows = found.level(level)
    if not rows:
        return []
    head = [LEVELS[level], "base", "other", "change", "%", "noise", "launches", "", ""]
    if level in ("unprofiled", "step"):
        return ["", *_aligned(head, [_cells(row, row["stage"]) for row in rows], "lrrrrrrll")]
    body = []
    for stage in found.stages:
        own = [row for row in rows if row["stage"] == stage]
        body.append([f"{stage}:", *[""] * 8])
        body += [_cells(row, f"  {label(row)}") for row in own[:MOST]]
        if own[MOST:]:
            delta_ns = sum(row["delta_ns_per_step"] for row in own[MOST:])
            body.append([f"  ({len(own) - MOST} more: --format csv)", "", "", signed(delta_ns), *[""] * 5])
    return ["", *_aligned(head, body, "lrrrrrrll")]


def label(row: Row) -> str:
    """What a row is about, at the length of a table's cell."""
    if row["level"] == "family":
        return str(row["family"])
    shapes = row["other_shapes"] or row["base_shapes"] or ""
    module = None if row["module"] == ANY_MODULE else row["module"]
    parts = (row["operator"], module, clip(shapes, 30))
    return " ".join(clip(part, 44) for part in parts if part)


def _cells(row: Row, name: str) -> Cells:
    return [
        clip(name, 90),
        _known(row["base_ns_per_step"], units.duration),
        _known(row["other_ns_per_step"], units.duration),
        signed(row["delta_ns_per_step"]),
        _known(row["change"], change),
        noise(row),
        launches(row),
        row["status"],
        row["why"] or "",
    ]


def _known(value: float | None, show: Callable[[float], str]) -> str:
    return "" if value is None else show(value)


def signed(ns: float) -> str:
    """
    >>> signed(-1800.0), signed(0.0), signed(12_345_678)
    ('-1.8 µs', '0 ns', '+12.3 ms')
    """
    return ("+" if ns > 0 else "") + units.duration(ns)


def change(share: float) -> str:
    """
    >>> change(-0.834), change(0.02), change(11.5)
    ('-83.4 %', '+2 %', '+1,150 %')
    """
    return ("+" if share > 0 else "") + f"{units.digits(round(share * 100, 1))} %"


def noise(row: Row) -> str:
    """Half the width of the band around the base that counts as the same; ``?`` where it is assumed."""
    if row["noise_ns"] is None:
        return ""
    assumed = "?" if row["noise_basis"] == "unknown" else ""
    return f"±{units.percent(row['noise_ns'] / row['base_ns_per_step'])}{assumed}" if row["base_ns_per_step"] else ""


def launches(row: Row) -> str:
    """Launches per step, before and after where they differ."""
    before, after = (row[f"{side}_launches_per_step"] for side in ("base", "other"))
    if before is None and after is None:
        return ""
    if before == after:
        return units.digits(before)
    return f"{_known(before, units.digits) or '0'} → {_known(after, units.digits) or '0'}"


def _aligned(head: Cells, rows: Sequence[Cells], sides: str) -> list[str]:
    """Columns as wide as their longest cell, to the left or right; the first row is the header."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    rule = ["─" * width for width in widths]
    justify = [str.rjust if side == "r" else str.ljust for side in sides]
    return ["  ".join(map(_put, justify, row, widths)).rstrip() for row in (head, rule, *rows)]


def _put(justify: Callable[[str, int], str], cell: str, width: int) -> str:
    return justify(cell, width)
