"""Descriptions of tables, views and columns (``comments.toml``): the table ``descriptions`` and the pages.

``python -m ridgeline.warehouse.documentation`` writes SCHEMA.md, COOKBOOK.md and the empty warehouse (``template.py``).
"""

from __future__ import annotations

import tomllib
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import duckdb

_FOLDER = Path(__file__).parent
SCHEMA_PAGE, COOKBOOK_PAGE = _FOLDER / "SCHEMA.md", _FOLDER / "COOKBOOK.md"

_SCHEMA_HEAD = """# Tables and views

Made by `make pages` from the table `descriptions`, whose source is `comments.toml`. In any warehouse:
`ridgeline sql "SELECT column_name, description FROM descriptions WHERE table_name = 'kernel_roofline'"`.
"""
_COOKBOOK_HEAD = """# Cookbook

Made by `make pages` from `cookbook/`, where each question is a file for `ridgeline sql -f FILE`.
"""


class Question(NamedTuple):
    """A file of the cookbook: ``-- the question``, ``-- what the answer means``, then SQL."""

    path: Path
    question: str
    meaning: str
    sql: str


@cache
def _comments() -> dict[str, dict[str, str]]:
    with (_FOLDER / "comments.toml").open("rb") as file:
        return tomllib.load(file)


def describe(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the table ``descriptions``, inside the caller's transaction; a column without a description has no row."""
    comments = _comments()
    rows: list[tuple[str, str | None, str]] = [
        (name, None, text) for kind in ("tables", "views") for name, text in comments[kind].items()
    ]
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    for name, column in connection.execute(columns).fetchall():
        text = comments.get(name, {}).get(column) or comments["columns"].get(column)
        if text and (name in comments["tables"] or name in comments["views"]):
            rows.append((name, column, text))
    connection.execute("DELETE FROM descriptions")
    insert = "INSERT INTO descriptions SELECT unnest(?), unnest(?), unnest(?)"
    connection.execute(insert, [list(values) for values in zip(*rows, strict=True)])


def schema_page(connection: duckdb.DuckDBPyConnection) -> str:
    """A table of columns for each table and view, from ``descriptions``."""
    parts = [_SCHEMA_HEAD]
    for kind, title in (("view", "Views"), ("table", "Tables")):
        query = (
            "SELECT d.table_name, d.description FROM descriptions d"
            f" JOIN duckdb_{kind}s() t ON t.{kind}_name = d.table_name"
            " WHERE d.column_name IS NULL AND NOT t.internal ORDER BY ALL"
        )
        parts.append(f"## {title}\n")
        parts += [_section(connection, *row) for row in connection.execute(query).fetchall()]
    return "\n".join(parts)


def _section(connection: duckdb.DuckDBPyConnection, name: str, text: str) -> str:
    columns = connection.execute(
        "SELECT column_name, data_type, description FROM duckdb_columns()"
        " LEFT JOIN descriptions USING (table_name, column_name)"
        " WHERE NOT internal AND table_name = ? ORDER BY column_index",
        [name],
    ).fetchall()
    rows = [f"| `{column}` | {data_type} | {description} |" for column, data_type, description in columns]
    return "\n".join([f"### {name}\n", f"{text}\n", "| column | type | what it is |", "| --- | --- | --- |", *rows, ""])


def cookbook() -> list[Question]:
    """The questions, in the order of their files' names."""
    return [_question(path) for path in sorted((_FOLDER / "cookbook").glob("*.sql"))]


def _question(path: Path) -> Question:
    lines = path.read_text().splitlines()
    head = list(takewhile(lambda line: line.startswith("--"), lines))
    question, *meaning = [line.removeprefix("--").strip() for line in head]
    return Question(path, question, " ".join(meaning), "\n".join(lines[len(head) :]).strip())


def cookbook_page() -> str:
    """Every question with its SQL and what the answer means."""
    return "\n".join([_COOKBOOK_HEAD, *map(_entry, cookbook())])


def _entry(one: Question) -> str:
    return f"## {one.question}\n\n{one.meaning}\n\n`cookbook/{one.path.name}`\n\n```sql\n{one.sql}\n```\n"


def main() -> None:
    """Write the pages and the empty warehouse."""
    from tempfile import TemporaryDirectory

    from ridgeline.warehouse import template
    from ridgeline.warehouse.database import connect

    with TemporaryDirectory() as folder:
        template.write()
        with connect(Path(folder) / "empty.duckdb") as connection:
            SCHEMA_PAGE.write_text(schema_page(connection))
    COOKBOOK_PAGE.write_text(cookbook_page())


if __name__ == "__main__":
    main()
