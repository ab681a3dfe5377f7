"""Run SQL over a warehouse or a lake and write the rows as a table, lines, CSV, JSON or Parquet."""

from __future__ import annotations

import decimal
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import duckdb

from ridgeline.atomic_file import atomic_file
from ridgeline.formats import table_lines, write_csv, write_json
from ridgeline.warehouse.database import connect
from ridgeline.warehouse.errors import QueryError

BATCH_ROWS = 10_000
"""Rows fetched at once."""
TABLE_ROWS = 10_000
"""Rows of a table, whose widths must be known before it prints; a longer result is cut and says so."""
CELL_CHARACTERS = 80
"""Characters of a cell of a table, which cuts longer text; the other formats write it whole."""


def run(
    warehouse: Path, sql: str, *, output_format: str = "table", out: Path | None = None, lake: str | None = None
) -> None:
    """Run one or more statements on the warehouse, or on ``lake`` if it is named, and write the rows of the last one.

    The connection is read-only and reaches no other files. ``output_format`` is table, lines, csv, json or parquet;
    Parquet needs ``out``, the others default to stdout. Raises :class:`WarehouseError`.
    """
    if output_format == "parquet" and out is None:
        raise QueryError("Parquet goes to a file: name one with -o FILE")
    if lake:
        from ridgeline.warehouse.lake.reading import open_lake

        connection = open_lake(lake)
    else:
        connection = connect(warehouse, read_only=True)
    try:
        statements = connection.extract_statements(sql)
        if not statements:
            raise QueryError("no statement: expected SQL, found nothing or only comments")
        if lake and _writes_files(sql, statements):
            raise QueryError("a lake is only read here, without COPY, EXPORT and ATTACH: write a result with -o FILE")
        cursor = connection.execute(sql)
        columns = [column[0] for column in cursor.description or []]
        rows = (row for batch in iter(lambda: cursor.fetchmany(BATCH_ROWS), []) for row in batch)
        write = {"csv": write_csv, "json": write_json, "lines": _write_lines}.get(output_format, _write_table)
        if output_format in ("json", "parquet"):
            columns = _distinct(columns)
        if out is None:
            write(columns, rows, sys.stdout)
        elif output_format == "parquet":
            import polars as pl

            frame = pl.DataFrame(list(rows), schema=columns, orient="row", infer_schema_length=None)
            # By way of memory: polars raises its own errors for a full disk, Python's file an OSError.
            frame.write_parquet(buffer := io.BytesIO())
            with _replacing(out) as target:
                target.write_bytes(buffer.getbuffer())
        else:
            with _replacing(out) as target, target.open("w", newline="", encoding="utf-8") as file:
                write(columns, rows, file)
    except duckdb.Error as e:
        # One line: without those that quote the statement and point into it.
        lines = [line for line in str(e).splitlines() if line.strip(" \t^") and not line.startswith("LINE ")]
        raise QueryError(" ".join(lines)) from None
    finally:
        connection.close()


def _writes_files(sql: str, statements: Sequence[duckdb.Statement]) -> bool:
    """Return whether SQL would write files: DuckDB lets a connection that reads the lake's files write there too."""
    # By keyword as well as by type of statement, which is EXPLAIN for EXPLAIN ANALYZE COPY.
    words = set()
    for position, kind in duckdb.tokenize(sql):
        if kind == duckdb.token_type.keyword and (match := re.compile(r"\w+").match(sql, position)):
            words.add(match[0].lower())
    return bool(words & {"copy", "export"}) or any(each.type == duckdb.StatementType.ATTACH for each in statements)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling that replaces ``path`` when the block ends.

    A device, a pipe or the name of an open file is yielded itself. Raises :class:`QueryError` for a folder.
    """
    if path.is_dir():
        raise QueryError(f"{path}: a folder: name a file with -o")
    if not path.parent.is_dir():
        raise QueryError(f"{path.parent}: no such folder")
    # /dev/stdout is a link to whatever stdout is: a file in its place would not reach it.
    is_open_file = path.is_symlink() and path.absolute().parts[1] in ("dev", "proc")
    if path.exists() and (is_open_file or not path.is_file()):
        yield path
    else:
        with atomic_file(path) as temporary:
            yield temporary


def _distinct(columns: list[str]) -> list[str]:
    """Return the names with a number after each that repeats an earlier one.

    >>> _distinct(["a", "a", "b", "a"])
    ['a', 'a_1', 'b', 'a_2']
    """
    taken, distinct = set(columns), dict[str, None]()
    for column in columns:
        name, number = column, 0
        # A numbered name may not take one that a later column has.
        while name in distinct or (number and name in taken):
            number += 1
            name = f"{column}_{number}"
        distinct[name] = None
    return list(distinct)


def _write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: TextIO) -> None:
    """Write aligned columns: numbers to the right with thousands separators, text to the left."""
    values = list(islice(rows, TABLE_ROWS + 1))
    is_cut = len(values) > TABLE_ROWS
    del values[TABLE_ROWS:]
    is_numeric = (
        all(isinstance(row[i], int | float | decimal.Decimal | None) for row in values) for i in range(len(columns))
    )
    justify = "".join("r" if numeric else "l" for numeric in is_numeric)
    encoding = file.encoding or "utf-8"
    rule = "─" if "─".encode(encoding, "ignore") else "-"  # a terminal may be ASCII only
    for line in table_lines(columns, [[_cell(value) for value in row] for row in values], justify, rule):
        print(line, file=file)
    if is_cut:
        print(f"ridgeline: only the first {TABLE_ROWS:,} rows: use --format csv for all", file=sys.stderr)


def _write_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: TextIO) -> None:
    """Write a line ``column: value`` for each value, and an empty line between rows: whole, for rows of many columns.

    >>> _write_lines(["operator", "flops"], [("aten::mm", 4096), ("aten::cat", None)], sys.stdout)
    operator: aten::mm
    flops: 4,096
    <BLANKLINE>
    operator: aten::cat
    flops: ·
    """
    for number, row in enumerate(rows):
        if number:
            print(file=file)
        for column, value in zip(columns, row, strict=True):
            print(f"{_printable(column)}: {_printable(_text(value))}", file=file)


def _cell(value: Any) -> str:
    """Return a value as a table shows it.

    >>> _cell(1234567), _cell(0.123456), _cell(None), _cell(1.5e13)
    ('1,234,567', '0.1235', '·', '1.5e+13')
    """
    text = _text(value)
    if len(text) > CELL_CHARACTERS:
        text = text[: CELL_CHARACTERS - 1] + "…"
    return _printable(text)


def _text(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "·"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float | decimal.Decimal):
        return f"{float(value):.4g}"
    return str(value)


def _printable(text: str) -> str:
    """Return text without control characters, which would move the terminal's cursor or begin a line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
