"""Write SCHEMA.md, COOKBOOK.md and the empty warehouse that new ones are copies of.

Run as ``python -m ridgeline.warehouse.documentation``.
"""

from __future__ import annotations

import gzip
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import duckdb

from ridgeline.warehouse.database import connect, make, template_path

_FOLDER = Path(__file__).parent
SCHEMA_PAGE, COOKBOOK_PAGE = _FOLDER / "SCHEMA.md", _FOLDER / "COOKBOOK.md"

_SCHEMA_HEAD = """# Tables and views

`make pages` writes this page from the table `descriptions`, whose source is `schema/comments.toml`. In any warehouse:
`ridgeline sql "SELECT column_name, description FROM descriptions WHERE table_name = 'kernel_roofline'"`.
"""
_COOKBOOK_HEAD = """# Cookbook

`make pages` writes this page from `cookbook/`. Each question is a file: `ridgeline sql -f slow_operators` runs one.
"""


class Question(NamedTuple):
    """A file of the cookbook: ``-- the question``, ``-- what the answer means``, then SQL."""

    path: Path
    question: str
    meaning: str
    sql: str


def schema_page(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the text of SCHEMA.md: for each view and table its description and a table of its columns."""
    lines = [_SCHEMA_HEAD]
    for kind in ("view", "table"):
        lines.append(f"## {kind.title()}s\n")
        described = connection.execute(
            "SELECT d.table_name, d.description FROM descriptions d"
            f" JOIN duckdb_{kind}s() t ON t.{kind}_name = d.table_name"
            " WHERE d.column_name IS NULL AND NOT t.internal ORDER BY ALL"
        )
        for name, text in described.fetchall():
            lines += [f"### {name}\n", f"{text}\n", "| column | type | meaning |", "| --- | --- | --- |"]
            columns = connection.execute(
                "SELECT column_name, data_type, description FROM duckdb_columns()"
                " LEFT JOIN descriptions USING (table_name, column_name)"
                " WHERE NOT internal AND table_name = ? ORDER BY column_index",
                [name],
            )
            lines += [f"| `{column}` | {data_type} | {meaning} |" for column, data_type, meaning in columns.fetchall()]
            lines.append("")
    return "\n".join(lines)


def cookbook() -> list[Question]:
    """Return the questions of the cookbook, in the order of their files' names."""
    questions = []
    for path in sorted((_FOLDER / "cookbook").glob("*.sql")):
        lines = path.read_text().splitlines()
        head = list(takewhile(lambda line: line.startswith("--"), lines))
        question, *meaning = [line.removeprefix("--").strip() for line in head]
        questions.append(Question(path, question, " ".join(meaning), "\n".join(lines[len(head) :]).strip()))
    return questions


def cookbook_page() -> str:
    """Return the text of COOKBOOK.md: each question, what its answer means, and its SQL."""
    entries = [
        f"## {one.question}\n\n{one.meaning}\n\n`cookbook/{one.path.name}`\n\n```sql\n{one.sql}\n```\n"
        for one in cookbook()
    ]
    return "\n".join([_COOKBOOK_HEAD, *entries])


def main() -> None:
    """Write the pages, and the template in place of any other."""
    for old in _FOLDER.glob("empty-*.duckdb.gz"):
        old.unlink()
    with TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.duckdb"
        make(empty)  # no template is left, so this one is made from SQL
        template_path().write_bytes(gzip.compress(empty.read_bytes(), mtime=0))
        with connect(empty) as connection:
            SCHEMA_PAGE.write_text(schema_page(connection))
    COOKBOOK_PAGE.write_text(cookbook_page())


if __name__ == "__main__":
    main()
