"""Two runs, or two groups of runs, beside each other: the rows of ``sql/compare.sql``, and in what they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ridgeline.reports import queries, units
from ridgeline.reports.comparison.sides import group
from ridgeline.reports.errors import ReportError
from ridgeline.reports.queries import Row

if TYPE_CHECKING:
    import duckdb

ANY_MODULE = "(any module)"
UNKNOWN = "unknown"

LEVELS = {
    "unprofiled": "Step, without the profiler",
    "step": "Step, device time",
    "family": "By family",
    "module": "By module",
    "operator": "By operator",
    "row": "By operator, module and shapes",
}
"""Each level of the rows, from the whole to its parts; below the first two the rows of a kind of step sum to it."""

SETTINGS = {
    "device": "device",
    "mode": "mode",
    "execution": "execution",
    "model": "model",
    "dtype": "type",
    "batch": "batch",
    "prompt_tokens": "prompt tokens",
    "generated_tokens": "generated tokens",
    "block": "block",
    "steps": "steps",
    "parameters": "parameters",
    "experiment": "experiment",
    "torch_version": "torch",
    "transformers_version": "transformers",
    "cuda_version": "CUDA",
    "driver_version": "driver",
    "repeats": "unprofiled repeats",
    "sm_clock_hz": "SM clock, median while timed",
}
"""What runs may differ in, as ``sql/compare_runs.sql`` names it and as it is shown."""


MATTERING = ("device", "mode", "execution", "model", "batch", "prompt_tokens", "block")
"""Settings in which the runs of one side should agree, or else its spread is no noise."""


@dataclass(frozen=True)
class Side:
    """The runs of one side that have kernels, and those left out since they have none."""

    runs: list[Row]
    left_out: list[Row]

    @property
    def run_ids(self) -> list[str]:
        """The ids of the runs compared."""
        return [run["run_id"] for run in self.runs]

    @property
    def names(self) -> list[str]:
        """The names of the runs compared."""
        return [run["name"] for run in self.runs]

    def said(self, setting: str) -> str:
        """A setting's values over the runs, as text; unknown ones are ``unknown``."""
        return ", ".join(dict.fromkeys(_shown(setting, run[setting]) for run in self.runs))


@dataclass(frozen=True)
class Comparison:
    """Both sides and the rows of ``sql/compare.sql``: times in nanoseconds per step, changes relative to the base."""

    base: Side
    other: Side
    rows: list[Row]

    def level(self, name: str) -> list[Row]:
        """The rows of one of :data:`LEVELS`, by kind of step, the largest difference first."""
        return [row for row in self.rows if row["level"] == name]

    @cached_property
    def stages(self) -> list[str]:
        """The kinds of step that were traced, those with most time first: in the timed runs, else in the trace."""
        timed = {row["stage"]: _most(row) for row in self.level("unprofiled")}
        traced = {row["stage"]: _most(row) for row in self.level("step")}
        return sorted(traced, key=lambda stage: (-timed.get(stage, 0), -traced[stage]))

    @cached_property
    def parts(self) -> list[str]:
        """The levels below a whole step; not modules, where one side names none."""
        modules = any(row["module"] != ANY_MODULE for row in self.level("module"))
        return [level for level in ("family", "module", "operator", "row") if modules or level != "module"]

    @cached_property
    def differing(self) -> list[tuple[str, str, str]]:
        """What the sides were asked or ran on differently: setting, base, other."""
        said = [(title, self.base.said(key), self.other.said(key)) for key, title in SETTINGS.items()]
        return [(title, before, after) for title, before, after in said if before != after]

    @cached_property
    def common(self) -> list[tuple[str, str]]:
        """What is known and the same on both sides: setting and value."""
        said = [(title, self.base.said(key), self.other.said(key)) for key, title in SETTINGS.items()]
        return [(title, before) for title, before, after in said if before == after != UNKNOWN]

    @property
    def settings_known(self) -> bool:
        """Whether every run says what it was asked; bare traces do not."""
        return all(run["model"] is not None for run in self.base.runs + self.other.runs)

    @cached_property
    def warnings(self) -> list[str]:
        """What makes the numbers mean less than they seem to, a sentence each."""
        found = []
        devices = [self.base.said("device"), self.other.said("device")]
        if devices[0] != devices[1]:
            found.append(f"devices differ: {devices[0]} and {devices[1]}")
        for side, name in ((self.base, "base"), (self.other, "other")):
            mixed = [SETTINGS[key] for key in MATTERING if len({run[key] for run in side.runs}) > 1]
            if mixed:
                found.append(f"the runs of {name} differ among themselves in {', '.join(mixed)}")
            found += [f"{run['name']} is left out: {_why_none(run)}" for run in side.left_out]
        paired = [stage for stage in self.stages if " → " in stage]
        found += [
            f"no kind of step is in both, so those they are mostly made of are compared: {stage}" for stage in paired
        ]
        return found

    @property
    def regressions(self) -> list[Row]:
        """The row of each kind of step that both sides have: unprofiled where both were timed, else of device time."""
        timed = {row["stage"]: row for row in self.level("unprofiled") if row["change"] is not None and _both(row)}
        traced = {row["stage"]: row for row in self.level("step") if row["change"] is not None and _both(row)}
        return list((traced | timed).values())


