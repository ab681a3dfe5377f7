"""The mark of each kind of step."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports.queries import Row

KINDS = {"prefill": "square", "decode": "circle", "denoise": "star", "refresh": "triangle-up", "reuse": "diamond"}
"""The mark of each kind of step; a cross for another."""


def legend(rows: Sequence[Row]) -> str:
    """What the marks mean.

    >>> legend([{"kind": "decode"}, {"kind": "commit"}])
    'Marks: decode circle, commit cross.'
    """
    kinds = sorted(
        {row["kind"] for row in rows}, key=lambda kind: (list(KINDS).index(kind) if kind in KINDS else 9, kind)
    )
    marks = [f"{kind} {mark(kind).removesuffix('-up')}" for kind in kinds]
    return f"Marks: {', '.join(marks)}."


def mark(kind: str) -> str:
    """The symbol of a kind of step."""
    return KINDS.get(kind, "cross")
