"""Joins the profiler's ranges to the kernels of a trace, in launch order, and notices whether any is missing."""

import csv
import gzip
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """A kernel of a trace. `step` is the position of the step that launched it, None outside of every step.

    `launched_ns` is the host time of its launch, its start where the trace lost the launch.
    """

    name: str
    start_ns: int
    duration_ns: int
    step: int | None
    launched_ns: int = 0
    device: int | str | None = None


class Row(NamedTuple):
    """A row of trace.counters.csv.gz. `step` is the step's index in its generation."""

    step: int
    launch_index: int
    kernel: str
    window: str
    metric: str
    value: float


class Arguments(msgspec.Struct):
    """The arguments of an event that counting needs. Other events than kernels, copies and launches may have texts."""

    correlation: int | str | None = None
    device: int | str | None = None
    stream: int | str | None = None
    bytes: int | float | str | None = None


class Event(msgspec.Struct):
    """An event of a Kineto trace. `ts` and `dur` are in microseconds."""

    ph: str = ""
    cat: str = ""
    name: str = ""
    ts: float = 0.0
    dur: float = 0.0
    args: Arguments = msgspec.field(default_factory=Arguments)


class _Trace(msgspec.Struct):
    events: list[Event] = msgspec.field(name="traceEvents")


def kernels(trace: bytes, labels: Sequence[str]) -> list[Kernel]:
    """Return the kernels of a Kineto trace in start order, of all devices, without CUPTI's own.

    `labels[i]` names the annotation around step i. Raises JoinError for a trace that cannot be decoded, or that does
    not have exactly one annotation of each label.
    """
    decoded = events(trace)
    step_at = steps(decoded, labels)
    launched = launches(decoded)
    kernels = []
    for event in decoded:
        if event.cat == "kernel" and event.ph == "X" and not _CUPTI_KERNEL.match(event.name):
            # A kernel belongs to the step during which the host launched it, on whatever thread. Where the trace lost
            # its launch, the kernel's own start says the step: a counted step waits for all of its kernels.
            start_ns = ns(event.ts)
            at_ns = launched.get(event.args.correlation, start_ns)
            step = step_at(at_ns)
            kernels.append(Kernel(event.name, start_ns, ns(event.dur), step, at_ns, event.args.device))
    return sorted(kernels, key=lambda kernel: kernel.start_ns)


def events(trace: bytes) -> list[Event]:
    """Return the events of a Kineto trace. Raises JoinError for a trace that cannot be decoded."""
    try:
        return msgspec.json.decode(trace, type=_Trace).events
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JoinError(f"the profiler's trace cannot be read: {error}") from error


def launches(events: Iterable[Event]) -> dict[int | str | None, int]:
    """Return when the host made each launch, in nanoseconds, by the correlation that its kernel shares."""
    return {
        event.args.correlation: ns(event.ts)
        for event in events
        if event.cat in ("cuda_runtime", "cuda_driver") and event.args.correlation is not None
    }


def steps(events: Iterable[Event], labels: Sequence[str]) -> Callable[[int], int | None]:
    """Return a function from a host time, in nanoseconds, to the position of the label whose annotation covers it.

    Steps do not overlap. Raises JoinError unless there is exactly one annotation of each label.
    """
    named: dict[str, list[Event]] = {label: [] for label in labels}
    for event in events:
        if event.cat == "user_annotation" and event.name in named:
            named[event.name].append(event)
    for label, own in named.items():
        if len(own) != 1:
            raise JoinError(f"the trace has {len(own)} annotations {label!r}; expected one")
    spans = sorted((ns(own.ts), ns(own.ts + own.dur), step) for step, (own,) in enumerate(named.values()))
    starts = [start for start, _, _ in spans]

    def step_at(at_ns: int) -> int | None:
        _, end, step = spans[bisect_right(starts, at_ns) - 1] if starts else (0, -1, -1)
        return step if starts and starts[0] <= at_ns <= end else None

    return step_at


def ns(microseconds: float) -> int:
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
    if ranges and not kernels:
        raise JoinError("the trace has no kernel; look for another profiler (nsys) that receives CUPTI's activities")
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