def _both(row: Row) -> bool:
    return row["base_ns_per_step"] is not None and row["other_ns_per_step"] is not None


def _most(row: Row) -> float:
    return max((row[f"{side}_ns_per_step"] or 0) * (row[f"{side}_steps"] or 0) for side in ("base", "other"))


def _shown(setting: str, value: object) -> str:
    if value is None:
        return UNKNOWN
    if setting == "sm_clock_hz" and isinstance(value, float):
        return f"{value / 1e6:,.0f} MHz"
    return f"{value:,}" if isinstance(value, int) else str(value)


def compare(connection: duckdb.DuckDBPyConnection, base: str, other: str) -> Comparison:
    """Set two runs, or groups of them as :func:`ridgeline.reports.comparison.sides.group` reads them, beside each
    other.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` for a side that is unknown or ambiguous, and
    :class:`~ridgeline.reports.errors.ReportError` for one without any kernels.
    """
    sides = [_side(queries.rows(connection, "compare_runs", group(connection, wanted))) for wanted in (base, other)]
    rows = queries.rows_of(connection, "compare", base=sides[0].run_ids, other=sides[1].run_ids)
    return Comparison(sides[0], sides[1], rows)


def _side(runs: Sequence[Row]) -> Side:
    side = Side([run for run in runs if run["kernels"]], [run for run in runs if not run["kernels"]])
    if not side.runs:
        said = "; ".join(f"{run['name']}: {_why_none(run)}" for run in side.left_out[:2])
        raise ReportError(f"{said}: nothing to compare")
    return side


def _why_none(run: Row) -> str:
    reason = "no kernels" if run["outcome"] == "ok" else str(run["outcome"])
    return f"{reason} ({run['message']})" if run["message"] else reason


def above(found: Comparison, percent: float) -> list[str]:
    """A sentence for each kind of step that became slower by more than ``percent`` and by more than the noise.

    Raises :class:`~ridgeline.reports.errors.ReportError` if no kind of step is in both sides, so that nothing passes
    unchecked.
    """
    if not found.regressions:
        raise ReportError(f"nothing to check: no kind of step is in both, only {', '.join(found.stages)}")
    return [_sentence(row) for row in found.regressions if row["status"] == "slower" and row["change"] * 100 > percent]


def unseen(found: Comparison, percent: float) -> list[str]:
    """A sentence for each kind of step whose noise is wider than ``percent``, so that a slower one may pass."""
    return [
        f"{row['stage']}: its noise is ±{units.percent(row['noise_ns'] / row['base_ns_per_step'])}, "
        f"so what is slower by less passes --fail-above {percent:g}"
        for row in found.regressions
        if row["noise_ns"] > percent / 100 * row["base_ns_per_step"]
    ]


def _sentence(row: Row) -> str:
    what = "unprofiled" if row["level"] == "unprofiled" else "of device time"
    before, after = (units.duration(row[f"{side}_ns_per_step"]) for side in ("base", "other"))
    noise = units.percent(row["noise_ns"] / row["base_ns_per_step"])
    basis = ", assumed" if row["noise_basis"] == "unknown" else ""
    return (
        f"{row['stage']} is {units.percent(row['change'])} slower ({before} to {after} {what}, noise ±{noise}{basis})"
    )
