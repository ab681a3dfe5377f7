"""What papers say, as data, and what of ours stands beside it."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ridgeline.reports import units
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.series import stated


@cache
def _values() -> tuple[Row, ...]:
    return tuple(tomllib.loads(Path(__file__).with_name("paper.toml").read_text(encoding="utf-8"))["values"])


def values(figure: str) -> list[Row]:
    """The entries of ``paper.toml`` beside a figure."""
    return [dict(value) for value in _values() if value["figure"] == figure]


def marks(figure: str, rows: Sequence[Row]) -> list[Row]:
    """Those entries that a drawing of these rows may show: of a model that is among them, where they are of one."""
    models = {row["model"] for row in rows}
    return [value for value in values(figure) if value.get("where", {}).get("model", None) in (None, *models)]


def beside(figure: str, rows: Sequence[Row]) -> list[Row]:
    """A table's rows, in words: ``what``, ``paper``, ``device``, ``source``, and ``ours`` of how many runs."""
    return [
        {
            "what": value["what"],
            "paper": stated(value),
            "device": value["device"],
            "source": value["source"],
            "ours": _ours(value, rows),
        }
        for value in values(figure)
    ]


def _ours(value: Row, rows: Sequence[Row]) -> str:
    column = value.get("column")
    if column is None:
        return "not ours to measure in this form"
    found = [row for row in rows if _agrees(value, row) and row.get(column) is not None]
    if not found:
        return "not captured"
    numbers = [row[column] for row in found]
    runs = len({row["run_id"] for row in found})
    text = f"{units.digits(statistics.median(numbers))} {value['unit']}"
    if max(numbers) > min(numbers):
        text += f" ({units.digits(min(numbers))} to {units.digits(max(numbers))})"
    return f"{text}, {runs} run{'s' if runs != 1 else ''}"


def _agrees(value: Row, row: Row) -> bool:
    near = "length" not in value or abs(row["length"] - value["length"]) <= 0.02 * value["length"]
    return near and all(row.get(key) == wanted for key, wanted in value["where"].items())
