"""The page of a comparison: one HTML file, before and after in the frame of one machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ridgeline.reports import html, queries, units
from ridgeline.reports.comparison import text as comparison_text
from ridgeline.reports.comparison.compare import LEVELS, Comparison
from ridgeline.reports.explorer.data import device, encode
from ridgeline.reports.figures import bars, families, marks, roofs
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.figures.placement import EDGES, place
from ridgeline.reports.names import shorten
from ridgeline.reports.queries import Row

if TYPE_CHECKING:
    import duckdb

SCRIPTS = ("format", "comparison_state", "theme", "roofline", "comparison_figures", "comparison_table", "comparison")


def write(connection: duckdb.DuckDBPyConnection, found: Comparison, out: str | Path) -> Path:
    """Write ``<out>/compare.html`` and return its path."""
    run_ids = list(dict.fromkeys([*found.base.run_ids, *found.other.run_ids]))
    ceilings = queries.rows(connection, "ceilings", run_ids)
    return html.write(Path(out) / "compare.html", render(found, ceilings))


def render(found: Comparison, ceilings: Sequence[Row]) -> str:
    """The page of this comparison under these roofs, rows of ``sql/ceilings.sql``."""
    sides = {"base": found.base.run_ids, "other": found.other.run_ids}
    together = list(dict.fromkeys([*sides["base"], *sides["other"]]))
    return html.render(
        "comparison.html",
        encode(document(found, ceilings)),
        styles=["page", "comparison"],
        scripts=SCRIPTS,
        found=found,
        totals=totals(found),
        panels=[
            ("All differences, at every level", queries.runnable_of("compare", **sides)),
            ("The runs", queries.runnable("compare_runs", together)),
            ("Roofs", queries.runnable("ceilings", together)),
        ],
    )


def document(found: Comparison, ceilings: Sequence[Row]) -> dict[str, Any]:
    """The page's data: the frame, and every row with its place in it before and after."""
    machine = Machine.of(" and ".join(dict.fromkeys(map(device, found.base.runs + found.other.runs))), ceilings)
    rows = [_placed(row, machine) for row in found.rows if row["level"] in found.parts]
    moving = {row["family"] for row in rows if "lane" in (row["base_place"], row["other_place"])}
    return {
        "families": {
            family: {"color": color, "symbol": families.symbol(family)} for family, color in families.COLORS.items()
        },
        "marks": {
            "style": marks.STYLE,
            "largest": marks.LARGEST,
            "edges": EDGES,
            "badges": marks.BADGES,
            "above": marks.ABOVE,
        },
        "bars": {"layout": bars.frame(0), "row": bars.ROW},
        "device": machine.device,
        "has_roofs": bool(machine.roofs),
        "one_device": found.base.said("device") == found.other.said("device"),
        "roofline": roofs.skeleton(machine, _used(found)),
        "lane": roofs.lane(machine, [family for family in families.COLORS if family in moving]),
        "levels": {level: LEVELS[level] for level in found.parts},
        "level": "module" if "module" in found.parts else "operator",
        "stages": found.stages,
        "steps": [_finite(row) for row in found.level("step")],
        "rows": rows,
    }


def _used(found: Comparison) -> set[tuple[str | None, str | None]]:
    """The units and precisions that the runs' kernels use."""
    said = {each for run in found.base.runs + found.other.runs for each in (run["units"] or "").split(", ") if each}
    return {(unit, precision) for unit, _, precision in (each.partition(" ") for each in said)}


def _placed(row: Row, machine: Machine) -> Row:
    """A row with where it stands before and after (``base_x`` ...), and its kernels' short names."""
    placed = _finite(row)
    for side in ("base", "other"):
        point = {
            "flops": row[f"{side}_flops_per_step"],
            "dram_bytes": row[f"{side}_bytes_per_step"],
            "duration_ns": row[f"{side}_ns_per_step"],
        }
        placed |= {f"{side}_{key}": value for key, value in place(point, machine.frame).items()}
    name = row["operator"] or ""
    return placed | {"label": shorten(name) if name in _kernels(row) else name}


def _kernels(row: Row) -> str:
    """The text of both sides' kernels; an operator's name is found there where a kernel's stands for it."""
    return f"{row['base_kernels'] or ''}{row['other_kernels'] or ''}"


def _finite(row: Row) -> Row:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def totals(found: Comparison) -> list[Row]:
    """Of each kind of step its two whole rows as text: what was timed without the profiler, and the device time."""
    timed = {row["stage"]: row for row in found.level("unprofiled")}
    traced = {row["stage"]: row for row in found.level("step")}
    return [
        {
            "stage": stage,
            "unprofiled": _whole(timed.get(stage)),
            "device": _whole(traced.get(stage)),
            "launches": comparison_text.launches(traced[stage]) if stage in traced else "",
        }
        for stage in dict.fromkeys([*found.stages, *timed])
    ]


def _whole(row: Row | None) -> Row | None:
    if row is None:
        return None
    return {
        "base": _time(row, "base"),
        "other": _time(row, "other"),
        "base_range": _range(row, "base"),
        "other_range": _range(row, "other"),
        "change": "" if row["change"] is None else comparison_text.change(row["change"]),
        "delta": comparison_text.signed(row["delta_ns_per_step"]),
        "noise": comparison_text.noise(row),
        "status": row["status"],
        "why": row["why"] or "",
    }


def _time(row: Row, side: str) -> str:
    value = row[f"{side}_ns_per_step"]
    return "" if value is None else units.duration(value)


def _range(row: Row, side: str) -> str:
    low, high = row[f"{side}_low_ns"], row[f"{side}_high_ns"]
    return "" if low is None or low == high else f"{units.duration(low)} to {units.duration(high)}"
