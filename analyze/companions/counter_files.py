"""Files of hardware counters beside a trace: ours (``X.counters.csv``) and Nsight Compute's raw CSV (``X.ncu.csv``)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from ridgeline.analyze.companions.size_limit import LARGEST_BYTES, read_bounded
from ridgeline.analyze.errors import CompanionError

COLUMNS = {
    "step": pl.Int64, "launch_index": pl.Int64, "kernel": pl.String, "window": pl.String, "metric": pl.String,
    "value": pl.Float64,
}  # fmt: skip
"""The columns of ``X.counters.csv``; ``launch_index`` numbers the kernels of a step, without copies and fills."""

MOST_COLUMNS = 5_000
"""More than Nsight Compute has metrics: each costs a reader of CSV a thousand times its byte."""
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
    """Nsight Compute's ``--csv --page raw`` of one step, whose number it does not say: the metrics that are sums.

    Values in bytes, nanoseconds and counts, whatever the units row says. Raises :class:`CompanionError`.
    """
    form = "expected what `ncu --csv --page raw` writes"
    try:
        data = read_bounded(path, most_bytes)
        header = _NCU_HEADER.search(data)
        if header and header[0].count(b",") > MOST_COLUMNS:
            raise CompanionError(f"{path.name}: has {header[0].count(b',') + 1:,} columns: {form}")
        table = pl.read_csv(
            data[header.start() :] if header else b"",
            infer_schema=False,
            comment_prefix="==",
            truncate_ragged_lines=True,
        )
    except _UNREADABLE as e:
        raise CompanionError(f"{path.name}: {_said(e, form)}") from None
    sums = [name for name in table.columns if "__" in name and name.endswith(".sum")]
    if not sums or table.is_empty() or table["Kernel Name"][0]:
        raise CompanionError(f"{path.name}: has no units row, or no metric that is a sum: {form}")
    units = table.select(sums).row(0)
    rows = (
        table.slice(1)
        .select("Kernel Name", *(_number(name, unit or "") for name, unit in zip(sums, units, strict=True)))
        .filter((pl.col("Kernel Name").fill_null("") != "") & pl.any_horizontal(pl.col(sums).is_not_null()))
    )
    rows = rows.select(
        pl.lit(step, dtype=pl.Int64).alias("step"), pl.int_range(pl.len()).alias("launch_index"),
        pl.col("Kernel Name").alias("kernel"), *sums,
    )  # fmt: skip
    values = rows.unpivot(sums, index=KEYS, variable_name="metric").filter(pl.col("value").is_finite())
    kernels = rows.select(*KEYS, "kernel")
    return CounterFile(path.name, "ncu", kernels, values, own_name)


_NCU_HEADER = re.compile(rb'^(?:.*,)?"?Kernel Name"?(?:,.*)?$', re.MULTILINE)
_PREFIXED = re.compile(r"([KMGT]?)(?:byte|inst|sector|request|cycle|warp|thread)s?")
_PREFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SECOND = re.compile(r"([mun]?)s(?:ec(?:ond)?)?")
_NS = {"": 1e9, "m": 1e6, "u": 1e3, "n": 1.0}


def _number(name: str, unit: str) -> pl.Expr:
    return pl.col(name).str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False) * scale(unit)


def scale(unit: str) -> float:
    """What a value in Nsight Compute's unit is multiplied with to be in bytes, nanoseconds or counts.

    >>> scale("Kbyte"), scale("usecond"), scale("")
    (1000.0, 1000.0, 1.0)
    """
    if found := _PREFIXED.fullmatch(unit):
        return _PREFIXES[found[1]]
    seconds = _SECOND.fullmatch(unit)
    return _NS[seconds[1]] if seconds else 1.0


def own_name(kernel: str) -> str:
    """A kernel's function without result, namespaces, template and arguments.

    >>> own_name("void at::native::(anonymous namespace)::reduce<float>(int)")
    'reduce'
    """
    plain = re.sub(r"\(anonymous namespace\)|<unnamed>", "unnamed", kernel)
    words = re.split(r"[<(]", plain, maxsplit=1)[0].split("::")[-1].split()
    return words[-1] if words else ""


def _columns(data: bytes) -> list[str]:
    """The names in the first line, without reading more than those of such a file take."""
    line = io.TextIOWrapper(io.BytesIO(data[: data.find(b"\n") + 1 or len(data)][:_LONGEST_HEADER]), "utf-8")
    return next(csv.reader(line), [])


def _said(error: Exception, form: str) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return f"{(str(error).splitlines() or [type(error).__name__])[0]}: {form}"
