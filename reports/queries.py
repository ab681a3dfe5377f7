"""The SQL behind each panel: files of ``sql/``, run for chosen runs, or printed to be run by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]

_FOLDER = Path(__file__).with_name("sql")


@cache
def text(name: str) -> str:
    """The statement of ``sql/<name>.sql``, with ``$runs`` for the list of run ids."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def rows(
    connection: duckdb.DuckDBPyConnection, name: str, run_ids: Sequence[str], **parameters: int | list[str]
) -> list[Row]:
    """The rows of ``sql/<name>.sql`` for these runs, and for what else it asks."""
    statement = text(name)
    given = {"runs": list(run_ids), **parameters}
    cursor = connection.execute(statement, {key: value for key, value in given.items() if f"${key}" in statement})
    columns = [column[0] for column in cursor.description or []]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def runnable(name: str, run_ids: Sequence[str]) -> str:
    """The statement as `ridgeline sql -f` takes it, the run ids written out."""
    return text(name).replace("$runs", f"[{', '.join(map(_literal, run_ids))}]")


def _literal(value: str) -> str:
    """
    >>> _literal("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"
