"""Run SQL over a warehouse and write the rows as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import duckdb

from ridgeline.atomic_file import atomic_file
from ridgeline.warehouse.database import connect
from ridgeline.warehouse.errors import QueryError

BATCH_ROWS = 10_000
TABLE_ROWS = 10_000
"""A table must know its widths before it prints; longer results are cut here and say so."""

CELL_CHARACTERS = 80
"""Longer text is cut in a table; the other formats have it whole."""

Rows = Iterator[Sequence[Any]]

_WORD = re.compile(r"\w+")


def run(
    warehouse: Path, sql: str, *, output_format: str = "table", out: Path | None = None, lake: str | None = None
) -> None:
    """Run one or more statements, read-only and with external access off, and write the last one's rows.

    They ask the lake, where one is named, instead of the warehouse. ``output_format`` is table, csv, json or parquet;
    Parquet needs ``out``. Raises :class:`WarehouseError`.
    """
    if output_format == "parquet" and out is None:
        raise QueryError("Parquet goes to a file: name one with -o FILE")
    connection = _open_lake(lake) if lake else connect(warehouse, read_only=True)
    try:
        statements = connection.extract_statements(sql)
        if not statements:
            raise QueryError("no statement: expected SQL, found nothing or only comments")
        if lake:
            _refuse_writing(sql, statements)
        cursor = connection.execute(sql)
        columns = [column[0] for column in cursor.description or []]
        _write(columns, _rows(cursor), output_format, out)
    except duckdb.Error as e:
        raise QueryError(_message(e)) from None
    finally:
        connection.close()


def _open_lake(location: str) -> duckdb.DuckDBPyConnection:
    from ridgeline.warehouse.lake import open_lake

    return open_lake(location)


def _refuse_writing(sql: str, statements: Sequence[duckdb.Statement]) -> None:
    """DuckDB lets a connection that may read the files of a lake write there as well."""
    keyword = duckdb.token_type.keyword
    words = {
        found[0].lower() for at, kind in duckdb.tokenize(sql) if kind == keyword and (found := _WORD.match(sql, at))
    }
    if words & {"copy", "export"} or any(each.type == duckdb.StatementType.ATTACH for each in statements):
        raise QueryError("a lake is only read here, without COPY, EXPORT and ATTACH: write a result with -o FILE")


def _message(error: duckdb.Error) -> str:
    """DuckDB's message without the lines that point into the statement."""
    lines = str(error).splitlines()
    return " ".join(line for line in lines if line.strip(" \t^") and not line.startswith("LINE "))


def _rows(cursor: duckdb.DuckDBPyConnection) -> Rows:
    while batch := cursor.fetchmany(BATCH_ROWS):
        yield from batch


def _write(columns: list[str], rows: Rows, output_format: str, out: Path | None) -> None:
    if output_format in ("json", "parquet"):
        columns = _distinct(columns)
    if output_format == "parquet":
        assert out
        _write_parquet(columns, rows, out)
        return
    writer = {"csv": _write_csv, "json": _write_json, "table": _write_table}[output_format]
    if out is None:
        writer(columns, rows, sys.stdout)
        return
    with _target(out) as target, target.open("w", newline="", encoding="utf-8") as file:
        writer(columns, rows, file)


def _distinct(columns: list[str]) -> list[str]:
    """The names with a number after each that would repeat one, where names must be keys.

    >>> _distinct(["a", "a", "b", "a"])
    ['a', 'a_1', 'b', 'a_2']
    """
    taken, distinct = set(columns), dict[str, None]()
    for column in columns:
        name, number = column, 0
        while name in distinct or (number and name in taken):
            number += 1
            name = f"{column}_{number}"
        distinct[name] = None
    return list(distinct)


@contextmanager
def _target(path: Path) -> Iterator[Path]:
    """Where to write: a temporary sibling that takes a file's place when all went well, or a device or pipe itself."""
    if path.is_dir():
        raise QueryError(f"{path}: a folder: name a file with -o")
    if not path.parent.is_dir():
        raise QueryError(f"{path.parent}: no such folder")
    if _written_in_place(path):
        yield path
        return
    with atomic_file(path) as temporary:
        yield temporary


def _written_in_place(path: Path) -> bool:
    """Whether a path is a device, a pipe or, like `/dev/stdout` sent to a file, the name of something already open."""
    names_open_file = path.is_symlink() and path.absolute().parts[1] in ("dev", "proc")
    return path.exists() and (names_open_file or not path.is_file())


def _write_csv(columns: list[str], rows: Rows, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def _write_json(columns: list[str], rows: Rows, file: TextIO) -> None:
    """An array of objects, a row a line; NaN and infinity, which JSON lacks, become null."""
    import msgspec

    file.write("[")
    separator = "\n"
    for row in rows:
        record = dict(zip(columns, map(_plain, row), strict=True))
        file.write(separator + msgspec.json.encode(record).decode())
        separator = ",\n"
    file.write("\n]\n")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(value) if isinstance(value, decimal.Decimal) else value


def _write_parquet(columns: list[str], rows: Rows, out: Path) -> None:
    import polars as pl

    with _target(out) as target, target.open("wb") as file:
        frame = pl.DataFrame(list(rows), schema=columns, orient="row", infer_schema_length=None)
        frame.write_parquet(written := io.BytesIO())  # its own errors are not the system's
        file.write(written.getbuffer())


def _write_table(columns: list[str], rows: Rows, file: TextIO) -> None:
    """Aligned columns: numbers to the right with thousands separators, text to the left."""
    shown: list[list[str]] = []
    numeric = [True] * len(columns)
    cut = False
    for row in rows:
        if len(shown) == TABLE_ROWS:
            cut = True
            break
        shown.append([_cell(value) for value in row])
        numeric = [
            n and (v is None or isinstance(v, int | float | decimal.Decimal)) for n, v in zip(numeric, row, strict=True)
        ]
    widths = [max([len(name), *(len(row[i]) for row in shown)]) for i, name in enumerate(columns)]
    print(_line(columns, widths, numeric), file=file)
    rule = "─" if _can_encode("─", file) else "-"
    print("  ".join(rule * width for width in widths), file=file)
    for row in shown:
        print(_line(row, widths, numeric), file=file)
    if cut:
        print(f"ridgeline: only the first {TABLE_ROWS:,} rows: use --format csv for all", file=sys.stderr)


def _can_encode(text: str, file: TextIO) -> bool:
    try:
        text.encode(file.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _line(cells: Sequence[str], widths: list[int], numeric: list[bool]) -> str:
    parts = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True))
    return "  ".join(parts).rstrip()


def _cell(value: Any) -> str:
    """
    >>> _cell(1234567), _cell(0.123456), _cell(None), _cell(1.5e13)
    ('1,234,567', '0.1235', '·', '1.5e+13')
    """
    if value is None:
        return "·"
    if isinstance(value, bool | datetime.datetime):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float | decimal.Decimal):
        return f"{float(value):.4g}"
    return _printable(str(value) if len(str(value)) <= CELL_CHARACTERS else str(value)[: CELL_CHARACTERS - 1] + "…")


def _printable(text: str) -> str:
    """Control characters would move the terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


__all__ = ["run"]
