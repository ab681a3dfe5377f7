"""Compare two runs, or two groups of runs: the rows of ``sql/compare.sql``, and the settings that differ."""

from dataclasses import dataclass
from functools import cached_property

from ridgeline.reports import queries
from ridgeline.reports.comparison.sides import select
from ridgeline.reports.errors import ReportError
from ridgeline.reports.formatting import duration, percent
from ridgeline.reports.queries import Connection, Row

ANY_MODULE = "(any module)"
UNKNOWN = "unknown"

# Stages that are no kind of step: all of an iteration, all of a trace without steps, and the time outside steps.
ITERATION, TRACE, OUTSIDE = "(iteration)", "(trace)", "(outside steps)"
GENERATION = "(generation)"
"""The stage of a whole generation, of which the kinds of step are parts."""
UNJUDGED = (OUTSIDE, "(no phase)")
"""Stages without a verdict: nothing says how often their work is done."""

# What times are per, by the column `unit` of the query.
UNITS = {"step": "step", "iteration": "iteration", "work": "equal work", "second": "second of trace"}

# The levels of rows, from the whole to its parts. From `step` on, the rows of a stage sum to its device time.
WHOLE = ("generation", "unprofiled", "wall", "idle", "step")
PARTS = ("family", "module", "operator", "kernel", "row")

# What the times of a level are, after "20 µs to 25 µs".
TIMES = {
    "generation": "end to end",
    "unprofiled": "unprofiled",
    "wall": "of wall time under the profiler",
    "step": "of device time",
}

NO_UNIT = (
    "no steps or iterations are in both sides, so times are per second of trace, which tells how the time divides and "
    "not which side is faster: call profiler.step() or label steps, record_function('phase=decode step=3')"
)

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
    path: str = ""
    """The path that was named, if the runs are not stored."""

    @property
    def title(self) -> str:
        """The path, else the names of the runs compared."""
        return self.path or ", ".join(self.names)

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
    """Both sides and the rows of ``sql/compare.sql``: times in nanoseconds per unit, changes relative to the base."""

    base: Side
    other: Side
    rows: list[Row]

    def level(self, name: str) -> list[Row]:
        """Return the rows of one of ``WHOLE`` or ``PARTS``, by stage, the largest difference first."""
        return [row for row in self.rows if row["level"] == name]

    @property
    def is_itself(self) -> bool:
        """Whether both sides are the same runs."""
        return set(self.base.run_ids) == set(self.other.run_ids)

    @property
    def unit(self) -> str:
        """The unit of work that both sides have, one of ``UNITS``, as ``sql/compare.sql`` defines them."""
        return str(self.rows[0]["unit"]) if self.rows else "step"

    @cached_property
    def stages(self) -> list[str]:
        """The kinds of step that were traced, most time first: unprofiled time where known, else device time."""

        def total_ns(row: Row) -> float:
            return max((row[f"{side}_ns_per_step"] or 0) * (row[f"{side}_steps"] or 0) for side in ("base", "other"))

        timed = {row["stage"]: total_ns(row) for row in self.level("unprofiled")}
        traced = {row["stage"]: total_ns(row) for row in self.level("step")}
        return sorted(traced, key=lambda stage: (-timed.get(stage, 0), -traced[stage], stage != ITERATION))

    @cached_property
    def by_kernel(self) -> bool:
        """Whether rows of every stage align by kernel, because a side names no operators."""
        return all(row["by_kernel"] for row in self.level("operator"))

    @cached_property
    def parts(self) -> list[str]:
        """The levels below a whole step, without modules or operators if a side does not name them."""
        modules = any(row["module"] != ANY_MODULE for row in self.level("module"))
        left_out = {*(() if modules else ("module",)), *(("operator", "row") if self.by_kernel else ())}
        return [level for level in PARTS if level not in left_out]

    @property
    def titles(self) -> dict[str, str]:
        """The title of each level."""
        unit = UNITS[self.unit].capitalize()
        return {
            "generation": "Generation, without the profiler",
            "unprofiled": f"{unit}, without the profiler",
            "wall": f"{unit}, wall time under the profiler",
            "idle": f"{unit}, idle time of its device",
            "step": f"{unit}, device time",
            "family": "By family",
            "module": "By module",
            "operator": "By operator",
            "kernel": "By kernel",
            "row": "By operator, module and shapes",
        }

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
        if self.is_itself:
            names = self.base.names
            return [f"both sides are the run{'s' if names[1:] else ''} {', '.join(names)}: nothing to compare"]
        messages = []
        if shared := [run["name"] for run in self.base.runs if run["run_id"] in self.other.run_ids]:
            messages.append(f"on both sides: {', '.join(shared)}")
        devices = [self.base.setting("device"), self.other.setting("device")]
        if devices[0] != devices[1]:
            messages.append("devices differ: {} and {}".format(*(device or "one without a name" for device in devices)))
        for side, name in ((self.base, "base"), (self.other, "other")):
            mixed = [SETTINGS[key] for key in UNIFORM if len({run[key] for run in side.runs}) > 1]
            if mixed:
                messages.append(f"the runs of {name} differ among themselves in {', '.join(mixed)}")
            messages += [f"{run['name']} is left out: {_no_kernels(run)}" for run in side.left_out]
        messages += self._unnamed()
        # The query pairs the main kinds of both sides if the sides share no kind; it joins their names by an arrow.
        paired = [stage for stage in self.stages if " → " in stage]
        messages += [
            f"the sides share no kind of step, so the most frequent kinds are compared: {stage}" for stage in paired
        ]
        return messages

    def _unnamed(self) -> list[str]:
        """Return a sentence for each side that names too few operators, so that rows align by kernel."""
        if not any(row["by_kernel"] for row in self.level("operator")):
            return []
        messages = []
        for side in (self.base, self.other):
            unnamed = [run for run in side.runs if (run["named_share"] or 0) < 0.5]
            if not unnamed:
                continue
            replayed = any((run["replayed_share"] or 0) >= 0.5 or run["execution"] == "cuda_graph" for run in unnamed)
            remedy = "record CPU activities too"
            if replayed:
                remedy = "graphs replayed them: analyze the trace with --twin EAGER_TRACE or --capture PATH"
            if replayed and side.path:
                remedy += ", or put the eager trace beside it as X.twin.json"
            messages.append(f"{side.title}: its kernels have no operators, so rows align by kernel: {remedy}")
        return messages

    @property
    def regressions(self) -> list[Row]:
        """The rows that a limit of slowdown is checked against: those of stages that both sides have.

        A step or an iteration that both sides timed without the profiler is checked by that time alone. Others are
        checked by device time and by wall time under the profiler: profiled launches may hide a slower kernel, and
        device time does not show a slower host. Nothing is checked per second of trace, nor outside steps and phases.
        """
        if self.unit == "second":
            return []
        paired = [
            row
            for row in self.rows
            if row["level"] in ("unprofiled", "wall", "step")
            and row["stage"] not in UNJUDGED
            and None not in (row["base_ns_per_step"], row["other_ns_per_step"])
        ]
        timed = {row["stage"] for row in paired if row["level"] == "unprofiled"}
        if ITERATION in timed:  # its phases are parts of it
            paired = [row for row in paired if row["stage"] == ITERATION]
        return [row for row in paired if (row["level"] == "unprofiled") == (row["stage"] in timed)]


