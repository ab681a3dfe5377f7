"""Draw a machine's roofs with their labels and ridge points, on axes that follow from the machine."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ridgeline.reports.figures.labels import HALF_HEIGHT, Capsule, is_clear, label
from ridgeline.reports.figures.layout import FONT, QUIET, Spec, axis, layout, log_axis, scatter, tooltips
from ridgeline.reports.figures.machine import Decades, Frame, Machine, Roof, highest
from ridgeline.reports.formatting import digits
from ridgeline.reports.names import escape

HEIGHT, WIDTH = 620, 1180
MARGIN = {"l": 84, "r": 246, "t": 14, "b": 52}
# Least distance in pixels between the labels of two compute roofs.
LABEL_GAP = 15
# Where along the axis memory roofs are labelled if nothing is there: few points lie between pointwise arithmetic and
# matrix products.
LABEL_AT = 0.44
# Distance in pixels between a memory roof and the middle of its label.
OFF_THE_LINE = 9
# Radius in pixels of a ridge point and its outline.
RIDGE = 4.5
DASH = {"measured": "solid", "datasheet": "dash"}

# Pairs of compute unit and precision.
UsedPeaks = Collection[tuple[str | None, str | None]]
# A memory roof, a compute roof of the same source, and the intensity at which they meet.
Ridge = tuple[Roof, Roof, float]


@dataclass(frozen=True)
class View:
    """The decades of both axes and the size of the plot in pixels, from which labels find their places."""

    x: Decades
    y: Decades
    width: float = WIDTH - MARGIN["l"] - MARGIN["r"]
    height: float = HEIGHT - MARGIN["t"] - MARGIN["b"]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixels from the left and from the top of a place given in exponents of ten."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0]) * self.width
        return across, (1 - (y - self.y[0]) / (self.y[1] - self.y[0])) * self.height

    @property
    def slope(self) -> float:
        """The angle in radians of a memory roof, which rises by one decade a decade."""
        return math.atan2(self.height / (self.y[1] - self.y[0]), self.width / (self.x[1] - self.x[0]))

    def holds(self, capsule: Capsule) -> bool:
        """Return whether a label lies inside the plot."""
        inside = (HALF_HEIGHT <= y <= self.height - HALF_HEIGHT for y in (capsule.y0, capsule.y1))
        return min(capsule.x0, capsule.x1) >= 0 and max(capsule.x0, capsule.x1) <= self.width and all(inside)


def skeleton(machine: Machine, used: UsedPeaks | None = None, discs: Iterable[tuple[float, float, float]] = ()) -> Spec:
    """Return axes and roofs of a roofline: all memory roofs, and the compute roofs that are ``used``, or all.

    Labels keep clear of roofs, of one another and of ``discs``: FLOP/B, FLOP/s and radius in pixels of each point.
    """
    frame, peaks = machine.frame, _distinct_peaks(machine, used)
    low, high = (10.0**e for e in frame.intensity)
    lines = []
    for roof in machine.bandwidths:
        # From the left or the lower edge to the ridge point under the highest compute roof.
        x = [max(low, 10.0 ** frame.flops_per_s[0] / roof.value), min(high, _ridge(roof, peaks))]
        lines.append(_line(roof, x, [roof.value * x[0], roof.value * x[1]]))
    for roof in peaks:
        # From the intensity at which the fastest memory of the same source feeds it to the right edge.
        start = roof.value / (highest(machine.bandwidths, roof.source) or roof.value)
        lines.append(_line(roof, [min(max(start, low), high), high], [roof.value, roof.value]))
    ridges = _ridges(machine.bandwidths, peaks)
    view = View(frame.intensity, frame.flops_per_s)
    occupied = [*_line_capsules(lines, view), *(_disc(view, *disc) for disc in discs)]
    occupied += [_disc(view, x, peak.value, RIDGE) for _, peak, x in ridges]
    # Ridge points first: the labels of memory roofs can slide along them.
    values = _ridge_labels(ridges, view, occupied)
    labels = [*_peak_labels(peaks, frame), *_slope_labels(machine, peaks, view, occupied), *values]
    return {
        "data": [*lines, *_ridge_points(ridges)],
        "layout": layout(
            HEIGHT,
            margin=MARGIN,
            xaxis=log_axis("arithmetic intensity, FLOP per byte of DRAM traffic", frame.intensity),
            yaxis=log_axis("achieved FLOP/s", frame.flops_per_s, "FLOP/s"),
            annotations=labels,
        ),
    }


def lane(machine: Machine, families: Sequence[str]) -> Spec:
    """Return the axes of the bandwidth lane: one row a family, and the DRAM roofs as vertical lines."""
    roofs = sorted((roof for roof in machine.bandwidths if roof.level == "dram"), key=lambda roof: roof.value)
    rows = list(reversed(families))
    upright = {"type": "line", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "name": "roof"}
    labels = []
    for i, roof in enumerate(roofs):
        # The label of the lower roof lies left of its line, the others right of theirs, so that two do not meet.
        side = {"xanchor": "left", "xshift": -2} if i else {"xanchor": "right", "xshift": 2}
        labels.append(
            _label("upright", roof.label, yref="paper", x=math.log10(roof.value), y=1, yanchor="bottom", **side)
        )
    return {
        "data": [],
        "layout": layout(
            72 + 30 * max(len(rows), 1) + 18,
            margin=MARGIN | {"t": 24},
            xaxis=log_axis("achieved DRAM bandwidth", machine.frame.bytes_per_s, "B/s"),
            yaxis=axis("", type="category", categoryarray=rows, categoryorder="array", range=[-0.6, len(rows) - 0.4]),
            shapes=[{**upright, "x0": roof.value, "x1": roof.value, "line": _stroke(roof)} for roof in roofs],
            annotations=labels,
        ),
    }


def _distinct_peaks(machine: Machine, used: UsedPeaks | None) -> list[Roof]:
    """Return the compute roofs to draw, highest first; roofs of one value, as bf16 and fp16 often have, are merged."""

    def likeness(roof: Roof) -> tuple[Any, ...]:
        return (-roof.value, roof.source, roof.unit or "", roof.unit_of_value)

    chosen = [roof for roof in machine.peaks if used is None or (roof.unit, roof.precision) in used]
    merged = []
    for _, group in groupby(sorted(chosen or machine.peaks, key=likeness), key=likeness):
        roofs = list(group)
        precisions = dict.fromkeys(roof.precision or "" for roof in roofs)
        merged.append(replace(roofs[0], precision="/".join(precisions)))
    return merged


def _ridge(roof: Roof, peaks: Sequence[Roof]) -> float:
    """Return the intensity at which a memory roof meets the highest compute roof of its source, or of any."""
    return (highest(peaks, roof.source) or math.inf) / roof.value


def _line(roof: Roof, x: list[float], y: list[float]) -> Spec:
    # The page finds a roof, and what its label says, by its `meta`.
    keys = ("resource", "source", "value", "unit", "precision", "level", "what", "rate")
    meta = {key: getattr(roof, key) for key in keys}
    more = {"hoverinfo": "skip", "line": _stroke(roof), "meta": {"role": "roof", **meta}}
    return scatter("lines", x, y, name=escape(roof.label), **more)


def _stroke(roof: Roof) -> Spec:
    return {"color": QUIET, "width": 1.6 if roof.source == "measured" else 1.1, "dash": DASH.get(roof.source, "dot")}


def _peak_labels(peaks: list[Roof], frame: Frame) -> list[Spec]:
    """Return labels at the right ends of compute roofs, pushed down where they would touch the one above."""
    pixels_per_decade = (HEIGHT - MARGIN["t"] - MARGIN["b"]) / (frame.flops_per_s[1] - frame.flops_per_s[0])
    fixed = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 8, "yanchor": "middle"}
    labels, lowest = [], math.inf
    for roof in sorted(peaks, key=lambda r: -r.value):
        level = (math.log10(roof.value) - frame.flops_per_s[0]) * pixels_per_decade
        lowest = min(level, lowest - LABEL_GAP)
        labels.append(_label("end", roof.label, **fixed, y=math.log10(roof.value), yshift=lowest - level))
    return labels


def _slope_labels(machine: Machine, peaks: Sequence[Roof], view: View, occupied: list[Capsule]) -> list[Spec]:
    """Return one label a level, along its highest memory roof or beneath its lowest, and add it to ``occupied``.

    The label of the slowest of several levels lies beneath its roofs, those of the others above theirs.
    """
    left, right = view.x
    levels = [list(own) for _, own in groupby(sorted(machine.bandwidths, key=_by_level), key=_by_level)]
    levels.sort(key=lambda own: -max(roof.value for roof in own))
    labels = []
    for own in levels:
        roofs = sorted(own, key=lambda roof: roof.source != "measured")
        rates = [f"{roof.rate}, {roof.source}" for roof in roofs]
        # The roofs of all sources, or the measured one alone where only that has room.
        texts = [f"{roofs[0].what} {'; '.join(rates[:named])}" for named in range(len(rates), 0, -1)]
        sides = (-1, 1) if len(levels) > 1 and own is levels[-1] else (1, -1)
        ends = min(math.log10(_ridge(max(own, key=lambda roof: roof.value), peaks)), right)
        best = min(LABEL_AT * right + (1 - LABEL_AT) * left, ends - 0.6)
        exponents = sorted((left + i / 20 for i in range(round(20 * (ends - left)))), key=lambda x: abs(x - best))
        places = [(text, *_beside(own, text, x, s, view)) for text in texts for s in sides for x in [best, *exponents]]
        clear = (place for place in places if view.holds(place[1]) and is_clear(place[1], occupied))
        text, capsule, where = next(clear, places[0])
        occupied.append(capsule)
        labels.append(_label("slope above" if where["yshift"] > 0 else "slope below", text, **where))
    return labels


def _by_level(roof: Roof) -> str:
    return roof.level or ""


def _beside(roofs: Sequence[Roof], text: str, x: float, side: int, view: View) -> tuple[Capsule, Spec]:
    """Return the place of a label above (``side`` 1) or below (-1) the roofs of a level, at intensity 10**``x``."""
    value = max(roof.value for roof in roofs) if side > 0 else min(roof.value for roof in roofs)
    y, angle = x + math.log10(value), view.slope
    # At a right angle to the line.
    shift = {"xshift": -OFF_THE_LINE * side * math.sin(angle), "yshift": OFF_THE_LINE * side * math.cos(angle)}
    across, down = view.at(x, y)
    capsule = label(across + shift["xshift"], down - shift["yshift"], text, -angle)
    return capsule, {"x": x, "y": y, "textangle": -math.degrees(angle), **shift}


def _ridges(memory: Sequence[Roof], peaks: Sequence[Roof]) -> list[Ridge]:
    return [(roof, peak, peak.value / roof.value) for roof in memory for peak in peaks if peak.source == roof.source]


def ridge_text(intensity: float) -> str:
    """Return the label of a ridge point.

    >>> ridge_text(294.6)
    '295 FLOP/B'
    """
    return f"{digits(intensity)} FLOP/B"


def _ridge_points(ridges: Sequence[Ridge]) -> list[Spec]:
    if not ridges:
        return []
    text = [
        f"{escape(peak.label)}<br>{escape(roof.label)}<br>ridge at {ridge_text(x)}: below it memory is the limit"
        for roof, peak, x in ridges
    ]
    marker = {"symbol": "circle", "size": 7, "color": "white", "line": {"width": 1.4, "color": QUIET}}
    x, y = [x for _, _, x in ridges], [peak.value for _, peak, _ in ridges]
    return [scatter("markers", x, y, name="ridge points", marker=marker, meta={"role": "ridge"}, **tooltips(text))]


def _ridge_labels(ridges: Sequence[Ridge], view: View, occupied: list[Capsule]) -> list[Spec]:
    """Return the intensity at each ridge point that has room for it; of measured roofs, if there are any."""
    measured = [ridge for ridge in ridges if ridge[0].source == "measured"]
    labels = []
    for _, peak, intensity in sorted(measured or ridges, key=lambda ridge: -ridge[1].value):
        text, x, y = ridge_text(intensity), math.log10(intensity), math.log10(peak.value)
        across, down = view.at(x, y)
        half = label(0, 0, text).x1 + HALF_HEIGHT + RIDGE
        for xshift, yshift in ((-half, 11), (half, -11), (-half, 0), (0, 15), (half, 11), (0, -15)):
            capsule = label(across + xshift, down - yshift, text)
            if view.holds(capsule) and is_clear(capsule, occupied):
                occupied.append(capsule)
                labels.append(_label("ridge", text, x=x, y=y, xshift=xshift, yshift=yshift))
                break
    return labels


def _line_capsules(lines: Iterable[Spec], view: View) -> list[Capsule]:
    ends = (
        [view.at(math.log10(x), math.log10(y)) for x, y in zip(line["x"], line["y"], strict=True)] for line in lines
    )
    return [Capsule(*start, *end, 1) for start, end in ends]


def _disc(view: View, x: float, y: float, radius: float) -> Capsule:
    place = view.at(math.log10(x), math.log10(y))
    return Capsule(*place, *place, radius)


def _label(name: str, text: str, **where: Any) -> Spec:
    """Return the label of a roof or a ridge point; pages place labels anew, and find them by ``name``."""
    font = {"family": FONT, "size": 11, "color": QUIET}
    return {"name": name, "text": escape(text), "showarrow": False, "font": font, **where}
