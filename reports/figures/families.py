"""Operator families and their colours and marks, the same in every figure.

Chosen so that any two that often meet stay apart in normal, deuteranopic and protanopic sight, on white and on dark;
families that only move data are squares, so the shape tells them from arithmetic without any colour.
"""

from __future__ import annotations

COLORS = {
    "matmul": "#4574b8",
    "attention": "#e0783c",
    "convolution": "#74ace7",
    "normalization": "#2a8e9a",
    "rotary": "#cbab84",
    "softmax": "#e0a8c0",
    "pointwise": "#e4b93d",
    "reduction": "#7745e9",
    "fused": "#8f80ea",
    "sampling": "#bb162c",
    "quantization": "#257065",
    "embedding": "#4f64b9",
    "gather": "#b3b363",
    "copy": "#a2a2a2",
    "memcpy": "#7f7f7f",
    "memset": "#55585c",
    "communication": "#e7b1da",
    "other": "#4a586b",
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
