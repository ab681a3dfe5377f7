"""Places for labels: clear of lines, of points and of one another.

Everything in a figure is a capsule: all places within a radius of a segment, in pixels. A line is a thin capsule, a
point a capsule of no length, a label the segment through the middle of its text with half its height as the radius.
The scripts of pages place labels by the same rules (``templates/shared/roofline.js``).
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

# Least distance in pixels between a label and anything else.
GAP = 1.0
# Half the height of a text of 11 pixels, and the mean width of its characters.
HALF_HEIGHT, CHARACTER = 6.5, 5.9


class Capsule(NamedTuple):
    """The places within ``radius`` of the segment from (``x0``, ``y0``) to (``x1``, ``y1``), in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float
    radius: float


def label(x: float, y: float, text: str, angle: float = 0.0) -> Capsule:
    """Return the capsule of a text centred at (``x``, ``y``), turned by ``angle`` (radians)."""
    half = len(text) * CHARACTER / 2
    across, along = half * math.cos(angle), half * math.sin(angle)
    return Capsule(x - across, y - along, x + across, y + along, HALF_HEIGHT)


def is_clear(label: Capsule, obstacles: Iterable[Capsule]) -> bool:
    """Return whether a label keeps ``GAP`` from every obstacle."""
    return all(distance(label, other) >= label.radius + other.radius + GAP for other in obstacles)


def distance(one: Capsule, other: Capsule) -> float:
    """Return the distance in pixels between the segments of two capsules, 0 where they cross."""
    if _cross(one, other):
        return 0.0
    ends = [(one, other.x0, other.y0), (one, other.x1, other.y1), (other, one.x0, one.y0), (other, one.x1, one.y1)]
    return min(_from_point(segment, x, y) for segment, x, y in ends)


def _from_point(segment: Capsule, x: float, y: float) -> float:
    across, along = segment.x1 - segment.x0, segment.y1 - segment.y0
    length = across**2 + along**2
    # The share of the segment at which it comes nearest.
    share = min(max(((x - segment.x0) * across + (y - segment.y0) * along) / length, 0), 1) if length else 0
    return math.hypot(x - segment.x0 - share * across, y - segment.y0 - share * along)


def _cross(one: Capsule, other: Capsule) -> bool:
    def side(s: Capsule, x: float, y: float) -> float:
        return (s.x1 - s.x0) * (y - s.y0) - (s.y1 - s.y0) * (x - s.x0)

    apart = side(one, other.x0, other.y0) * side(one, other.x1, other.y1) < 0
    return apart and side(other, one.x0, one.y0) * side(other, one.x1, one.y1) < 0
