"""The three pictures of FINDINGS.md as SVG text, drawn from the rows of ``queries/``. Lengths are pixels.

The study's interactive figures are Plotly's. GitHub runs no scripts, and a static export of Plotly needs a browser, so
these pictures are drawn here.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from ridgeline.reports.figures.families import COLORS
from ridgeline.reports.figures.layout import FONT, GRID, INK, QUIET
from ridgeline.reports.queries import Row

WIDTH, HEIGHT, LEFT = 430, 270, 62
"""Of a chart's frame, and the room left of it for its axis."""
BAR, BAR_WIDTH, BAR_LEFT = 22, 660, 190
DUAL, CAUSAL, NAIVE = COLORS["matmul"], COLORS["reduction"], COLORS["attention"]
PARTS = {
    "roof": COLORS["matmul"],
    "products": COLORS["convolution"],
    "attention": COLORS["attention"],
    "unfused": COLORS["pointwise"],
    "host": COLORS["copy"],
}


class Line(NamedTuple):
    """A line of a chart. A point without y is beyond the scale, and is drawn as a cross at the upper edge."""

    label: str
    color: str
    points: Sequence[tuple[float, float | None]]
    dashed: bool = False


class Scale(NamedTuple):
    """A logarithmic axis: its title and its ticks; the first and the last tick are its ends."""

    title: str
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """Where ``value`` lies between the ends, 0 to 1."""
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        return (math.log(value) - low) / (high - low)


class Panel(NamedTuple):
    """A part of a picture: its size, and the function that draws it with its upper left corner at x, y."""

    width: float
    height: float
    draw: Callable[[float, float], list[str]]


LENGTHS = Scale("positions attended to", (128, 512, 2048, 8192, 32768))


def tokens_to_beat_ar(by_batch: Sequence[Row], by_context: Sequence[Row]) -> str:
    """Tokens a forward at which blocks match AR, by batch and by context: the rows of ``break_even*.sql``."""

    def line(label: str, color: str, rows: Sequence[Row], x: str) -> Line:
        # "none" has no place on the scale: no number of tokens suffices.
        tokens = [None if row["tokens_a_forward"] == "none" else float(row["tokens_a_forward"]) for row in rows]
        return Line(label, color, [(row[x], y) for row, y in zip(rows, tokens, strict=True)])

    as_in_paper = [row for row in by_batch if row["kv_heads"].startswith("AR")]
    graphs = [row for row in by_context if row["execution"] == "cuda_graph"]
    batches = [
        line(f"dual cache, prompt {prompt:,}", color, [row for row in as_in_paper if row["prompt"] == prompt], "batch")
        for prompt, color in ((128, COLORS["normalization"]), (1024, DUAL), (2048, CAUSAL))
    ]
    contexts = [
        line(label, color, [row for row in graphs if row["mode"] == mode], "length")
        for mode, label, color in (
            ("dlm_block_dual", "dual cache", DUAL),
            ("dlm_block_causal", "block-causal", CAUSAL),
        )
    ]
    tokens = Scale("tokens a forward to match AR", (1, 2, 4, 8, 16))
    panels = [
        _lines("by batch (cross: no number suffices)", Scale("batch", (1, 2, 4, 8, 16, 32, 64, 128)), tokens, batches),
        _lines("by context, batch 1", LENGTHS, tokens, contexts),
    ]
    return _picture("Tokens a forward at which blocks of 32 match AR in a long generation, CUDA graphs, H200", panels)


def latency_over_ar(rows: Sequence[Row]) -> str:
    """A step of each mode over an AR step against the context, measured and at the roofs: ``over_ar_context.sql``."""
    modes = {
        "dlm_full": ("naive", NAIVE),
        "dlm_block_dual": ("dual cache", DUAL),
        "dlm_block_causal": ("block-causal", CAUSAL),
    }
    lines = [
        Line(label + suffix, color, [(row["length"], row[column]) for row in rows if row["mode"] == mode], dashed)
        for mode, (label, color) in modes.items()
        for column, suffix, dashed in (("over_ar", "", False), ("at_roofs", ", at the roofs", True))
    ]
    times = Scale("times an AR step", (1, 3, 10, 30, 100, 300))
    title = "A step at one token a step over an AR step, batch 1, H200"
    return _picture(title, [_lines("", LENGTHS, times, lines)])


