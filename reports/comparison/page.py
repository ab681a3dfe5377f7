"""Write the page of a comparison: ``compare.html``, before and after on the axes of one machine."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ridgeline.reports import html, queries
from ridgeline.reports.comparison.cells import change, launch_counts, noise, signed
from ridgeline.reports.comparison.compare import UNITS, WHOLE, Comparison
from ridgeline.reports.comparison.differences import largest, replaced
from ridgeline.reports.comparison.verdict import verdict
from ridgeline.reports.embedding import encode
from ridgeline.reports.figures import families, marks, roofs
from ridgeline.reports.figures.machine import Machine, device_name
from ridgeline.reports.figures.placement import place
from ridgeline.reports.formatting import duration
from ridgeline.reports.names import shorten
from ridgeline.reports.queries import Connection, Row

SCRIPTS = (
    "shared/format",
    "shared/hues",
    "shared/terms",
    "shared/access",
    "comparison/state",
    "shared/theme",
    "shared/roofline",
    "comparison/figures",
    "comparison/table",
    "comparison/page",
)


def write(connection: Connection, comparison: Comparison, out: str | Path) -> Path:
    """Write ``<out>/compare.html`` and return its path."""
    run_ids = list(dict.fromkeys([*comparison.base.run_ids, *comparison.other.run_ids]))
    ceilings = queries.rows(connection, "ceilings", runs=run_ids)
    return html.write(Path(out) / "compare.html", render(comparison, ceilings))


def render(comparison: Comparison, ceilings: Sequence[Row]) -> str:
    """Return the page of a comparison under the roofs of ``ceilings``, rows of ``sql/ceilings.sql``."""
    sides = {"base": comparison.base.run_ids, "other": comparison.other.run_ids}
    run_ids = list(dict.fromkeys([*sides["base"], *sides["other"]]))
    # The place of a row among those of the page.
    indices = {id(row): i for i, row in enumerate(_rows(comparison))}
    return html.render(
        "comparison/page.html",
        encode(document(comparison, ceilings)),
        styles=["shared/page", "comparison/page"],
        scripts=SCRIPTS,
        comparison=comparison,
        totals=totals(comparison),
        unit=UNITS[comparison.unit],
        verdict=verdict(comparison),
        largest=[(indices[id(difference.row)], difference) for difference in largest(comparison)],
        replaced=replaced(comparison),
        panels=[
            ("All differences, at every level", queries.runnable(queries.text("compare"), **sides)),
            ("The runs", queries.runnable(queries.text("compare_runs"), runs=run_ids)),
            ("Roofs", queries.runnable(queries.text("ceilings"), runs=run_ids)),
        ],
    )


def document(comparison: Comparison, ceilings: Sequence[Row]) -> dict[str, Any]:
    """Return the page's data: axes and roofs, and every row with its place before and after."""
    runs = comparison.base.runs + comparison.other.runs
    machine = Machine.of(" and ".join(dict.fromkeys(map(device_name, runs))), ceilings)
    rows = [_placed(row, machine) for row in _rows(comparison)]
    in_lane = {row["family"] for row in rows if "lane" in (row["base_place"], row["other_place"])}
    # `used_peaks` lists the pairs of compute unit and precision that a run's kernels use: "tensor bf16, vector fp32".
    pairs = {pair for run in runs for pair in (run["used_peaks"] or "").split(", ") if pair}
    used = {(unit, precision) for unit, _, precision in (pair.partition(" ") for pair in pairs)}
    return {
        **marks.page_style(),
        "device": machine.device,
        "has_roofs": bool(machine.roofs),
        "one_device": comparison.base.setting("device") == comparison.other.setting("device"),
        "roofline": roofs.skeleton(machine, used),
        "lane": roofs.lane(machine, [family for family in families.COLORS if family in in_lane]),
        "unit": UNITS[comparison.unit],
        "levels": {level: comparison.titles[level] for level in comparison.parts},
        "level": next(level for level in ("module", "operator", "kernel") if level in comparison.parts),
        "stages": comparison.stages,
        "steps": [_finite(row) for row in comparison.level("step")],
        "rows": rows,
    }


def _rows(comparison: Comparison) -> list[Row]:
    """Return the rows that the page holds."""
    return [row for row in comparison.rows if row["level"] in comparison.parts]


def _placed(row: Row, machine: Machine) -> Row:
    """Return a row with its place before and after (``base_x`` and so on), and the short name of its kernels."""
    placed = _finite(row)
    for side in ("base", "other"):
        point = {
            "flops": row[f"{side}_flops_per_step"],
            "dram_bytes": row[f"{side}_bytes_per_step"],
            "duration_ns": row[f"{side}_ns_per_step"],
        }
        placed |= {f"{side}_{key}": value for key, value in place(point, machine.frame).items()}
    # A kernel without an operator has its own name in the operator's place.
    name = row["operator"] or ""
    kernels = f"{row['base_kernels'] or ''}{row['other_kernels'] or ''}"
    return placed | {"label": shorten(name) if name in kernels else name}


def _finite(row: Row) -> Row:
    """Return the row with None for infinity and NaN, which JSON does not have."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def totals(comparison: Comparison) -> list[Row]:
    """Return the cells of each kind of step's whole: wall time without and under the profiler, idle and device time."""
    timed = {row["stage"]: row for row in comparison.level("unprofiled")}
    # A kind of step may have been timed without being traced; it comes last.
    cells = []
    generations = [row["stage"] for row in comparison.level("generation")]
    for stage in dict.fromkeys([*generations, *comparison.stages, *timed]):
        rows = [row for level in WHOLE for row in comparison.level(level) if row["stage"] == stage]
        own = [_whole(row) | {"time": comparison.titles[row["level"]].partition(", ")[2]} for row in rows]
        cells.append({"stage": stage, "rows": own})
    return cells


def _whole(row: Row) -> Row:
    cells = {}
    for side in ("base", "other"):
        value, low, high = row[f"{side}_ns_per_step"], row[f"{side}_low_ns"], row[f"{side}_high_ns"]
        cells[side] = "" if value is None else duration(value)
        cells[f"{side}_range"] = "" if low is None or low == high else f"{duration(low)} to {duration(high)}"
    return cells | {
        "change": "" if row["change"] is None else change(row["change"]),
        "delta": signed(row["delta_ns_per_step"]),
        "noise": noise(row),
        "status": row["status"],
        "why": row["why"] or "",
        "launches": launch_counts(row),
    }
