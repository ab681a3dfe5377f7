"""Rows of the table ``memory``: allocated memory over time, from the changes that ``profile_memory`` records."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.ranks import processes
from ridgeline.analyze.attribution.spans import ROOT, Int64, enclosing, nearest, take
from ridgeline.analyze.attribution.steps import open_windows
from ridgeline.analyze.reading.events import NO_TIME_NS
from ridgeline.analyze.reading.trace import Trace

BINS = 512
"""Parts of equal length into which the time of a device is cut: a trace has a change for every tensor."""

DEVICE_TYPES = {0: "cpu", 1: "cuda", 6: "hip", 9: "xla", 12: "xpu", 13: "mps", 15: "hpu", 19: "mtia", 20: "privateuse1"}
"""Kinds of devices with an allocator by their numbers in ``c10/core/DeviceType.h``. AMD devices are `cuda` too."""

ALLOCATORS = frozenset(
    f"aten::{name}" for name in ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_")
)
"""Operators that allocate for the operator around them."""

_DEVICE = ("rank", "device_kind", "device_index")


def memory_rows(trace: Trace, changes: pl.DataFrame, steps: Collection[int]) -> pl.DataFrame:
    """Return a row for each device, step and bin of time in which memory changed, in order of time.

    ``changes`` is ``trace.memory``; ``steps`` are rows of ``trace.annotations``. A change belongs to the innermost step
    of its process that was open then, on whatever thread. Changes without totals or without a time are left out.
    """
    changes = changes.filter(pl.col("allocated") >= 0, pl.col("start_ns") != NO_TIME_NS)
    hosts = processes(trace)
    process, at_ns = hosts.of(changes), changes["start_ns"].to_numpy()
    is_step = np.zeros(len(trace.annotations), dtype=bool)
    is_step[list(steps)] = True
    kinds = pl.col("device_type").replace_strict(DEVICE_TYPES, default="unknown", return_dtype=pl.String)
    placed = changes.with_columns(
        rank=pl.Series(trace.rank + process, dtype=pl.Int64),
        device_kind=kinds,
        device_index=pl.col("device").clip(0),
        step_id=pl.Series(open_windows(trace, is_step, hosts, process, at_ns), dtype=pl.Int64).replace(ROOT, None),
        before=pl.col("allocated") - pl.col("bytes"),
    ).sort(*_DEVICE, "start_ns", maintain_order=True)
    # of a bin's length, so that the last change lies in the last bin
    first_ns = pl.col("start_ns").min().over(_DEVICE)
    length_ns = (pl.col("start_ns").max().over(_DEVICE) - first_ns) // BINS + 1
    placed = placed.with_columns(bin=(pl.col("start_ns") - first_ns) // length_ns).with_row_index("row")
    rows = placed.group_by(*_DEVICE, "step_id", "bin", maintain_order=True).agg(
        pl.col("start_ns").first(),
        pl.col("start_ns").last().alias("end_ns"),
        changes=pl.len().cast(pl.Int64),
        before_bytes=pl.col("before").first(),
        after_bytes=pl.col("allocated").last(),
        peak_bytes=pl.max_horizontal(pl.col("allocated").max(), pl.col("before").first()),
        reserved_bytes=pl.col("reserved").filter(pl.col("device_kind") != "cpu", pl.col("reserved") >= 0).max(),
        allocated_bytes=pl.col("bytes").clip(0).sum(),
        largest_bytes=pl.col("bytes").max(),
        largest=pl.col("row").get(pl.col("bytes").arg_max()),
    )
    operators = _operators(trace, placed[rows["largest"].to_numpy()])
    has_any = pl.col("largest_bytes") > 0  # a bin may only free
    return rows.with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("memory_id"),
        largest_bytes=pl.when(has_any).then("largest_bytes"),
        largest_operator=pl.when(has_any).then(pl.Series(operators, dtype=pl.String)),
    ).drop("bin", "largest")


def _operators(trace: Trace, changes: pl.DataFrame) -> list[str | None]:
    """The operator around each change, innermost first, that does more than allocate; None outside operators."""
    operators = trace.operators
    ends = [frame["start_ns"].to_numpy() + frame["duration_ns"].to_numpy() for frame in (operators, changes)]
    thread, start_ns = (
        np.concatenate([operators[name].to_numpy(), changes[name].to_numpy()]) for name in ("thread", "start_ns")
    )
    is_change = np.arange(len(thread)) >= len(operators)
    parent = enclosing(thread, start_ns, np.concatenate(ends), is_change.astype(np.int8))
    names = np.append(operators["name"].to_numpy(), np.full(len(changes), ROOT))
    allocates: Int64 = np.array([name in ALLOCATORS for name in trace.names], dtype=np.int64)
    works = ~is_change & (take(allocates, names, 0) == 0)
    # an allocation of the program's own has no other operator
    found = nearest(parent, works)[len(operators) :]
    found = np.where(found == ROOT, nearest(parent, ~is_change)[len(operators) :], found)
    return [trace.names[code] if code != ROOT else None for code in take(names, found).tolist()]
