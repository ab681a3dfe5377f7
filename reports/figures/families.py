"""Colours, symbols and order of operator families, the same in every figure.

Families that often meet stay distinguishable in normal, deuteranopic and protanopic sight, on white and on dark.
Families that only move data are squares, so that the shape alone distinguishes them from arithmetic.
"""

# In the order in which families are stacked and listed.
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

MOVEMENT = frozenset({"embedding", "gather", "copy", "memcpy", "memset", "communication"})


def color(family: str) -> str:
    """Return a family's colour; for a family that this version does not know, the colour of ``other``."""
    return COLORS.get(family, COLORS["other"])


def symbol(family: str) -> str:
    """Return the Plotly symbol of a family.

    >>> symbol("matmul"), symbol("copy")
    ('circle', 'square')
    """
    return "square" if family in MOVEMENT else "circle"


def order(family: str) -> int:
    """Return a family's place in every stack and list."""
    return list(COLORS).index(family if family in COLORS else "other")
