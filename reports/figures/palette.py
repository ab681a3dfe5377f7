"""The hues of every mark on every page and in every figure, each with a value for light ground and one for dark.

Each value keeps a contrast of 3:1 to its ground at the opacity of marks (WCAG 1.4.11). Hues of families that often
meet differ by CIEDE2000 >= 10, all others by 6, in normal, deuteranopic and protanopic sight (Machado 2009).
``tests/reports/figures/test_palette.py`` computes these, and finds no other colour in the code.
"""

# The page's surface in light and dark, on which marks lie: --surface of templates/shared/page.css.
SURFACES = ("#ffffff", "#171b21")

HUES = {
    "blue": ("#45679e", "#7084b9"),
    "orange": ("#ca7301", "#e0783d"),
    "sky": ("#598ac8", "#83baf0"),
    "teal": ("#019999", "#018387"),
    "tan": ("#aa7f4f", "#cfac7d"),
    "rose": ("#c25b75", "#f7aec6"),
    "gold": ("#654609", "#e0b211"),
    "violet": ("#5032d2", "#8560ee"),
    "lavender": ("#6e60f7", "#9489fe"),
    "red": ("#ad2333", "#d84a4f"),
    "green": ("#137962", "#3b8a6e"),
    "indigo": ("#365499", "#8594d5"),
    "olive": ("#806622", "#dfdb7f"),
    "grey": ("#4d514f", "#9a9a9a"),
    "silver": ("#7f7f7f", "#afafaf"),
    "stone": ("#535c64", "#858585"),
    "orchid": ("#9552c5", "#e9b0d9"),
    "slate": ("#415064", "#77879e"),
}

# What pages paint in place of a light value when they are dark.
DARK = dict(HUES.values())


def hue(name: str) -> str:
    """Return a hue's value for light ground, in which all figures are made."""
    return HUES[name][0]


def variables() -> str:
    """Return the style sheet that names every hue for both themes: ``--blue`` and so on."""
    light, dark = ("".join(f"--{name}:{pair[i]};" for name, pair in HUES.items()) for i in (0, 1))
    return f':root{{{light}}}\n:root[data-theme="dark"]{{{dark}}}\n'
