"""Encode data for a page: small JSON that a browser decodes quickly, and that cannot end the ``<script>`` around it."""

import base64
import json
import math
import zlib
from typing import Any

from ridgeline.reports.queries import Columns, Row

# Significant digits of numbers that a page shows or sums, and of coordinates that it only draws.
DIGITS = 10
DRAWN_DIGITS = 7
# A column of numbers, each of which occurs more often than this in the mean, is dictionary-encoded.
REPEATED = 4


def coded(columns: Columns) -> Row:
    """Dictionary-encode columns: each distinct value once in ``values``, its index for every row in ``codes``.

    A column of numbers that hardly repeat stays a list; a column of NULLs alone becomes None.
    """
    return {name: _coded(values) for name, values in columns.items()}


def _coded(values: list[Any]) -> Any:
    types = set(map(type, values)) - {type(None)}
    if not types:
        return None
    index: dict[Any, int] = {}
    codes = [index.setdefault(value, len(index)) for value in values]
    if str in types:
        return {"values": list(index), "codes": codes}
    if len(index) * REPEATED < len(values):
        return {"values": [_finite(value) for value in index], "codes": codes}
    return [_finite(value) for value in values] if float in types else values


def _finite(value: Any) -> Any:
    # JSON has neither infinity nor NaN.
    return rounded(value, DIGITS) if value is not None and math.isfinite(value) else None


def rounded(value: Any, digits: int = DRAWN_DIGITS) -> Any:
    """Return ``value``, or all that it contains, with floats rounded to significant digits, and whole ones as int.

    The last digits of a float sum depend on the order of its terms; without them, the same rows give the same bytes.

    >>> rounded({"sum": [0.1 + 0.2, 4.0, None]})
    {'sum': [0.3, 4, None]}
    """
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part, digits) for part in value]
    if not isinstance(value, float):
        return value
    short = float(f"{value:.{digits}g}")
    # JavaScript holds whole numbers exactly below 2^53.
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def encode(value: Any) -> str:
    r"""Return JSON without ``<``, ``>`` and ``&``, so that no text in it ends a ``<script>`` or opens a comment.

    >>> encode({"kernel": "</script>"})
    '{"kernel":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pack(value: Any) -> str:
    """Return JSON, deflated, in base64: a fifth of the size of :func:`encode`. ``inflated`` of a page reverses it."""
    return deflated(json.dumps(value, allow_nan=False, separators=(",", ":")))


def deflated(text: str) -> str:
    """Return text as zlib-compressed UTF-8 in base64."""
    return base64.b64encode(zlib.compress(text.encode(), 7)).decode()
