"""The symbol of each kind of step."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports.queries import Row

# Other kinds are crosses.
SYMBOLS = {"prefill": "square", "decode": "circle", "denoise": "star", "refresh": "triangle-up", "reuse": "diamond"}


def symbol(kind: str) -> str:
    """Return the Plotly symbol of a kind of step."""
    return SYMBOLS.get(kind, "cross")


def legend(rows: Sequence[Row]) -> str:
    """Return a sentence that explains the symbols of the rows' kinds.

    >>> legend([{"kind": "decode"}, {"kind": "commit"}])
    'Marks: decode circle, commit cross.'
    """
    order = list(SYMBOLS)
    kinds = sorted({row["kind"] for row in rows}, key=lambda kind: (order.index(kind) if kind in order else 9, kind))
    marks = [f"{kind} {symbol(kind).removesuffix('-up')}" for kind in kinds]
    return f"Marks: {', '.join(marks)}."
