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
    return fetch(connection, text(name), runs=run_ids)


def rows_of(connection: duckdb.DuckDBPyConnection, name: str, **run_ids: Sequence[str]) -> list[Row]:
    """The rows of ``sql/<name>.sql``, whose parameters are these lists of run ids."""
    return fetch(connection, text(name), **run_ids)


def fetch(connection: duckdb.DuckDBPyConnection, statement: str, **run_ids: Sequence[str]) -> list[Row]:
    """The rows of a statement whose parameters are these lists of run ids."""
    cursor = connection.execute(statement, {parameter: list(ids) for parameter, ids in run_ids.items()})
    columns = [column[0] for column in cursor.description or []]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def runnable(name: str, run_ids: Sequence[str]) -> str:
    """The statement as `ridgeline sql -f` takes it, the run ids written out."""
    return written_out(text(name), runs=run_ids)


def runnable_of(name: str, **run_ids: Sequence[str]) -> str:
    """The statement of ``sql/<name>.sql`` with these lists of run ids written out in place of its parameters."""
    return written_out(text(name), **run_ids)


def written_out(statement: str, **run_ids: Sequence[str]) -> str:
    """A statement with these lists of run ids written out in place of its parameters."""
    for parameter, ids in run_ids.items():
        statement = statement.replace(f"${parameter}", f"[{', '.join(map(_literal, ids))}]")
    return statement


def _literal(value: str) -> str:
    """
    >>> _literal("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"
