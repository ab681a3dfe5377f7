"""The table of runs: which columns, in whose units; none that would be empty, or the same in every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ridgeline.reports import units
from ridgeline.reports.queries import Row


@dataclass(frozen=True)
class Column:
    """A column: its header, the query's column, and how a value is written."""

    title: str
    key: str
    show: Callable[[Any], str] = str
    numeric: bool = True
    hint: str = ""
    setting: bool = False
    """What was asked of the run, not what came of it."""


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    return units.si(value, "B")


COLUMNS = (
    Column("device", "device", numeric=False, setting=True),
    Column("mode", "mode", numeric=False, setting=True),
    Column("execution", "execution", numeric=False, setting=True),
    Column("model", "model", numeric=False, setting=True),
    Column("type", "dtype", numeric=False, setting=True),
    Column("batch", "batch", _count, setting=True),
    Column("prompt", "prompt_tokens", _count, hint="tokens", setting=True),
    Column("generated", "generated_tokens", _count, hint="tokens", setting=True),
    Column("block", "block", _count, hint="tokens a block of a diffusion model", setting=True),
    Column("steps", "steps", _count, setting=True),
    Column("step", "step_ns", units.duration, hint="median of unprofiled steps"),
    Column("tokens/s", "tokens_per_s", units.digits),
    Column("first token", "ttft_ns", units.duration),
    Column("kernels", "kernels", _count, hint="device activities in the trace"),
    Column("device time", "device_time_ns", units.duration, hint="sum of the durations of device activities"),
    Column("FLOP/B", "intensity", units.digits, hint="arithmetic intensity of a step"),
    Column("MFU", "mfu", units.percent, hint="useful FLOPs over wall time over the peak"),
    Column("MBU", "mbu", units.percent, hint="DRAM bytes over wall time over the bandwidth"),
    Column("busy", "busy_share", units.percent, hint="share of the step in which the device works"),
    Column("J/token", "joules_per_token", units.digits),
    Column("peak memory", "peak_memory_bytes", _bytes),
    Column("trace", "recording", numeric=False, hint="partial: it breaks off, and what precedes was loaded"),
    Column("outcome", "outcome", numeric=False),
)


@dataclass(frozen=True)
class Table:
    """Headers, of each run its cells as text, and the settings that all runs share."""

    columns: list[Column]
    rows: list[tuple[Row, list[str]]]
    common: list[tuple[str, str]]


def table(runs: Sequence[Row]) -> Table:
    """The table of these rows of ``sql/runs.sql``; columns without any value are left out, empty cells stay blank."""
    known = [column for column in COLUMNS if any(_known(run, column) for run in runs)]
    common = [column for column in known if _shared(runs, column)]
    columns = [column for column in known if column not in common]
    rows = [(run, [_cell(run, column) for column in columns]) for run in runs]
    return Table(columns, rows, [(column.title, _cell(runs[0], column)) for column in common])


def _known(run: Row, column: Column) -> bool:
    return run[column.key] is not None and (column.key != "outcome" or run["outcome"] != "ok")


def _shared(runs: Sequence[Row], column: Column) -> bool:
    return len(runs) > 1 and column.setting and len({run[column.key] for run in runs}) == 1


def _cell(run: Row, column: Column) -> str:
    value = run[column.key]
    return "" if value is None else column.show(value)