def step_parts(rows: Sequence[Row]) -> str:
    """A bar a row of ``step_parts.sql``: its parts in ms, the least and the most of the whole step as a whisker."""
    names = {"decode": "AR decode", "reuse": "block, reuse", "refresh": "block, refresh", "denoise": "naive step"}
    pixels_a_ms = BAR_WIDTH / max(row["most"] for row in rows)

    def draw(x: float, y: float) -> list[str]:
        drawn = []
        for index, row in enumerate(rows):
            top, start = y + index * (BAR + 6), x + BAR_LEFT
            label = f"{names[row['kind']]}, {row['execution'].replace('_', ' ')}"
            drawn.append(_text(start - 8, top + 15, label, anchor="end"))
            for part, color in PARTS.items():
                # A negative part is not drawn: where kernels sum to more than the step, the bar passes the whisker.
                length = max(0.0, row[part]) * pixels_a_ms
                drawn.append(_element("rect", x=start, y=top, width=length, height=BAR, fill=color))
                start += length
            least, most = (x + BAR_LEFT + row[end] * pixels_a_ms for end in ("least", "most"))
            whisker = f"M{least:.1f} {top + 11}H{most:.1f}M{least:.1f} {top + 6}v10M{most:.1f} {top + 6}v10"
            drawn.append(_element("path", d=whisker, stroke=INK))
            drawn.append(_text(max(start, most) + 6, top + 15, f"{row['step_ms']:.2f}"))
        legend = y + len(rows) * (BAR + 6) + 16
        for index, (part, color) in enumerate(PARTS.items()):
            left = x + BAR_LEFT + 110 * index
            drawn.append(_element("rect", x=left, y=legend - 10, width=12, height=12, fill=color))
            drawn.append(_text(left + 18, legend, part))
        return drawn

    title = "A step in ms: kernels at their roofs, their time beyond, and the host; batch 1, about 1,100 positions"
    return _picture(title, [Panel(BAR_LEFT + BAR_WIDTH + 40, len(rows) * (BAR + 6) + 30, draw)])


def _lines(title: str, across: Scale, up: Scale, lines: Sequence[Line]) -> Panel:
    """A chart of ``lines`` with its legend below."""

    def draw(x: float, y: float) -> list[str]:
        left, floor = x + LEFT, y + 20 + HEIGHT

        def at(point: tuple[float, float | None]) -> tuple[float, float]:
            height = 1.0 if point[1] is None else up.place(point[1])
            return left + across.place(point[0]) * WIDTH, floor - height * HEIGHT

        drawn = [_text(left, y + 8, title, color=QUIET)]
        for tick in up.ticks:
            _, tick_y = at((across.ticks[0], tick))
            drawn.append(_element("path", d=f"M{left} {tick_y:.1f}h{WIDTH}", stroke=GRID))
            drawn.append(_text(left - 8, tick_y + 4, f"{tick:,}", anchor="end", color=QUIET))
        for tick in across.ticks:
            tick_x, _ = at((tick, up.ticks[0]))
            drawn.append(_text(tick_x, floor + 18, f"{tick:,}", anchor="middle", color=QUIET))
        drawn.append(_text(left + WIDTH / 2, floor + 38, across.title, anchor="middle", color=QUIET))
        upright = _text(0, 0, up.title, anchor="middle", color=QUIET)
        drawn.append(f'<g transform="translate({x + 12} {floor - HEIGHT / 2}) rotate(-90)">{upright}</g>')
        for index, line in enumerate(lines):
            style: dict[str, object] = {"fill": "none", "stroke": line.color, "stroke-width": 2}
            if line.dashed:
                style["stroke-dasharray"] = "5 4"
            on_scale = [at(point) for point in line.points if point[1] is not None]
            path = "L".join(f"{point_x:.1f} {point_y:.1f}" for point_x, point_y in on_scale)
            drawn.append(_element("path", d=f"M{path}", **style))
            if not line.dashed:
                drawn += [_element("circle", cx=px, cy=py, r=3.5, fill=line.color) for px, py in on_scale]
            for cross_x, edge in (at(point) for point in line.points if point[1] is None):
                # Lines may have crosses at one place: each line's are 8 pixels below those of the line before.
                corner = f"{cross_x - 4:.1f} {edge + 8 * index - 4:.1f}"
                drawn.append(_element("path", d=f"M{corner}l8 8m0 -8l-8 8", **style))
            legend = floor + 62 + 18 * index
            drawn.append(_element("path", d=f"M{left} {legend - 4}h26", **style))
            drawn.append(_text(left + 34, legend, line.label))
        return drawn

    return Panel(LEFT + WIDTH, HEIGHT + 72 + 18 * len(lines), draw)


def _picture(title: str, panels: Sequence[Panel]) -> str:
    """An SVG file: the title, and below it the panels side by side."""
    gap = 70
    width = 50 + sum(panel.width for panel in panels) + gap * (len(panels) - 1)
    height = 56 + max(panel.height for panel in panels)
    drawn, x = [_element("rect", width=width, height=height, fill="#fff"), _text(20, 24, title, size=14)], 10.0
    for panel in panels:
        drawn += panel.draw(x, 40)
        x += panel.width + gap
    size = f'width="{width:.0f}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{escape(FONT)}">'
    return "\n".join([head, *drawn, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", color: str = INK, size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{color}" font-size="{size}">{escape(text)}</text>'


def _element(tag: str, **attributes: object) -> str:
    """An SVG element; fractions are rounded to a tenth of a pixel, so that the file is the same on every machine."""
    values = {key: f"{value:.1f}" if isinstance(value, float) else value for key, value in attributes.items()}
    written = " ".join(f'{key}="{value}"' for key, value in values.items())
    return f"<{tag} {written}/>"
