"""Descriptions of tables, views and columns (``comments.toml``), in the database and as pages.

``python -m warehouse.documentation`` writes SCHEMA.md and COOKBOOK.md anew.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import duckdb

_FOLDER = Path(__file__).parent
SCHEMA_PAGE, COOKBOOK_PAGE = _FOLDER / "SCHEMA.md", _FOLDER / "COOKBOOK.md"

_SCHEMA_HEAD = """# Tables and views

Made by `make pages` from the comments in the database, whose source is `comments.toml`. In any warehouse:
`ridgeline sql "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'kernel_roofline'"`.
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


def comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Put the descriptions into the database, inside the caller's transaction; what has none is left without."""
    connection.execute(";".join(_statements(connection)))


def _statements(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    comments = _comments()
    for kind in ("table", "view"):
        query = f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE NOT internal AND NOT temporary"
        for (name,) in connection.execute(query).fetchall():
            if text := comments[f"{kind}s"].get(name):
                yield f'COMMENT ON {kind} "{name}" IS {_quoted(text)}'
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    for name, column in connection.execute(columns).fetchall():
        if text := comments.get(name, {}).get(column) or comments["columns"].get(column):
            yield f'COMMENT ON COLUMN "{name}"."{column}" IS {_quoted(text)}'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def schema_page(connection: duckdb.DuckDBPyConnection) -> str:
    """A table of columns for each table and view, from the comments in the database."""
    parts = [_SCHEMA_HEAD]
    for kind, title in (("view", "Views"), ("table", "Tables")):
        query = (
            f"SELECT {kind}_name, comment FROM duckdb_{kind}s() WHERE NOT internal AND comment IS NOT NULL ORDER BY ALL"
        )
        parts.append(f"## {title}\n")
        parts += [_section(connection, *row) for row in connection.execute(query).fetchall()]
    return "\n".join(parts)


def _section(connection: duckdb.DuckDBPyConnection, name: str, text: str) -> str:
    columns = connection.execute(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal AND table_name = ?"
        " ORDER BY column_index",
        [name],
    ).fetchall()
    rows = [f"| `{column}` | {data_type} | {said} |" for column, data_type, said in columns]
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
    """Write the pages."""
    from tempfile import TemporaryDirectory

    from warehouse.database import connect

    with TemporaryDirectory() as folder, connect(Path(folder) / "empty.duckdb") as connection:
        SCHEMA_PAGE.write_text(schema_page(connection))
    COOKBOOK_PAGE.write_text(cookbook_page())


if __name__ == "__main__":
    main()
