"""The look that all figures share: font, grid and margins, in the light theme; pages repaint them in their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ridgeline.reports.figures.machine import Decades
from ridgeline.reports.formatting import si

# A figure, or a part of one, as Plotly's JSON: `data` and `layout`.
Spec = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, QUIET, FAINT, GRID = "#1f2430", "#667080", "#a3abb8", "#e7eaee"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def layout(height: int, **more: Any) -> Spec:
    """Return a figure's layout, ``height`` in pixels, without title or legend; ``more`` overrides."""
    return {
        "height": height,
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 20, "t": 10, "b": 46},
        "showlegend": False,
        "hovermode": "closest",
        "template": {},
        **more,
    }


def axis(title: str, **more: Any) -> Spec:
    """Return an axis with a quiet grid; ``more`` overrides."""
    return {
        "title": {"text": title, "font": {"size": 12, "color": QUIET}, "standoff": 10},
        "gridcolor": GRID,
        "linecolor": GRID,
        "tickfont": {"size": 11, "color": QUIET},
        "zeroline": False,
        "automargin": True,
        **more,
    }


def log_axis(title: str, decades: Decades, unit: str = "") -> Spec:
    """Return a logarithmic axis between two exponents of ten, with a tick at every decade, and minor ticks between.

    Minor ticks stand at 2 to 9 times a decade. With a ``unit`` ticks are SI multiples of it, without one powers of ten.

    >>> log_axis("", (3, 6))["ticktext"], log_axis("", (-2, -1))["ticktext"]
    (['1,000', '10,000', '10⁵', '10⁶'], ['0.01', '0.1'])
    >>> log_axis("", (9, 12), "B/s")["ticktext"]
    ['1 GB/s', '10 GB/s', '100 GB/s', '1 TB/s']
    """
    exponents = range(decades[0], decades[1] + 1)
    if unit:
        text = [si(10.0**e, unit) for e in exponents]
    else:
        text = [f"{10.0**e:,g}" if -4 < e < 5 else "10" + str(e).translate(SUPERSCRIPTS) for e in exponents]
    minor = [m * 10.0**e for e in exponents[:-1] for m in range(2, 10)]
    return axis(
        title,
        type="log",
        ticks="outside",
        ticklen=7,
        tickcolor=FAINT,
        range=list(decades),
        tickvals=[10.0**e for e in exponents],
        ticktext=text,
        showline=False,
        minor={"ticks": "outside", "ticklen": 4, "tickcolor": FAINT, "showgrid": False, "tickvals": minor},
    )


def scatter(mode: str, x: Sequence[Any], y: Sequence[Any], **more: Any) -> Spec:
    """Return a trace of markers, lines or text."""
    return {"type": "scatter", "mode": mode, "x": x, "y": y, **more}


def horizontal_bars(lengths: Sequence[float], labels: Sequence[str], **more: Any) -> Spec:
    """Return a trace of horizontal bars."""
    return {"type": "bar", "orientation": "h", "x": lengths, "y": labels, **more}


def error_bars(above: Sequence[float], below: Sequence[float], **more: Any) -> Spec:
    """Return error bars that reach ``above`` and ``below`` the values of a trace."""
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, **more}


def tooltips(text: Sequence[str], template: str = "%{text}") -> Spec:
    """Return the entries of a trace that show ``text`` under the pointer, without Plotly's box for the trace's name."""
    return {"text": text, "hovertemplate": f"{template}<extra></extra>"}
