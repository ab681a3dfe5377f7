"""The SQL behind each panel: files of ``sql/``, run for chosen runs, or printed to be run by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]
Columns = dict[str, list[Any]]

_FOLDER = Path(__file__).with_name("sql")


@cache
def text(name: str) -> str:
    """The statement of ``sql/<name>.sql``, with ``$runs`` for the list of run ids."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def rows(
    connection: duckdb.DuckDBPyConnection, name: str, run_ids: Sequence[str], **parameters: int | list[str]
) -> list[Row]:
    """The rows of ``sql/<name>.sql`` for these runs, and for what else it asks."""
    found = columns(connection, name, run_ids, **parameters)
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def columns(
    connection: duckdb.DuckDBPyConnection, name: str, run_ids: Sequence[str], **parameters: int | list[str]
) -> Columns:
    """The same by column, which is how a page holds many rows."""
    statement = text(name)
    given = {"runs": list(run_ids), **parameters}
    cursor = connection.execute(statement, {key: value for key, value in given.items() if f"${key}" in statement})
    names = [column[0] for column in cursor.description or []]
    found = cursor.fetchall()
    return {name: [row[i] for row in found] for i, name in enumerate(names)}


def runnable(name: str, run_ids: Sequence[str]) -> str:
    """The statement as `ridgeline sql -f` takes it, the run ids written out."""
    return text(name).replace("$runs", f"[{', '.join(map(_literal, run_ids))}]")


def _literal(value: str) -> str:
    """
    >>> _literal("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"
