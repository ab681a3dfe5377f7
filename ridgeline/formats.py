"""Rows as an aligned table, as CSV or as JSON, for every command that prints rows.

They use the standard library and msgspec. rich needs 0.5 ms to lay out one row of ten cells, so 10,000 rows of a query
would take seconds, and polars is absent from a bare GPU machine, where `ridgeline theory` runs too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TextIO

import msgspec


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]], justify: str, rule: str = "─") -> list[str]:
    """Return the lines of a table: ``head``, a rule, and ``rows``, in columns as wide as their longest cell.

    ``justify`` has ``l`` or ``r`` for each column.

    >>> print("\\n".join(table_lines(["kind", "ms"], [["prefill", "9"], ["decode", "12"]], "lr")))
    kind     ms
    ───────  ──
    prefill   9
    decode   12
    """
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    pads = [str.rjust if side == "r" else str.ljust for side in justify]
    lines = []
    for row in (head, [rule * width for width in widths], *rows):
        cells = (pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return lines


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: TextIO) -> None:
    """Write a header and a line for each row."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: TextIO) -> None:
    """Write an array with an object on a line for each row; NaN and infinity, which JSON lacks, become null.

    >>> import sys
    >>> write_json(["a", "b"], [(1, "x"), (float("nan"), None)], sys.stdout)
    [
    {"a":1,"b":"x"},
    {"a":null,"b":null}
    ]
    """
    file.write("[")
    # Row by row: a query may return more rows than fit into memory.
    separator = "\n"
    for row in rows:
        values = (float(value) if isinstance(value, Decimal) else value for value in row)
        record = dict(zip(columns, values, strict=True))  # msgspec writes null for a float that JSON lacks
        file.write(separator + msgspec.json.encode(record).decode())
        separator = ",\n"
    file.write("\n]\n")
