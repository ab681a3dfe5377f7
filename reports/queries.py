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


def rows(connection: duckdb.DuckDBPyConnection, name: str, run_ids: Sequence[str]) -> list[Row]:
    """The rows of ``sql/<name>.sql`` for these runs."""
    return fetch(connection, text(name), run_ids)


def fetch(connection: duckdb.DuckDBPyConnection, statement: str, run_ids: Sequence[str]) -> list[Row]:
    """The rows of a statement with ``$runs`` in it."""
    cursor = connection.execute(statement, {"runs": list(run_ids)})
    columns = [column[0] for column in cursor.description or []]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def runnable(name: str, run_ids: Sequence[str]) -> str:
    """The statement as `ridgeline sql -f` takes it, the run ids written out."""
    return written_out(text(name), run_ids)


def written_out(statement: str, run_ids: Sequence[str]) -> str:
    """A statement with the run ids in the place of ``$runs``."""
    return statement.replace("$runs", f"[{', '.join(map(_literal, run_ids))}]")


def _literal(value: str) -> str:
    """
    >>> _literal("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"
