"""Values that papers state, as data, and our values beside them."""

import statistics
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ridgeline.reports.formatting import digits
from ridgeline.reports.queries import Row


@cache
def values() -> tuple[Row, ...]:
    """Return all entries of ``paper.toml``."""
    return tuple(tomllib.loads(Path(__file__).with_name("paper.toml").read_text(encoding="utf-8"))["values"])


def marks(figure: str, rows: Sequence[Row]) -> list[Row]:
    """Return the entries that a drawing of ``rows`` may show: those about no model, or about a model of the rows."""
    models = {row["model"] for row in rows}
    own = [value for value in values() if value["figure"] == figure]
    return [value for value in own if value.get("where", {}).get("model", None) in (None, *models)]


def stated(mark: Row) -> str:
    """Return the value, or the range, that an entry states, with its unit.

    >>> stated({"value": 31.1, "unit": "FLOP/B"}), stated({"low": 2, "high": 3, "unit": "times"})
    ('31.1 FLOP/B', '2 to 3 times')
    """
    number = f"{mark['value']:g}" if "value" in mark else f"{mark['low']:g} to {mark['high']:g}"
    return f"{number} {mark['unit']}"


def table(figure: str, rows: Sequence[Row]) -> list[Row]:
    """Return a figure's entries, each with the texts ``paper``, its own value, and ``ours``, that of ``rows``."""
    return [
        value | {"paper": stated(value), "ours": _our_value(value, rows)}
        for value in values()
        if value["figure"] == figure
    ]


def _our_value(value: Row, rows: Sequence[Row]) -> str:
    """Return the median and the range of our rows that an entry is comparable with, and the number of their runs."""
    column = value.get("column")
    if column is None:
        return "not measured by Ridgeline in this form"
    matched = []
    for row in rows:
        # Captured lengths are rarely those of the paper to the token.
        near = "length" not in value or abs(row["length"] - value["length"]) <= 0.02 * value["length"]
        same = near and all(row.get(key) == required for key, required in value["where"].items())
        if same and row.get(column) is not None:
            matched.append(row)
    if not matched:
        return "not captured"
    numbers = [row[column] for row in matched]
    runs = len({row["run_id"] for row in matched})
    text = f"{digits(statistics.median(numbers))} {value['unit']}"
    if max(numbers) > min(numbers):
        text += f" ({digits(min(numbers))} to {digits(max(numbers))})"
    return f"{text}, {runs} run{'s' if runs != 1 else ''}"
