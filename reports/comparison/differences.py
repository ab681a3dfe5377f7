"""The largest differences of a comparison, each with what its row says of the cause."""

from typing import NamedTuple

from ridgeline.reports.comparison.cells import change, label, noise, signed
from ridgeline.reports.comparison.compare import ITERATION, UNITS, UNJUDGED, Comparison
from ridgeline.reports.formatting import duration, percent
from ridgeline.reports.queries import Row

ONE_SIDED = {"added": "only after", "gone": "only before"}
UNEXPLAINED = "nothing known of this row says why"


class Difference(NamedTuple):
    """A row of an operator or a kernel that changed beyond noise, in words; times are per unit of the comparison."""

    row: Row
    title: str
    """Operator or kernel."""
    times: str
    """Before and after."""
    delta: str
    size: str
    """The change in percent, its noise and its share of the change of the kind of step, where known."""
    cause: str


def largest(comparison: Comparison, most: int = 3) -> list[Difference]:
    """Return the differences beyond noise with the most effect on a mean unit, the largest first.

    The effect of a row is its difference times the share of its kind of step among the units.
    """
    effects = sorted(_effects(comparison), key=lambda effect: -abs(effect[0]))
    return [_difference(row) for _, row in effects[:most]]


def replaced(comparison: Comparison) -> str:
    """Return a sentence if operators or kernels of one side alone make up most of the differences, else nothing.

    Such rows are no gain or loss by themselves: others, as a compiler's fused kernels, may do their work.
    """
    effects = _effects(comparison)
    gone = sum(ns for ns, row in effects if row["status"] == "gone")
    added = sum(ns for ns, row in effects if row["status"] == "added")
    if not gone or not added or added - gone <= 0.5 * sum(abs(ns) for ns, _ in effects):
        return ""
    what = "kernels" if comparison.by_kernel else "operators"
    return (
        f"{what} of one side alone make up most of the differences, as where a compiler fuses them: "
        f"{signed(gone)} gone, {signed(added)} added, together {signed(gone + added)} per mean {UNITS[comparison.unit]}"
    )


def _effects(comparison: Comparison) -> list[tuple[float, Row]]:
    """Return the rows that changed beyond noise, each with its effect on a mean unit in nanoseconds."""
    shares = _shares(comparison)
    rows = comparison.level("kernel" if comparison.by_kernel else "operator")
    changed = [row for row in rows if row["stage"] in shares and row["status"] != "same"]
    return [(row["delta_ns_per_step"] * shares[row["stage"]], row) for row in changed]


def _shares(comparison: Comparison) -> dict[str, float]:
    """Return the share of each kind of step among the units of the side that has more of it.

    Unprofiled units count where every kind has some, since a trace holds only a few of each kind.
    """
    if comparison.unit == "iteration":
        return {ITERATION: 1.0}
    stages = [stage for stage in comparison.stages if stage not in UNJUDGED]
    counted = {row["stage"]: row for row in comparison.level("unprofiled")}
    if not all(stage in counted for stage in stages):
        counted = {row["stage"]: row for row in comparison.level("step")}
    shares = dict.fromkeys(stages, 0.0)
    for side in ("base_steps", "other_steps"):
        total = sum(counted[stage][side] or 0 for stage in stages)
        for stage in stages:
            shares[stage] = max(shares[stage], (counted[stage][side] or 0) / total if total else 0.0)
    return shares


def _difference(row: Row) -> Difference:
    times = [row[f"{side}_ns_per_step"] for side in ("base", "other")]
    sizes = [
        ONE_SIDED.get(row["status"], ""),
        "" if row["change"] is None else change(row["change"]),
        f"noise {noise(row)}" if noise(row) else "",
        "" if row["share_of_change"] is None else f"{percent(round(row['share_of_change'], 3))} of the change",
    ]
    return Difference(
        row=row,
        title=label(row),
        times=" to ".join(duration(value) for value in times if value is not None),
        delta=signed(row["delta_ns_per_step"]),
        size=", ".join(size for size in sizes if size),
        cause=cause(row),
    )


def cause(row: Row) -> str:
    """Return what else differs in a row, its share of the roof, and the diagnosis of each side with its evidence.

    They are evidence for a cause, and no proof of it.
    """
    parts = [row["why"]]
    fractions = {"before": row["base_roof_fraction"], "after": row["other_roof_fraction"]}
    reached = [f"{percent(fraction)} {side}" for side, fraction in fractions.items() if fraction is not None]
    parts += [f"of the roof {', '.join(reached)}"] if reached else []
    diagnoses = {"before": row["base_diagnosis"], "after": row["other_diagnosis"]}
    if len(set(diagnoses.values())) == 1:
        diagnoses = {"both": row["base_diagnosis"]}
    parts += [f"{side}: {text}" for side, text in diagnoses.items() if text]
    return "; ".join(part for part in parts if part) or UNEXPLAINED
