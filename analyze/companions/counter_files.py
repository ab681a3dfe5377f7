"""Files of hardware counters beside a trace: ours (``X.counters.csv``) and Nsight Compute's raw CSV (``X.ncu.csv``)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from ridgeline.analyze.companions.size_limit import LARGEST_BYTES, read_bounded
from ridgeline.analyze.errors import CompanionError
from ridgeline.capture.counters import ncu_csv

COLUMNS = {
    "step": pl.Int64, "launch_index": pl.Int64, "kernel": pl.String, "window": pl.String, "metric": pl.String,
    "value": pl.Float64,
}  # fmt: skip
"""The columns of ``X.counters.csv``; ``launch_index`` numbers the kernels of a step, without copies and fills."""

_LONGEST_HEADER = 1 << 10

KEYS = ["step", "launch_index"]

_UNREADABLE = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError, csv.Error)


@dataclass(frozen=True)
class CounterFile:
    """Counters by step and launch: ``values`` has ``step`` (null if unknown), ``launch_index``, ``metric``, ``value``.

    ``kernels`` has ``step``, ``launch_index`` and ``kernel``, in that order. ``comparable`` makes of a kernel's name in
    the trace what the file's names are compared with.
    """

    name: str
    source: str
    kernels: pl.DataFrame
    values: pl.DataFrame
    comparable: Callable[[str], str] = str


def read_beside(
    cupti: Path | None, ncu: Path | None, ncu_step: int | None = None, most_bytes: int = LARGEST_BYTES
) -> tuple[list[CounterFile], list[str]]:
    """The counter files beside a trace, and for each that cannot be used why: the trace is good without it."""
    readers: list[tuple[Path | None, Callable[..., CounterFile]]]
    readers = [(cupti, read_cupti), (ncu, partial(read_ncu, step=ncu_step))]
    files, unusable = [], []
    for path, read in readers:
        try:
            files += [read(path, most_bytes=most_bytes)] if path else []
        except CompanionError as e:
            unusable.append(str(e))
    return files, unusable


def read_cupti(path: Path, *, most_bytes: int = LARGEST_BYTES) -> CounterFile:
    """Our own file; a metric counted in several windows is the first one's. Raises :class:`CompanionError`."""
    form = f"expected the columns {', '.join(COLUMNS)}"
    try:
        data = read_bounded(path, most_bytes)
        columns = _columns(data)
        if columns != list(COLUMNS):
            has = f"has the columns {', '.join(columns)[:200]}" if columns else "is empty"
            raise CompanionError(f"{path.name}: {has}: {form}")
        rows = pl.read_csv(data, schema_overrides=COLUMNS)
    except _UNREADABLE as e:
        raise CompanionError(f"{path.name}: {_said(e, form)}") from None
    if rows.select(pl.exclude("window", "value")).null_count().sum_horizontal().item():
        raise CompanionError(f"{path.name}: has rows without a step, launch, kernel or metric: {form}")
    kernels = rows.select(*KEYS, "kernel").unique().sort(KEYS)
    if (twice := kernels.filter(pl.struct(KEYS).is_duplicated())).height:
        step, launch, _ = twice.row(0)
        raise CompanionError(f"{path.name}: launch {launch} of step {step} has two names: expected one in every window")
    values = rows.filter(pl.col("value").is_finite()).unique([*KEYS, "metric"], keep="first", maintain_order=True)
    return CounterFile(path.name, "cupti", kernels, values.select(*KEYS, "metric", "value"))


def read_ncu(path: Path, step: int | None = None, *, most_bytes: int = LARGEST_BYTES) -> CounterFile:
    """Return the metrics that are sums in Nsight Compute's raw CSV of one step, which does not name its ``step``.

    Values are in bytes, nanoseconds and counts. Raises :class:`CompanionError` for a file that is not such a CSV.
    """
    try:
        kernels = ncu_csv.parse(read_bounded(path, most_bytes).decode())
    except ncu_csv.NsightError as e:
        raise CompanionError(f"{path.name}: {e}") from None
    except _UNREADABLE as e:
        raise CompanionError(f"{path.name}: {_said(e, ncu_csv.EXPECTED)}") from None
    launches = list(enumerate(kernel for kernel in kernels if kernel.name))
    values = [
        (step, launch_index, metric, value)
        for launch_index, kernel in launches
        for metric, value in kernel.metrics.items()
        if metric.endswith(".sum")
    ]
    if not values:
        raise CompanionError(f"{path.name}: has no metric that is a sum: {ncu_csv.EXPECTED}")
    keys = {"step": pl.Int64, "launch_index": pl.Int64}
    return CounterFile(
        path.name,
        "ncu",
        pl.DataFrame(
            [(step, launch_index, kernel.name) for launch_index, kernel in launches],
            schema={**keys, "kernel": pl.String},
            orient="row",
        ),
        pl.DataFrame(values, schema={**keys, "metric": pl.String, "value": pl.Float64}, orient="row"),
        ncu_csv.own_name,
    )


def _columns(data: bytes) -> list[str]:
    """The names in the first line, without reading more than those of such a file take."""
    line = io.TextIOWrapper(io.BytesIO(data[: data.find(b"\n") + 1 or len(data)][:_LONGEST_HEADER]), "utf-8")
    return next(csv.reader(line), [])


def _said(error: Exception, form: str) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return f"{(str(error).splitlines() or [type(error).__name__])[0]}: {form}"