def compare(connection: Connection, base: str, other: str) -> Comparison:
    """Compare two stored runs, or groups of runs as :func:`~ridgeline.reports.comparison.sides.select` reads them.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` if a side is unknown or ambiguous, and
    :class:`~ridgeline.reports.errors.ReportError` if it has no kernels or is a path, which is not stored.
    """
    sides = [select(connection, side) for side in (base, other)]
    for side in sides:
        if side.paths:
            raise ReportError(f"{side.paths[0]}: a path, not a stored run: analyze it first, or use ridgeline.compare")
    return compare_runs(connection, sides[0].run_ids, sides[1].run_ids)


def compare_runs(
    connection: Connection, base: list[str], other: list[str], paths: tuple[str, str] = ("", "")
) -> Comparison:
    """Compare two lists of run ids; ``paths`` are the paths that they were found under, empty for stored runs.

    Raises :class:`~ridgeline.reports.errors.ReportError` if a side has no kernels.
    """
    sides = []
    for run_ids, path in zip((base, other), paths, strict=True):
        runs = queries.rows(connection, "compare_runs", runs=run_ids)
        side = Side([run for run in runs if run["kernels"]], [run for run in runs if not run["kernels"]], path)
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
    """Return a sentence for each time that is longer by more than ``percentage`` and by more than the noise.

    Raises :class:`~ridgeline.reports.errors.ReportError` if the sides share no kind of step, because a check of nothing
    must not pass.
    """
    if not comparison.regressions:
        if comparison.unit == "second":
            raise ReportError(f"nothing to check: {NO_UNIT}")
        raise ReportError(f"nothing to check: no kind of step is in both, only {', '.join(comparison.stages)}")
    sentences = []
    for row in comparison.regressions:
        # The query calls a row slower only if its difference exceeds the noise.
        if row["status"] == "slower" and row["delta_ns_per_step"] > percentage / 100 * row["base_ns_per_step"]:
            before, after = (duration(row[f"{side}_ns_per_step"]) for side in ("base", "other"))
            slower = "slower" if row["change"] is None else f"{percent(row['change'])} slower"
            details = [f"{before} to {after} {TIMES[row['level']]}", *noise_of(row)]
            sentences.append(f"{row['stage']} is {slower} ({', '.join(details)})")
    return sentences


def noise_of(row: Row) -> list[str]:
    """Return the noise of a row as text, or nothing where its base is 0."""
    if not row["base_ns_per_step"]:
        return []
    assumed = ["assumed"] if row["noise_basis"] == "unknown" else []
    return [f"noise ±{percent(row['noise_ns'] / row['base_ns_per_step'])}", *assumed]


def unseen(comparison: Comparison, percentage: float) -> list[str]:
    """Return a sentence for each time whose noise exceeds ``percentage``, so that a regression may pass."""
    return [
        f"{row['stage']}: its noise is ±{percent(row['noise_ns'] / row['base_ns_per_step'])} {TIMES[row['level']]}, "
        f"so a smaller slowdown passes --fail-above {percentage:g}"
        for row in comparison.regressions
        if not comparison.is_itself and row["noise_ns"] > percentage / 100 * row["base_ns_per_step"] > 0
    ]
