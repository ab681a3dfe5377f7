"""Run the SQL behind the pages and figures: the files of ``sql/``, with lists of run ids as parameters."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

    Connection = duckdb.DuckDBPyConnection
else:
    Connection = Any  # duckdb takes long to import, and whoever has a connection has imported it

Row = dict[str, Any]
Columns = dict[str, list[Any]]
Parameter = int | Sequence[str]

_FOLDER = Path(__file__).with_name("sql")


@cache
def text(name: str) -> str:
    """Return the statement of ``sql/<name>.sql``, its parameters (``$runs`` and others) still in it."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def rows(connection: Connection, name: str, **parameters: Parameter) -> list[Row]:
    """Return the rows of ``sql/<name>.sql``, each a dictionary by column."""
    return fetch(connection, text(name), **parameters)


def fetch(connection: Connection, statement: str, **parameters: Parameter) -> list[Row]:
    """Return the rows of a statement, each a dictionary by column."""
    columns = fetch_columns(connection, statement, **parameters)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def fetch_columns(connection: Connection, statement: str, **parameters: Parameter) -> Columns:
    """Return the rows of a statement as one list a column. Parameters that the statement does not name are ignored."""
    used = {
        name: value if isinstance(value, int) else list(value)
        for name, value in parameters.items()
        if f"${name}" in statement  # DuckDB refuses a parameter that the statement does not name
    }
    cursor = connection.execute(statement, used)
    names = [column[0] for column in cursor.description or []]
    stored = cursor.fetchall()
    return {name: [row[i] for row in stored] for i, name in enumerate(names)}


def runnable(statement: str, **run_ids: Sequence[str]) -> str:
    """Return the statement with lists of run ids as literals, ready for ``ridgeline sql -f``.

    >>> runnable("SELECT $runs", runs=["a", "it's"])
    "SELECT ['a', 'it''s']"
    """
    for parameter, ids in run_ids.items():
        literals = ", ".join("'" + run_id.replace("'", "''") + "'" for run_id in ids)
        statement = statement.replace(f"${parameter}", f"[{literals}]")
    return statement


def by_column(rows: Iterable[Row], column: str) -> dict[Any, list[Row]]:
    """Group rows by their value in a column, groups in the order of their first rows."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups
