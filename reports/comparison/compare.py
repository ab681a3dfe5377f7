"""Compare two runs, or two groups of runs: the rows of ``sql/compare.sql``, and the settings that differ."""

from dataclasses import dataclass
from functools import cached_property

from ridgeline.reports import queries
from ridgeline.reports.comparison.sides import side_run_ids
from ridgeline.reports.errors import ReportError
from ridgeline.reports.formatting import duration, percent
from ridgeline.reports.queries import Connection, Row

ANY_MODULE = "(any module)"
UNKNOWN = "unknown"

# The levels of rows, from the whole to its parts. From `family` on, the rows of a kind of step sum to its device time.
LEVELS = {
    "unprofiled": "Step, without the profiler",
    "step": "Step, device time",
    "family": "By family",
    "module": "By module",
    "operator": "By operator",
    "row": "By operator, module and shapes",
}

# Settings that may differ: the column of `sql/compare_runs.sql`, and its title.
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

# Settings in which the runs of one side must agree; otherwise the spread of the side is not noise.
UNIFORM = ("device", "mode", "execution", "model", "batch", "prompt_tokens", "block")


@dataclass(frozen=True)
class Side:
    """The runs of one side that have kernels, and the runs that are left out because they have none."""

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

    def setting(self, key: str) -> str:
        """Return the values of a setting over the runs as text, ``unknown`` for NULL."""
        texts = []
        for value in (run[key] for run in self.runs):
            if key == "sm_clock_hz" and isinstance(value, float):
                texts.append(f"{value / 1e6:,.0f} MHz")
            else:
                texts.append(UNKNOWN if value is None else f"{value:,}" if isinstance(value, int) else str(value))
        return ", ".join(dict.fromkeys(texts))


@dataclass(frozen=True)
class Comparison:
    """Both sides and the rows of ``sql/compare.sql``: times in nanoseconds per step, changes relative to the base."""

    base: Side
    other: Side
    rows: list[Row]

    def level(self, name: str) -> list[Row]:
        """Return the rows of one of :data:`LEVELS`, by kind of step, the largest difference first."""
        return [row for row in self.rows if row["level"] == name]

    @cached_property
    def stages(self) -> list[str]:
        """The kinds of step that were traced, most time first: unprofiled time where known, else device time."""

        def total_ns(row: Row) -> float:
            return max((row[f"{side}_ns_per_step"] or 0) * (row[f"{side}_steps"] or 0) for side in ("base", "other"))

        timed = {row["stage"]: total_ns(row) for row in self.level("unprofiled")}
        traced = {row["stage"]: total_ns(row) for row in self.level("step")}
        return sorted(traced, key=lambda stage: (-timed.get(stage, 0), -traced[stage]))

    @cached_property
    def parts(self) -> list[str]:
        """The levels below a whole step; ``module`` only if both sides name modules."""
        modules = any(row["module"] != ANY_MODULE for row in self.level("module"))
        return [level for level in ("family", "module", "operator", "row") if modules or level != "module"]

    @cached_property
    def _settings(self) -> list[tuple[str, str, str]]:
        return [(title, self.base.setting(key), self.other.setting(key)) for key, title in SETTINGS.items()]

    @property
    def differing(self) -> list[tuple[str, str, str]]:
        """The settings that differ: title, value of the base, value of the other."""
        return [(title, before, after) for title, before, after in self._settings if before != after]

    @property
    def common(self) -> list[tuple[str, str]]:
        """The settings that are known and equal: title and value."""
        return [(title, before) for title, before, after in self._settings if before == after != UNKNOWN]

    @property
    def settings_known(self) -> bool:
        """Whether every run records its settings; a bare trace does not."""
        return all(run["model"] is not None for run in self.base.runs + self.other.runs)

    @cached_property
    def warnings(self) -> list[str]:
        """Sentences about what makes the numbers less comparable than they look."""
        messages = []
        devices = [self.base.setting("device"), self.other.setting("device")]
        if devices[0] != devices[1]:
            messages.append(f"devices differ: {devices[0]} and {devices[1]}")
        for side, name in ((self.base, "base"), (self.other, "other")):
            mixed = [SETTINGS[key] for key in UNIFORM if len({run[key] for run in side.runs}) > 1]
            if mixed:
                messages.append(f"the runs of {name} differ among themselves in {', '.join(mixed)}")
            messages += [f"{run['name']} is left out: {_no_kernels(run)}" for run in side.left_out]
        # The query pairs the main kinds of both sides if the sides share no kind; it joins their names by an arrow.
        paired = [stage for stage in self.stages if " → " in stage]
        messages += [
            f"the sides share no kind of step, so the most frequent kinds are compared: {stage}" for stage in paired
        ]
        return messages

    @property
    def regressions(self) -> list[Row]:
        """The row of each kind of step that both sides have: unprofiled if both were timed, else device time."""
        checked: dict[str, Row] = {}
        # A later level replaces an earlier one: device time says nothing of the host, which the profiler slows down.
        for level in ("step", "unprofiled"):
            for row in self.level(level):
                times = (row["base_ns_per_step"], row["other_ns_per_step"])
                if row["change"] is not None and None not in times:
                    checked[row["stage"]] = row
        return list(checked.values())


def compare(connection: Connection, base: str, other: str) -> Comparison:
    """Compare two runs, or two groups of runs as :func:`~ridgeline.reports.comparison.sides.side_run_ids` reads them.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if a side is unknown or ambiguous, and
    :class:`~ridgeline.reports.errors.ReportError` if it has no kernels.
    """
    sides = []
    for name in (base, other):
        runs = queries.rows(connection, "compare_runs", runs=side_run_ids(connection, name))
        side = Side([run for run in runs if run["kernels"]], [run for run in runs if not run["kernels"]])
        if not side.runs:
            reasons = "; ".join(f"{run['name']}: {_no_kernels(run)}" for run in side.left_out[:2])
            raise ReportError(f"{reasons}: nothing to compare")
        sides.append(side)
    rows = queries.rows(connection, "compare", base=sides[0].run_ids, other=sides[1].run_ids)
    return Comparison(sides[0], sides[1], rows)


def _no_kernels(run: Row) -> str:
    """Return why a run has no kernels."""
    reason = "no kernels" if run["outcome"] == "ok" else str(run["outcome"])
    return f"{reason} ({run['message']})" if run["message"] else reason


def above(comparison: Comparison, percentage: float) -> list[str]:
    """Return a sentence for each kind of step that is slower by more than ``percentage`` and by more than the noise.

    Raises :class:`~ridgeline.reports.errors.ReportError` if the sides share no kind of step, because a check of nothing
    must not pass.
    """
    if not comparison.regressions:
        raise ReportError(f"nothing to check: no kind of step is in both, only {', '.join(comparison.stages)}")
    sentences = []
    for row in comparison.regressions:
        # The query calls a row slower only if its difference exceeds the noise.
        if row["status"] == "slower" and row["change"] * 100 > percentage:
            before, after = (duration(row[f"{side}_ns_per_step"]) for side in ("base", "other"))
            what = "unprofiled" if row["level"] == "unprofiled" else "of device time"
            noise = percent(row["noise_ns"] / row["base_ns_per_step"])
            basis = ", assumed" if row["noise_basis"] == "unknown" else ""
            change = f"{before} to {after} {what}, noise ±{noise}{basis}"
            sentences.append(f"{row['stage']} is {percent(row['change'])} slower ({change})")
    return sentences


def unseen(comparison: Comparison, percentage: float) -> list[str]:
    """Return a sentence for each kind of step whose noise exceeds ``percentage``, so that a regression may pass."""
    return [
        f"{row['stage']}: its noise is ±{percent(row['noise_ns'] / row['base_ns_per_step'])}, "
        f"so a smaller slowdown passes --fail-above {percentage:g}"
        for row in comparison.regressions
        if row["noise_ns"] > percentage / 100 * row["base_ns_per_step"]
    ]
