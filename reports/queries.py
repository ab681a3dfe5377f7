"""The SQL behind each panel: files of ``sql/``, run for chosen runs, or printed to be run by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


Parameter = int | Sequence[str]


def rows(
    connection: duckdb.DuckDBPyConnection, name: str, run_ids: Sequence[str], **parameters: Parameter
) -> list[Row]:
    """The rows of ``sql/<name>.sql`` for these runs, and for what else it asks."""
    return fetch(connection, text(name), runs=run_ids, **parameters)


def rows_of(connection: duckdb.DuckDBPyConnection, name: str, **parameters: Parameter) -> list[Row]:
    """The rows of ``sql/<name>.sql``, which knows its runs by other names."""
    return fetch(connection, text(name), **parameters)


def fetch(connection: duckdb.DuckDBPyConnection, statement: str, **parameters: Parameter) -> list[Row]:
    """The rows of a statement; parameters it does not ask for are left out."""
    found = _columns(connection, statement, parameters)
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def columns(
    connection: duckdb.DuckDBPyConnection, name: str, run_ids: Sequence[str], **parameters: Parameter
) -> Columns:
    """The same by column, which is how a page holds many rows."""
    return _columns(connection, text(name), {"runs": run_ids, **parameters})


def _columns(connection: duckdb.DuckDBPyConnection, statement: str, parameters: Mapping[str, Parameter]) -> Columns:
    asked = {key: value for key, value in parameters.items() if f"${key}" in statement}
    cursor = connection.execute(statement, {k: v if isinstance(v, int) else list(v) for k, v in asked.items()})
    names = [column[0] for column in cursor.description or []]
    found = cursor.fetchall()
    return {name: [row[i] for row in found] for i, name in enumerate(names)}


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
