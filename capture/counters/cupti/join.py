"""Joins the profiler's ranges to the kernels of a trace, in launch order, and notices whether any is missing."""

import csv
import gzip
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from ridgeline.atomic_file import atomic_file
from ridgeline.capture.errors import CaptureError

COLUMNS = ("step", "launch_index", "kernel", "window", "metric", "value")
"""The columns of trace.counters.csv.gz. `launch_index` numbers a step's kernels from 0."""

# A kernel of CUPTI's own: it is in the trace, but the range profiler does not count it.
_CUPTI_KERNEL = re.compile(r"(void )?WaitNs\b")


class JoinError(CaptureError):
    """Ranges and kernels do not match. The message is one line; the step is discarded, and nothing is guessed."""


class Range(NamedTuple):
    """A range of the profiler: its launch number, which runs on from range to range, and a value per metric."""

    number: int
    values: tuple[float, ...]


class Kernel(NamedTuple):
    """A kernel of a trace. `step` is the position of the step that launched it, None outside of every step."""

    name: str
    start_ns: int
    duration_ns: int
    step: int | None


class Row(NamedTuple):
    """A row of trace.counters.csv.gz. `step` is the step's index in its generation."""

    step: int
    launch_index: int
    kernel: str
    window: str
    metric: str
    value: float


class _Arguments(msgspec.Struct):
    correlation: int | None = None
    device: int | None = None


class _Event(msgspec.Struct):
    ph: str = ""
    cat: str = ""
    name: str = ""
    ts: float = 0.0
    dur: float = 0.0
    args: _Arguments = msgspec.field(default_factory=_Arguments)


class _Trace(msgspec.Struct):
    events: list[_Event] = msgspec.field(name="traceEvents")


def kernels(trace: bytes, labels: Sequence[str], device: int | None = None) -> list[Kernel]:
    """Return the kernels of a Kineto trace in start order, without CUPTI's own.

    `labels[i]` names the annotation around step i. With `device`, kernels of other devices are left out. Raises
    JoinError for a trace that cannot be decoded, or that does not have exactly one annotation of each label.
    """
    try:
        events = msgspec.json.decode(trace, type=_Trace).events
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JoinError(f"the profiler's trace cannot be read: {error}") from error
    spans = _spans(events, labels)
    # Kernel and launch share a correlation id.
    launched_ns = {
        event.args.correlation: _ns(event.ts)
        for event in events
        if event.cat in ("cuda_runtime", "cuda_driver") and event.args.correlation is not None
    }
    kernels = []
    for event in events:
        if event.cat != "kernel" or event.ph != "X" or _CUPTI_KERNEL.match(event.name):
            continue
        if device is None or event.args.device in (device, None):
            # A kernel belongs to the step during which the host launched it, on whatever thread. Where the trace lost
            # its launch, the kernel's own start says the step: a counted step waits for all of its kernels.
            at_ns = launched_ns.get(event.args.correlation or -1, _ns(event.ts))
            step = next((step for step, span in enumerate(spans) if at_ns in span), None)
            kernels.append(Kernel(event.name, _ns(event.ts), _ns(event.dur), step))
    return sorted(kernels, key=lambda kernel: kernel.start_ns)


def _spans(events: Sequence[_Event], labels: Sequence[str]) -> list[range]:
    """Return the nanoseconds that the annotation of each label covers. Raises JoinError unless each is there once."""
    named: dict[str, list[_Event]] = {label: [] for label in labels}
    for event in events:
        if event.cat == "user_annotation" and event.name in named:
            named[event.name].append(event)
    for label, own in named.items():
        if len(own) != 1:
            raise JoinError(f"the trace has {len(own)} annotations {label!r}; expected one")
    return [range(_ns(own.ts), _ns(own.ts + own.dur) + 1) for (own,) in named.values()]


def _ns(microseconds: float) -> int:
    """Convert Kineto's microseconds, which have three decimals, to nanoseconds."""
    return round(microseconds * 1000)


def gap(ranges: Sequence[Range]) -> str | None:
    """Return what is missing among the ranges of one step, by their launch numbers; None if nothing is."""
    for before, after in pairwise(ranges):
        if after.number != before.number + 1:
            return f"range {after.number} follows range {before.number}; the counter image may be full"
    return None


def of_step(step: int, ranges: Sequence[Range], kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return the kernels of `step` in start order: the i-th range counted the i-th of them.

    While ranges are counted, kernels run one at a time, in the order in which they were launched, on all streams.
    `kernels` are in start order; those of other steps are passed over. Raises JoinError for a gap in the ranges and for
    another number of kernels than ranges.
    """
    if missing := gap(ranges):
        raise JoinError(missing)
    own = [kernel for kernel in kernels if kernel.step == step]
    if len(own) != len(ranges):
        raise JoinError(f"{len(ranges)} ranges for {len(own)} kernels in the trace")
    return own


def difference(ours: Sequence[str], others: Sequence[str]) -> str | None:
    """Return where the kernels of two steps first differ, in order and by name; None if they are the same."""
    for index, (one, other) in enumerate(zip(ours, others, strict=False)):
        if one != other:
            return f"kernel {index} is {one[:60]!r} in one and {other[:60]!r} in the other"
    return None if len(ours) == len(others) else f"{len(ours)} kernels in one and {len(others)} in the other"


def rows(
    step: int, window: str, metrics: Sequence[str], kernels: Sequence[Kernel], ranges: Sequence[Range]
) -> Iterator[Row]:
    """Yield the rows of one step and window, for finite values only."""
    for index, (kernel, counted) in enumerate(zip(kernels, ranges, strict=True)):
        for metric, value in zip(metrics, counted.values, strict=True):
            if math.isfinite(value):
                yield Row(step, index, kernel.name, window, metric, value)


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a gzipped CSV, whole or not at all. Whole numbers are written without a decimal point."""
    with atomic_file(path) as temporary, gzip.open(temporary, "wt", compresslevel=6, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow((*row[:-1], int(row.value) if row.value.is_integer() else repr(row.value)))


def read(path: Path) -> list[Row]:
    """Return the rows of a trace.counters.csv.gz. Raises JoinError for a file with other columns."""
    with gzip.open(path, "rt", newline="") as file:
        lines = csv.reader(file)
        if tuple(next(lines, ())) != COLUMNS:
            raise JoinError(f"{path.name} has other columns; expected {','.join(COLUMNS)}")
        return [
            Row(int(step), int(launch_index), kernel, window, metric, float(value))
            for step, launch_index, kernel, window, metric, value in lines
        ]
