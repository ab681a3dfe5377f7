"""Format the cells of a row of a comparison: name, times, change, noise and launches."""

from collections.abc import Callable

from ridgeline.reports.comparison.compare import ANY_MODULE
from ridgeline.reports.formatting import digits, duration, percent
from ridgeline.reports.names import clip, shorten
from ridgeline.reports.queries import Row

Cells = list[str]


def label(row: Row) -> str:
    """Return the name of a row, short enough for a cell."""
    if row["level"] == "family":
        return str(row["family"])
    if row["level"] == "kernel":
        return clip(shorten(row["operator"]), 60)
    shapes = row["other_shapes"] or row["base_shapes"] or ""
    module = None if row["module"] == ANY_MODULE else row["module"]
    parts = (row["operator"], module, clip(shapes, 30))
    return " ".join(clip(part, 44) for part in parts if part)


def cells(row: Row, name: str) -> Cells:
    """Return ``name``, times of both sides, difference, change, noise, launches, status and what else differs."""
    return [
        clip(name, 90),
        _unless_null(row["base_ns_per_step"], duration),
        _unless_null(row["other_ns_per_step"], duration),
        signed(row["delta_ns_per_step"]),
        _unless_null(row["change"], change),
        noise(row),
        launch_counts(row),
        row["status"],
        row["why"] or "",
    ]


def _unless_null(value: float | None, show: Callable[[float], str]) -> str:
    return "" if value is None else show(value)


def signed(ns: float) -> str:
    """Format a difference of nanoseconds with its sign.

    >>> signed(-1800.0), signed(0.0), signed(12_345_678)
    ('-1.8 µs', '0 ns', '+12.3 ms')
    """
    return ("+" if ns > 0 else "") + duration(ns)


def change(share: float) -> str:
    """Format a relative change with its sign.

    >>> change(-0.834), change(0.02), change(11.5)
    ('-83.4 %', '+2 %', '+1,150 %')
    """
    return ("+" if share > 0 else "") + f"{digits(round(share * 100, 1))} %"


def noise(row: Row) -> str:
    """Format half the width of the band around the base that counts as the same; ``?`` marks an assumed one.

    A band wider than the base is a time: of a base near zero, a percentage says nothing.
    """
    noise_ns, base_ns = row["noise_ns"], row["base_ns_per_step"]
    if noise_ns is None or not base_ns:
        return ""
    assumed = "?" if row["noise_basis"] == "unknown" else ""
    return f"±{duration(noise_ns) if noise_ns > base_ns else percent(noise_ns / base_ns)}{assumed}"


def launch_counts(row: Row) -> str:
    """Format the launches per step, before and after if they differ."""
    before, after = (row[f"{side}_launches_per_step"] for side in ("base", "other"))
    if before is None and after is None:
        return ""
    if before == after:
        return digits(before)
    return f"{digits(before or 0)} → {digits(after or 0)}"
