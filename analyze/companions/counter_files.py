"""Files of hardware counters beside a trace: ours (``X.counters.csv``) and Nsight Compute's raw CSV (``X.ncu.csv``)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec
import polars as pl

from ridgeline.analyze.companions.discovery import Source
from ridgeline.analyze.companions.size_limit import companion_errors, read_bounded
from ridgeline.analyze.errors import CompanionError
from ridgeline.analyze.replays.kernel_names import identifier
from ridgeline.analyze.resources.limits import STANDARD, Limits
from ridgeline.capture.counters import ncu_csv

COLUMNS = {
    "step": pl.Int64, "launch_index": pl.Int64, "kernel": pl.String, "window": pl.String, "metric": pl.String,
    "value": pl.Float64,
}  # fmt: skip
"""The columns of ``X.counters.csv``; ``launch_index`` numbers the kernels of a step, without copies and fills."""

_LONGEST_HEADER = 1 << 10

KEYS = ["step", "launch_index"]


class CounterFile(msgspec.Struct, frozen=True):
    """Counters by step and launch: ``values`` has ``step`` (null if unknown), ``launch_index``, ``metric``, ``value``.

    ``kernels`` has ``step``, ``launch_index`` and ``kernel``, in that order. ``comparable`` shortens a kernel's name in
    the trace to the form that the file has.
    """

    name: str
    source: str
    kernels: pl.DataFrame
    values: pl.DataFrame
    comparable: Callable[[str], str] = str


def read_counter_files(
    source: Source, ncu_step: int | None = None, limits: Limits = STANDARD
) -> tuple[list[CounterFile], list[str]]:
    """Return the counter files of a source, and a message for each that cannot be used: the trace is good without it.

    ``ncu_step`` is the step that Nsight Compute counted.
    """
    files, messages = [], []
    readers: Iterable[tuple[Path | None, Callable[..., CounterFile]]] = (
        (source.counters, read_cupti),
        (source.ncu, partial(read_ncu, step=ncu_step)),
    )
    for path, read in readers:
        if path:
            try:
                files.append(read(path, limits=limits))
            except CompanionError as e:
                messages.append(str(e))
    return files, messages


def read_cupti(path: Path, limits: Limits = STANDARD) -> CounterFile:
    """Return the counters of ``X.counters.csv``; a metric counted in several windows is taken from the first.

    Raises :class:`CompanionError`.
    """
    expected = f"expected the columns {', '.join(COLUMNS)}"
    with companion_errors(path.name, expected):
        data = read_bounded(path, limits)
        # a header with thousands of columns would cost polars a thousand times its bytes
        first_line = data[: data.find(b"\n") + 1 or len(data)][:_LONGEST_HEADER]
        columns = next(csv.reader(io.TextIOWrapper(io.BytesIO(first_line), "utf-8")), [])
        if columns != list(COLUMNS):
            raise ValueError(f"has the columns {', '.join(columns)[:200]}" if columns else "is empty")
        rows = pl.read_csv(data, schema_overrides=COLUMNS)
        if rows.select(pl.exclude("window", "value")).null_count().sum_horizontal().item():
            raise ValueError("has rows without a step, launch, kernel or metric")
    kernels = rows.select(*KEYS, "kernel").unique().sort(KEYS)
    if (repeated := kernels.filter(pl.struct(KEYS).is_duplicated())).height:
        step, launch, _ = repeated.row(0)
        raise CompanionError(f"{path.name}: launch {launch} of step {step} has two names: expected one in every window")
    values = rows.filter(pl.col("value").is_finite()).unique([*KEYS, "metric"], keep="first", maintain_order=True)
    return CounterFile(path.name, "cupti", kernels, values.select(*KEYS, "metric", "value"))


def read_ncu(path: Path, step: int | None = None, limits: Limits = STANDARD) -> CounterFile:
    """Return the metrics that are sums in Nsight Compute's raw CSV of one step, which does not name its ``step``.

    Values are in bytes, nanoseconds and counts. Raises :class:`CompanionError` for a file that is not such a CSV.
    """
    try:
        with companion_errors(path.name, ncu_csv.EXPECTED):
            kernels = ncu_csv.parse(read_bounded(path, limits).decode())
    except ncu_csv.NsightError as e:
        raise CompanionError(f"{path.name}: {e}") from None
    # launches are numbered without the rows that have no kernel, such as the units row
    launches = list(enumerate(kernel for kernel in kernels if kernel.name))
    values = [
        (step, launch_index, metric, value)
        for launch_index, kernel in launches
        for metric, value in kernel.metrics.items()
        if metric.endswith(".sum")
    ]
    if not values:
        raise CompanionError(f"{path.name}: has no metric that is a sum: {ncu_csv.EXPECTED}")
    keys = dict.fromkeys(KEYS, pl.Int64)
    names = [(step, launch_index, kernel.name) for launch_index, kernel in launches]
    kernel_frame = pl.DataFrame(names, schema={**keys, "kernel": pl.String}, orient="row")
    value_frame = pl.DataFrame(values, schema={**keys, "metric": pl.String, "value": pl.Float64}, orient="row")
    return CounterFile(path.name, "ncu", kernel_frame, value_frame, _own_name)


def _own_name(kernel: str) -> str:
    # a trace keeps names too long for its demangler as they are
    return ncu_csv.own_name(identifier(kernel) if kernel.startswith("_Z") else kernel)
