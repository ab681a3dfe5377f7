"""The settings and results of runs, for their table and their list.

A column without values is omitted; a setting that all runs share is listed beneath the table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ridgeline.reports.formatting import digits, duration, percent, si
from ridgeline.reports.queries import Row


@dataclass(frozen=True)
class Column:
    """A column: its header, the column of ``sql/runs.sql``, and how a value is formatted."""

    title: str
    key: str
    show: Callable[[Any], str] = str
    numeric: bool = True
    hint: str = ""
    # What the "?" beside the header explains, of terms.toml.
    term: str = ""
    # A setting was requested of the run; the other columns are results.
    setting: bool = False


def _count(value: float) -> str:
    return f"{value:,.0f}"


# Settings first, then results from what the user feels (latency) to what explains it.
COLUMNS = (
    Column("experiment", "experiment", numeric=False, setting=True),
    Column("device", "device", numeric=False, setting=True),
    Column("mode", "mode", numeric=False, setting=True),
    Column("execution", "execution", numeric=False, setting=True),
    Column("model", "model", numeric=False, setting=True),
    Column("type", "dtype", numeric=False, setting=True),
    Column("batch", "batch", _count, setting=True),
    Column("prompt", "prompt_tokens", _count, hint="tokens", setting=True),
    Column("generated", "generated_tokens", _count, hint="tokens", setting=True),
    Column("block", "block", _count, hint="tokens in a block of a diffusion model", setting=True),
    Column("steps", "steps", _count, setting=True),
    Column("step time", "step_ns", duration, term="unprofiled"),
    Column("tokens/s", "tokens_per_s", digits),
    Column("first token", "ttft_ns", duration),
    Column("kernels", "kernels", _count, hint="device activities in the trace"),
    Column("device time", "device_time_ns", duration, hint="sum of the durations of device activities"),
    Column("FLOP/B", "intensity", digits, term="intensity"),
    Column("MFU", "mfu", percent, term="MFU"),
    Column("MBU", "mbu", percent, term="MBU"),
    Column("busy", "busy_share", percent, term="busy"),
    Column("J/token", "joules_per_token", digits),
    Column("peak memory", "peak_memory_bytes", lambda value: si(value, "B")),
    Column("trace", "recording", numeric=False, hint="partial: the trace is truncated; its intact part was loaded"),
    Column("outcome", "outcome", numeric=False),
)


@dataclass(frozen=True)
class Table:
    """The columns, for each run its cells as text, and title and value of each setting that all runs share."""

    columns: list[Column]
    rows: list[tuple[Row, list[str]]]
    common: list[tuple[str, str]]

    @property
    def settings(self) -> list[Column]:
        """The settings in which the runs differ."""
        return [column for column in self.columns if column.setting]

    @property
    def metrics(self) -> list[Column]:
        """The results that are numbers."""
        return [column for column in self.columns if column.numeric and not column.setting]


def filled(runs: Sequence[Row]) -> list[Column]:
    """Return the columns that have a value in rows of ``sql/runs.sql``. Only an outcome other than ok is a value."""

    def has_values(column: Column) -> bool:
        return any(run[column.key] is not None and (column.key != "outcome" or run["outcome"] != "ok") for run in runs)

    return [column for column in COLUMNS if has_values(column)]


def table(runs: Sequence[Row]) -> Table:
    """Return the table of rows of ``sql/runs.sql``. The cell of a NULL is empty."""

    def cell(run: Row, column: Column) -> str:
        value = run[column.key]
        return "" if value is None else column.show(value)

    known = filled(runs)
    common = [c for c in known if c.setting and len(runs) > 1 and len({run[c.key] for run in runs}) == 1]
    columns = [column for column in known if column not in common]
    rows = [(run, [cell(run, column) for column in columns]) for run in runs]
    return Table(columns, rows, [(column.title, cell(runs[0], column)) for column in common])
