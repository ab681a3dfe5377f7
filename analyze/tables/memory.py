"""Rows of the table ``memory``: allocated memory over time, from the changes that ``profile_memory`` records."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.ranks import processes
from ridgeline.analyze.attribution.spans import ROOT, Int64, distinct, enclosing, holds_a_moment, nearest, take
from ridgeline.analyze.attribution.steps import open_windows
from ridgeline.analyze.reading.events import LARGEST_DEVICE, NO_TIME_NS
from ridgeline.analyze.reading.trace import Trace

BINS = 512
"""Parts of equal length into which the time of a device is cut: a trace has a change for every tensor."""

DEVICE_TYPES = {0: "cpu", 1: "cuda", 6: "hip", 9: "xla", 12: "xpu", 13: "mps", 15: "hpu", 19: "mtia", 20: "privateuse1"}
"""Kinds of devices with an allocator by their numbers in ``c10/core/DeviceType.h``. AMD devices are `cuda` too."""

ALLOCATORS = frozenset(
    f"aten::{name}" for name in ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_")
)
"""Operators that allocate for the operator around them."""

_DEVICE = ("process", "device_key")
_BIN = (*_DEVICE, "bin", "stretch")


def memory_rows(trace: Trace, changes: pl.DataFrame, steps: Collection[int]) -> pl.DataFrame:
    """Return a row for each device, step and bin of time in which memory changed, by device in order of time.

    ``changes`` is ``trace.memory``; ``steps`` are rows of ``trace.annotations``. A change belongs to the innermost step
    of its process that was open then, on whatever thread. Changes without totals or without a time are left out.
    """
    changes = changes.filter(pl.col("allocated") >= 0, pl.col("start_ns") != NO_TIME_NS)
    hosts = processes(trace)
    is_step = np.zeros(len(trace.annotations), dtype=bool)
    is_step[list(steps)] = True
    binned = _binned(changes.with_columns(process=pl.Series(hosts.of(changes))), trace.annotations.filter(is_step))
    at_largest = pl.col("bytes").arg_max()
    rows = binned.group_by(*_BIN, maintain_order=True).agg(
        pl.col("device_type", "device", "start_ns").first(),
        end_ns=pl.col("start_ns").last(),
        changes=pl.len().cast(pl.Int64),
        before_bytes=(pl.col("allocated") - pl.col("bytes")).first(),
        after_bytes=pl.col("allocated").last(),
        peak_bytes=pl.col("allocated").max(),
        reserved_bytes=pl.col("reserved").max(),
        allocated_bytes=pl.col("bytes").clip(0).sum(),
        largest_bytes=pl.col("bytes").max(),
        thread=pl.col("thread").get(at_largest),
        at_ns=pl.col("start_ns").get(at_largest),
    )
    process = rows["process"].to_numpy()
    step = open_windows(trace, is_step, hosts, process, rows["start_ns"].to_numpy())
    operators = _operators(trace, rows["thread"].to_numpy(), rows["at_ns"].to_numpy())
    reserves = (pl.col("device_type") != 0) & (pl.col("reserved_bytes") >= 0)
    allocates = pl.col("largest_bytes") > 0  # a bin may only release
    return rows.select(
        *("start_ns", "end_ns", "changes", "before_bytes", "after_bytes", "allocated_bytes"),
        memory_id=pl.int_range(pl.len(), dtype=pl.Int64),
        rank=pl.Series(trace.rank + process),
        device_kind=pl.col("device_type").replace_strict(DEVICE_TYPES, default="unknown", return_dtype=pl.String),
        device_index=pl.col("device").clip(0),
        step_id=pl.Series(step).replace(ROOT, None),
        peak_bytes=pl.max_horizontal("peak_bytes", "before_bytes"),
        reserved_bytes=pl.when(reserves).then("reserved_bytes"),
        largest_bytes=pl.when(allocates).then("largest_bytes"),
        largest_operator=pl.when(allocates).then(pl.Series(operators, dtype=pl.String)),
    )


def _binned(changes: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """The changes, with the columns ``_BIN``, by device in order of time.

    In a ``stretch`` of time none of the ``windows`` begins or ends, so that all of its changes belong to one step.
    """
    edges = distinct(np.concatenate([windows["start_ns"], windows["start_ns"] + windows["duration_ns"] + 1]))
    stretch = np.searchsorted(edges, changes["start_ns"].to_numpy(), side="right")
    # one number for each device, since a trace has a change for every tensor
    device_key = (pl.col("device_type").clip(-1, 99) + 1) * (1 << 33) + pl.col("device").clip(0, LARGEST_DEVICE)
    keyed = changes.with_columns(device_key=device_key, stretch=pl.Series(stretch))
    start_ns = pl.col("start_ns")
    # the last change lies in the last bin
    bins = keyed.group_by(*_DEVICE).agg(
        first_ns=start_ns.min(), length_ns=(start_ns.max() - start_ns.min()) // BINS + 1
    )
    placed = keyed.join(bins, on=_DEVICE, maintain_order="left")
    return placed.with_columns(bin=(start_ns - pl.col("first_ns")) // pl.col("length_ns")).sort(
        *_DEVICE, "start_ns", maintain_order=True
    )


def _operators(trace: Trace, thread: Int64, at_ns: Int64) -> list[str | None]:
    """The operator around each moment of a thread, innermost first, that does more than allocate; None outside any."""
    columns = (trace.operators[name].to_numpy() for name in ("name", "thread", "start_ns", "duration_ns"))
    name, of_thread, start_ns, duration_ns = columns
    # Few of a large trace's operators hold a moment.
    held = holds_a_moment(of_thread, start_ns, start_ns + duration_ns + 1, thread, at_ns)
    name, of_thread, start_ns, duration_ns = (column[held] for column in (name, of_thread, start_ns, duration_ns))
    parent = enclosing(
        np.concatenate([of_thread, thread]),
        np.concatenate([start_ns, at_ns]),
        np.concatenate([start_ns + duration_ns, at_ns]),
        np.repeat(np.arange(2, dtype=np.int8), (len(name), len(thread))),
    )
    is_operator = np.arange(len(parent)) < len(name)
    allocates = np.array([each in ALLOCATORS for each in trace.names], dtype=np.int64)
    works = is_operator & (take(allocates, np.append(name, np.full(len(thread), ROOT)), 0) == 0)
    found = nearest(parent, works)[len(name) :]
    # an allocation that the program asks for has no other operator
    found = np.where(found == ROOT, nearest(parent, is_operator)[len(name) :], found)
    return [trace.names[code] if code != ROOT else None for code in take(name, found).tolist()]
