"""Split rows into series, with a colour for the mode, a dash for the execution and a symbol for the other settings."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.settings import by_keys, color, distinguishing, label

# The more a run is optimized, the more solid its line.
DASHES = {"eager": "dot", "cuda_graph": "dash", "compile": "solid"}
SYMBOLS = ("circle", "square", "triangle-up", "star", "cross", "hexagon", "triangle-down", "pentagon", "bowtie")


@dataclass(frozen=True)
class Series:
    """Rows that share every setting but the one on the axis."""

    label: str
    rows: list[Row]
    color: str
    dash: str
    symbol: str


def series(rows: Sequence[Row], keys: Sequence[str]) -> list[Series]:
    """Return a series for each combination of those settings among ``keys`` that distinguish the rows."""
    chosen = distinguishing(rows, keys)
    split = []
    # Series of one mode and execution differ in their symbol.
    drawn: Counter[tuple[str, str]] = Counter()
    for own in by_keys(rows, chosen).values():
        mode, execution = str(own[0].get("mode")), str(own[0].get("execution"))
        symbol = SYMBOLS[drawn[mode, execution] % len(SYMBOLS)]
        drawn[mode, execution] += 1
        split.append(Series(label(own[0], chosen), own, color(mode), DASHES.get(execution, "solid"), symbol))
    return split


def curves(rows: Sequence[Row], keys: Sequence[str], x: str) -> tuple[list[Series], list[Row]]:
    """Return the series that have more than one place on the axis ``x``, and the rows of the other series."""
    kept = {id(row) for one in series(rows, keys) if spans(row[x] for row in one.rows) for row in one.rows}
    rest = [row for row in rows if id(row) not in kept]
    # Without the other rows fewer settings may distinguish the series, so labels and symbols are chosen again.
    return series([row for row in rows if id(row) in kept], keys), rest


def spans(places: Iterable[float]) -> bool:
    """Return whether places differ enough for a curve, by a quarter.

    >>> spans([1024, 1056]), spans([1, 2])
    (False, True)
    """
    ordered = sorted(places)
    return ordered[-1] >= 1.25 * ordered[0]
