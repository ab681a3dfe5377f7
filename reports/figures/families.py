"""Colours, symbols and order of operator families, the same in every figure.

Families that often meet stay distinguishable in normal, deuteranopic and protanopic sight, on white and on dark.
Families that only move data are squares, so that the shape alone distinguishes them from arithmetic.
"""

from ridgeline.reports.figures.palette import hue

# In the order in which families are stacked and listed.
COLORS = {
    "matmul": hue("blue"),
    "attention": hue("orange"),
    "convolution": hue("sky"),
    "normalization": hue("teal"),
    "rotary": hue("tan"),
    "softmax": hue("rose"),
    "pointwise": hue("gold"),
    "reduction": hue("violet"),
    "fused": hue("lavender"),
    "sampling": hue("red"),
    "quantization": hue("green"),
    "embedding": hue("indigo"),
    "gather": hue("olive"),
    "copy": hue("grey"),
    "memcpy": hue("silver"),
    "memset": hue("stone"),
    "communication": hue("orchid"),
    # Samplers and optimizers never meet, nor do state spaces and rotary embeddings: each pair shares a hue.
    "optimizer": hue("red"),
    "recurrent": hue("tan"),
    "other": hue("slate"),
}

# Colours of runs, where a figure is coloured by run. The ninth run has the first colour and the second symbol.
RUNS = tuple(hue(name) for name in ("blue", "orange", "teal", "violet", "gold", "rose", "sky", "grey"))
RUN_SYMBOLS = ("circle", "square", "pentagon", "star", "cross", "x")

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
