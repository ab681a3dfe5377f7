"""Print a comparison: a table to read, a part of it as Markdown, or every row as CSV or JSON."""

import io
import json
from collections.abc import Callable

from ridgeline.formats import table_lines, write_csv, write_json
from ridgeline.reports.comparison.compare import ANY_MODULE, WHOLE, Comparison
from ridgeline.reports.comparison.verdict import verdict
from ridgeline.reports.formatting import digits, duration, percent
from ridgeline.reports.names import clip, shorten
from ridgeline.reports.queries import Row

# Rows of a level and kind of step in the table; the others are counted and summed in a last line.
MOST = 10
LONGEST = 1000
"""Characters of a sentence."""

Cells = list[str]


def text(comparison: Comparison, output_format: str) -> str:
    """Return the comparison as ``table``, ``markdown``, ``csv`` or ``json``.

    The last two hold every row of the query, unrounded.
    """
    if output_format in ("table", "markdown"):
        return _table(comparison) if output_format == "table" else _markdown(comparison)
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
            body = [_cells(row, row["stage"]) for row in rows]
        else:
            body = []
            for stage in comparison.stages:
                own = [row for row in rows if row["stage"] == stage]
                body.append([f"{stage}:", *[""] * 8])
                body += [_cells(row, f"  {label(row)}") for row in own[:MOST]]
                if own[MOST:]:
                    delta_ns = sum(row["delta_ns_per_step"] for row in own[MOST:])
                    body.append([f"  ({len(own) - MOST} more: --format csv)", "", "", signed(delta_ns), *[""] * 5])
        if rows:
            lines += ["", *table_lines(head, body, "lrrrrrrll")]
    return "\n".join(lines) + "\n"


def _markdown(comparison: Comparison) -> str:
    """Return the sides, the verdict, whole steps and the operators that changed most, for a pull request."""
    base, other = (_code(clip(side.title, 110)) for side in (comparison.base, comparison.other))
    says = [*verdict(comparison), *(f"warning: {warning}" for warning in comparison.warnings)]
    lines = [f"{base} → {other}", "", "```text", *(clip(line, LONGEST).replace("`", "'") for line in says), "```"]
    whole = [row for level in WHOLE for row in comparison.level(level)]
    level = "kernel" if comparison.by_kernel else "operator"
    parts = [row for row in comparison.level(level) if row["status"] != "same"]
    parts.sort(key=lambda row: -abs(row["delta_ns_per_step"]))
    for first, rows in ((None, whole), (f"{level}, device time", parts[:MOST])):
        if rows:
            lines += ["", f"| kind of step | {first or 'time'} | base | other | change | % | noise | |"]
            lines.append("| :-- | :-- | --: | --: | --: | --: | --: | :-- |")
        for row in rows:
            cells = _cells(row, row["stage"])
            title = _code(label(row)) if first else comparison.titles[row["level"]].partition(", ")[2]
            lines.append(f"| {' | '.join([_code(cells[0]), title, *cells[1:6], cells[7]])} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """Return a text from a trace as a Markdown code span, in which only backticks and bars mean something.

    >>> _code("a|b`c")
    '`a\\\\|b\'c`'
    """
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def label(row: Row) -> str:
    """Return the name of a row, short enough for a cell."""
    if row["level"] == "family":
        return str(row["family"])
    if row["level"] == "kernel":
        return clip(shorten(row["operator"]), 60)
    shapes = row["other_shapes"] or row["base_shapes"] or ""
    module = None if row["module"] == ANY_MODULE else row["module"]
    parts = (row["operator"], module, clip(shapes, 30))
    return " ".join(clip(part, 44) for part in parts if part)


def _cells(row: Row, name: str) -> Cells:
    return [
        clip(name, 90),
        _unless_null(row["base_ns_per_step"], duration),
        _unless_null(row["other_ns_per_step"], duration),
        signed(row["delta_ns_per_step"]),
        _unless_null(row["change"], change),
        noise(row),
        launch_counts(row),
        row["status"],
        row["why"] or "",
    ]


def _unless_null(value: float | None, show: Callable[[float], str]) -> str:
    return "" if value is None else show(value)


def signed(ns: float) -> str:
    """Format a difference of nanoseconds with its sign.

    >>> signed(-1800.0), signed(0.0), signed(12_345_678)
    ('-1.8 µs', '0 ns', '+12.3 ms')
    """
    return ("+" if ns > 0 else "") + duration(ns)


def change(share: float) -> str:
    """Format a relative change with its sign.

    >>> change(-0.834), change(0.02), change(11.5)
    ('-83.4 %', '+2 %', '+1,150 %')
    """
    return ("+" if share > 0 else "") + f"{digits(round(share * 100, 1))} %"


def noise(row: Row) -> str:
    """Format half the width of the band around the base that counts as the same; ``?`` marks an assumed one.

    A band wider than the base is a time: of a base near zero, a percentage says nothing.
    """
    noise_ns, base_ns = row["noise_ns"], row["base_ns_per_step"]
    if noise_ns is None or not base_ns:
        return ""
    assumed = "?" if row["noise_basis"] == "unknown" else ""
    return f"±{duration(noise_ns) if noise_ns > base_ns else percent(noise_ns / base_ns)}{assumed}"


def launch_counts(row: Row) -> str:
    """Format the launches per step, before and after if they differ."""
    before, after = (row[f"{side}_launches_per_step"] for side in ("base", "other"))
    if before is None and after is None:
        return ""
    if before == after:
        return digits(before)
    return f"{digits(before or 0)} → {digits(after or 0)}"
