"""Operator families and their colours and marks, the same in every figure.

Hues are spaced so that neighbours on a roofline stay apart for red-green colour-blind readers too; families that only move data
are squares, so the shape tells them from arithmetic without any colour.
"""

from __future__ import annotations

COLORS = {
    "matmul": "#2f7fd1",
    "attention": "#d9541e",
    "convolution": "#0098a8",
    "normalization": "#16916a",
    "rotary": "#84991a",
    "softmax": "#c4569a",
    "pointwise": "#e0a010",
    "reduction": "#8a5ad0",
    "fused": "#4c58c0",
    "sampling": "#a82d48",
    "quantization": "#55bfa5",
    "embedding": "#5db2e8",
    "gather": "#94703f",
    "copy": "#7c8796",
    "memcpy": "#9ba5b2",
    "memset": "#bcc3cc",
    "communication": "#e38cc0",
    "other": "#6a6a72",
}
"""In the order families are stacked and listed."""

MOVEMENT = frozenset({"embedding", "gather", "copy", "memcpy", "memset", "communication"})


def color(family: str) -> str:
    """A family's colour; that of ``other`` for one this version does not know."""
    return COLORS.get(family, COLORS["other"])


def symbol(family: str) -> str:
    """
    >>> symbol("matmul"), symbol("copy")
    ('circle', 'square')
    """
    return "square" if family in MOVEMENT else "circle"


def order(family: str) -> int:
    """A family's place in every stack and list."""
    return list(COLORS).index(family if family in COLORS else "other")
