"""FINDINGS.md and its pictures, written from the study's lake by the template ``findings.md.j2``.

Every measured number comes from a query of ``queries/``: the template prints a query's rows as a table, or puts a cell
into a sentence. ``python -m ridgeline.reports.study.findings LAKE FINDINGS.md PICTURES`` writes the page, and its
pictures into the folder PICTURES. The test of the committed study renders them again and compares.
"""

import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import jinja2

from ridgeline.reports import queries
from ridgeline.reports.errors import ReportError
from ridgeline.reports.queries import Row
from ridgeline.reports.study import findings_charts

TEMPLATE = Path(__file__).with_name("findings.md.j2")
QUERIES = Path(__file__).with_name("queries")


PAGE = "FINDINGS.md"


def render(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The texts of FINDINGS.md and of its pictures, by file name, as the lake behind ``connection`` gives them.

    Raises :class:`duckdb.Error` for a query that fails, and :class:`~ridgeline.reports.errors.ReportError` where a
    sentence's row is missing or ambiguous.
    """

    @cache
    def rows(name: str) -> list[Row]:
        return queries.fetch(connection, (QUERIES / f"{name}.sql").read_text(encoding="utf-8"))

    def row(name: str, **key: Any) -> Row:
        matched = [row for row in rows(name) if key.items() <= row.items()]
        if len(matched) != 1:
            raise ReportError(f"{name}.sql has {len(matched)} rows with {key}: a sentence of {TEMPLATE.name} needs one")
        return matched[0]

    # finalize formats every value that the template prints; StrictUndefined refuses a column that the query lacks.
    environment = jinja2.Environment(
        finalize=cell, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return {
        PAGE: template.render(row=row, rows=rows, table=lambda name: markdown_table(rows(name))),
        "tokens_to_beat_ar.svg": findings_charts.tokens_to_beat_ar(rows("break_even"), rows("break_even_context")),
        "latency_over_ar.svg": findings_charts.latency_over_ar(rows("over_ar_context")),
        "step_parts.svg": findings_charts.step_parts(rows("step_parts")),
    }


def markdown_table(rows: list[Row]) -> str:
    """``rows`` as a Markdown table; columns that hold numbers are aligned to the right.

    >>> print(markdown_table([{"mode": "ar", "ms": 1234.5}, {"mode": None, "ms": None}]))
    | mode | ms |
    | --- | ---: |
    | ar | 1,234.5 |
    |  |  |
    """
    columns = list(rows[0])
    numeric = [any(isinstance(row[name], int | float) for row in rows) for name in columns]
    lines = [columns, ["---:" if is_number else "---" for is_number in numeric]]
    lines += [[cell(row[name]).replace("|", "\\|") for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: Any) -> str:
    """``value`` as text: empty for None, numbers with thousands separators and the digits that SQL rounded them to.

    >>> cell(None), cell(1234), cell(0.5), cell("a")
    ('', '1,234', '0.5', 'a')
    """
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def main(lake: str, page: str, pictures: str) -> None:
    """Write ``page``, and its pictures into the folder ``pictures``, from the lake at the path or URL ``lake``."""
    from ridgeline.reports.study.page import HELD
    from ridgeline.warehouse import materialize
    from ridgeline.warehouse.lake.reading import load_lake

    with closing(load_lake(lake)) as connection:
        materialize(connection, *HELD)
        for name, text in render(connection).items():
            path = Path(page) if name == PAGE else Path(pictures) / name
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
