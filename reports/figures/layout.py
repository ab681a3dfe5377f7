"""What all figures share: type, grid and margins, in the light theme; a page repaints them in its own."""

from __future__ import annotations

from typing import Any

from ridgeline.reports.figures.machine import Decades

Spec = dict[str, Any]
"""A figure as Plotly's JSON: ``data`` and ``layout``."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, QUIET, GRID = "#1f2430", "#667080", "#e7eaee"
POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def layout(height: int, **more: Any) -> Spec:
    """A figure's frame, without title or legend."""
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
    """A quiet axis."""
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
    """A logarithmic axis over whole decades, which zooming may leave and a double click restores.

    ``unit`` gives ticks as SI multiples of it, else they are powers of ten.
    """
    exponents = list(range(decades[0], decades[1] + 1))
    text = [_multiple(e, unit) for e in exponents] if unit else [_power(e) for e in exponents]
    return axis(
        title,
        type="log",
        ticks="outside",
        ticklen=7,
        tickcolor="rgba(0,0,0,0)",
        range=list(decades),
        tickvals=[10.0**e for e in exponents],
        ticktext=text,
        showline=False,
        minor={"ticks": "", "showgrid": False},
    )


def _power(exponent: int) -> str:
    """
    >>> _power(-2), _power(0), _power(3), _power(9)
    ('0.01', '1', '1,000', '10⁹')
    """
    return f"{10.0**exponent:,g}" if -4 < exponent < 5 else "10" + str(exponent).translate(POWERS)


def _multiple(exponent: int, unit: str) -> str:
    """
    >>> _multiple(12, "B/s"), _multiple(10, "FLOP/s")
    ('1 TB/s', '10 GFLOP/s')
    """
    from ridgeline.reports.units import si

    return si(10.0**exponent, unit)
