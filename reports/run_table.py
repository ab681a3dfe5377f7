"""The table of runs: which columns, in whose units, and none that would be empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reports import units
from reports.queries import Row


@dataclass(frozen=True)
class Column:
    """A column: its header, the query's column, and how a value is written."""

    title: str
    key: str
    show: Callable[[Any], str] = str
    numeric: bool = True
    hint: str = ""


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    return units.si(value, "B")


COLUMNS = (
    Column("device", "device", numeric=False),
    Column("mode", "mode", numeric=False),
    Column("execution", "execution", numeric=False),
    Column("model", "model", numeric=False),
    Column("type", "dtype", numeric=False),
    Column("batch", "batch", _count),
    Column("prompt", "prompt_tokens", _count, hint="tokens"),
    Column("generated", "generated_tokens", _count, hint="tokens"),
    Column("block", "block", _count, hint="tokens a block of a diffusion model"),
    Column("steps", "steps", _count),
    Column("step", "step_ns", units.duration, hint="median of unprofiled steps, else wall time of the profiled ones"),
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
    Column("outcome", "outcome", numeric=False),
)


@dataclass(frozen=True)
class Table:
    """Headers, and of each run its cells as text."""

    columns: list[Column]
    rows: list[tuple[Row, list[str]]]


def table(runs: Sequence[Row]) -> Table:
    """The table of these rows of ``sql/runs.sql``; columns without any value are left out, empty cells stay blank."""
    columns = [column for column in COLUMNS if any(_known(run, column) for run in runs)]
    return Table(columns, [(run, [_cell(run, column) for column in columns]) for run in runs])


def _known(run: Row, column: Column) -> bool:
    return run[column.key] is not None and (column.key != "outcome" or run["outcome"] != "ok")


def _cell(run: Row, column: Column) -> str:
    value = run[column.key]
    return "" if value is None else column.show(value)
