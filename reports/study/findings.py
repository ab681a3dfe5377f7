"""FINDINGS.md: prose whose tables are answers, each below the SQL that gives it.

A fenced block of ``sql`` is a question to the study's lake, the Markdown table after it the answer. Asking again puts
new answers into the same prose: ``python -m ridgeline.reports.study.findings reports/study/lake FINDINGS.md``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import duckdb

QUESTION = re.compile(r"(?P<question>^```sql\n(?P<sql>.*?)\n```\n)(?:\n(?:^\|[^\n]*\n)+)?", re.MULTILINE | re.DOTALL)


def answered(text: str, connection: duckdb.DuckDBPyConnection) -> str:
    """The text with each question's answer below it, in place of the one that stood there.

    Raises :class:`duckdb.Error` for a question that is none.
    """
    return QUESTION.sub(lambda match: f"{match['question']}\n{_answer(connection, match['sql'])}", text)


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """A query's rows as a Markdown table, numbers to the right."""
    found = connection.execute(sql)
    columns = [(name, kind.id not in ("varchar", "boolean")) for name, kind, *_ in found.description or []]
    lines = [[name for name, _ in columns], ["---:" if number else "---" for _, number in columns]]
    lines += [[_said(value) for value in row] for row in found.fetchall()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _said(value: Any) -> str:
    """A value in a cell: what a bar would break, escaped; numbers as SQL rounded them.

    >>> _said(None), _said(1234), _said(0.5), _said("a|b")
    ('', '1,234', '0.5', 'a\\\\|b')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def main(lake: str, page: str) -> None:
    """Put the lake's answers into a page, if they are others."""
    from ridgeline.reports.study.page import HELD
    from ridgeline.warehouse import materialize
    from ridgeline.warehouse.lake import load_lake

    connection = load_lake(lake)
    try:
        materialize(connection, *HELD)
        before = Path(page).read_text(encoding="utf-8")
        after = answered(before, connection)
    finally:
        connection.close()
    if after != before:
        Path(page).write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
