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


def coded(columns: Columns) -> Row:
    """Dictionary-encode columns of text: each text once in ``values``, its index for every row in ``codes``.

    The code of NULL is -1. Columns of numbers stay lists; a column of NULLs alone becomes None.
    """
    encoded: Row = {}
    for name, values in columns.items():
        types = set(map(type, values)) - {type(None)}
        if str in types:
            index: dict[str, int] = {}
            codes = [-1 if value is None else index.setdefault(value, len(index)) for value in values]
            encoded[name] = {"values": list(index), "codes": codes}
        elif float in types:
            # JSON has neither infinity nor NaN.
            encoded[name] = [rounded(v, DIGITS) if v is not None and math.isfinite(v) else None for v in values]
        else:
            encoded[name] = values if types else None
    return encoded


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
