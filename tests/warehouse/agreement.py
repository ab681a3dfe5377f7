"""Compare two engines' answers to a query."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

TOLERANCE = 1e-9
"""Relative tolerance: each engine sums in its own order."""


def differences(found: Iterable[Sequence[Any]], expected: Iterable[Sequence[Any]]) -> list[tuple[Any, Any]]:
    """Return pairs of rows that differ, whatever the order of rows; numbers are compared by value."""
    found, expected = list(found), list(expected)
    if sorted(map(repr, found)) == sorted(map(repr, expected)):
        return []
    left, right = _sorted(found), _sorted(expected)
    if len(left) != len(right):
        return [(f"{len(left)} rows", f"{len(right)} rows")]
    return [(a, b) for a, b in zip(left, right, strict=True) if not all(map(_same, a, b))]


def _sorted(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return sorted(([_plain(value) for value in row] for row in rows), key=_key)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | list | datetime) else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(row: Sequence[Any]) -> list[tuple[bool, str]]:
    """Return a sort key, text first: it orders rows whatever the last digits of their numbers."""
    texts = [(value is None, str(value)) for value in row if not _is_number(value)]
    return texts + [(False, f"{value:.6e}") for value in row if _is_number(value)]


def _same(a: Any, b: Any) -> bool:
    if _is_number(a) and _is_number(b):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(a == b)
