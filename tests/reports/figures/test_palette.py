"""Hues: contrast to the ground, differences in normal and colour-blind sight, and no other colour in the code."""

from __future__ import annotations

import math
import re
from itertools import combinations
from pathlib import Path

import pytest

from ridgeline import reports
from ridgeline.reports.figures import families, palette
from ridgeline.reports.figures.marks import STYLE

ROOT = Path(reports.__file__).parent
Color = tuple[float, float, float]
Matrix = tuple[Color, Color, Color]

# Families that often meet in one figure.
FREQUENT = (
    "matmul",
    "attention",
    "convolution",
    "normalization",
    "rotary",
    "softmax",
    "pointwise",
    "reduction",
    "fused",
    "gather",
    "copy",
)

# Of complete loss of a cone: Machado, Oliveira and Fernandes 2009, table 1, severity 1; for linear RGB.
SIGHT: dict[str, Matrix] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}
XYZ: Matrix = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def times(matrix: Matrix, color: Color) -> Color:
    x, y, z = (sum(a * b for a, b in zip(row, color, strict=True)) for row in matrix)
    return (x, y, z)


def parts(color: str) -> Color:
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return (red, green, blue)


def linear(color: Color) -> Color:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color)
    return (red, green, blue)


def over(color: str, ground: str, opacity: float) -> Color:
    """The colour of a mark on its ground."""
    red, green, blue = (opacity * a + (1 - opacity) * b for a, b in zip(parts(color), parts(ground), strict=True))
    return (red, green, blue)


def contrast(one: Color, other: Color) -> float:
    """WCAG's ratio of relative luminances."""
    low, high = sorted(times(XYZ, linear(color))[1] + 0.05 for color in (one, other))
    return high / low


def lab(rgb: Color) -> Color:
    white = times(XYZ, (1, 1, 1))
    x, y, z = (
        math.cbrt(t) if (t := max(part / full, 0)) > 216 / 24389 else (24389 / 27 * t + 16) / 116
        for part, full in zip(times(XYZ, rgb), white, strict=True)
    )
    return (116 * y - 16, 500 * (x - y), 200 * (y - z))


def ciede2000(one: Color, other: Color) -> float:
    """The difference of two colours in CIELAB: Sharma, Wu and Dalal 2005, equations 2 to 22."""
    mean = (math.hypot(*one[1:]) + math.hypot(*other[1:])) / 2
    grey = 1.5 - 0.5 * math.sqrt(mean**7 / (mean**7 + 25**7))
    (c1, h1), (c2, h2) = (
        (math.hypot(grey * a, b), math.degrees(math.atan2(b, grey * a)) % 360) for _, a, b in (one, other)
    )
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    hue = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    light, chroma = (one[0] + other[0]) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * cosine(hue - 30) + 0.24 * cosine(2 * hue) + 0.32 * cosine(3 * hue + 6) - 0.2 * cosine(4 * hue - 63)
    d_light = (other[0] - one[0]) / (1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2))
    d_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    d_hue = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    bend = (
        -2
        * math.sqrt(chroma**7 / (chroma**7 + 25**7))
        * math.sin(math.radians(60 * math.exp(-(((hue - 275) / 25) ** 2))))
    )
    return math.sqrt(d_light**2 + d_chroma**2 + d_hue**2 + bend * d_chroma * d_hue)


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def test_ciede2000_gives_published_differences() -> None:
    # Pairs 1, 7, 9 and 25 of Sharma, Wu and Dalal's test data.
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ]
    for one, other, expected in pairs:
        assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("theme", [0, 1])
def test_every_hue_has_contrast_to_its_ground(theme: int) -> None:
    ground = palette.SURFACES[theme]
    assert ground in (ROOT / "templates/shared/page.css").read_text("utf-8")
    low = {
        name: ratio
        for name, pair in palette.HUES.items()
        if (ratio := contrast(over(pair[theme], ground, STYLE["opacity"]), parts(ground))) < 3
    }
    assert low == {}


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("sight", SIGHT)
def test_hues_differ_in_every_sight(sight: str, theme: int) -> None:
    seen = {}
    for name, pair in palette.HUES.items():
        rgb = times(SIGHT[sight], linear(over(pair[theme], palette.SURFACES[theme], STYLE["opacity"])))
        seen[name] = lab((min(max(rgb[0], 0), 1), min(max(rgb[1], 0), 1), min(max(rgb[2], 0), 1)))
    light = {value[0]: name for name, value in palette.HUES.items()}
    frequent = {light[families.color(family)] for family in FREQUENT}
    alike = {
        (one, other): round(difference, 1)
        for one, other in combinations(seen, 2)
        if (difference := ciede2000(seen[one], seen[other])) < (10 if {one, other} <= frequent else 6)
    }
    assert alike == {}


def test_no_other_colour_is_in_the_code() -> None:
    """Greys of the pages are variables of shared/page.css; text on a hue is black or white."""
    grounds = {"reports/figures/palette.py", "reports/figures/layout.py", "reports/templates/shared/page.css"}
    known = {color for pair in palette.HUES.values() for color in pair} | {"#000000", "#ffffff", "#fff"}
    others = {}
    for suffix in ("py", "js", "css", "html", "j2", "toml"):
        for path in ROOT.rglob(f"*.{suffix}"):
            name = f"reports/{path.relative_to(ROOT)}"
            if name in grounds or "results" in path.parts:
                continue
            found = set(re.findall(r"[\"': ](#[0-9a-f]{6}|#[0-9a-f]{3})\b", path.read_text("utf-8"), re.I)) - known
            if found:
                others[name] = found
    assert others == {}
