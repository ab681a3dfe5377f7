"""Ranges to kernels: which kernels of a profiler's trace are ranges, of which step, and whether any is missing."""

import csv
import gzip
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from ridgeline.atomic_file import atomic_file
from ridgeline.capture.errors import CaptureError

COLUMNS = ("step", "launch_index", "kernel", "window", "metric", "value")
"""The columns of trace.counters.csv.gz. `launch_index` counts a step's kernels from 0."""

_WAIT = re.compile(r"(void )?WaitNs\b")


class JoinError(CaptureError):
    """Ranges and kernels do not fit each other, in one line. Nothing is guessed then."""


class Range(NamedTuple):
    """A range of the profiler: its running launch number, and a value for each metric."""

    number: int
    values: tuple[float, ...]


class Kernel(NamedTuple):
    """A kernel of a trace. `step` is the position of the labelled step that launched it, None where that is unknown."""

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


class _Event(msgspec.Struct):
    ph: str = ""
    cat: str = ""
    name: str = ""
    ts: float = 0.0
    dur: float = 0.0
    args: _Arguments = msgspec.field(default_factory=_Arguments)


class _Trace(msgspec.Struct):
    events: list[_Event] = msgspec.field(name="traceEvents")


def kernels(trace: bytes, labels: Sequence[str]) -> list[Kernel]:
    """The kernels of a Kineto trace in start order, without CUPTI's own; `labels[i]` is the annotation around step i.

    Raises JoinError for a trace that cannot be read, or has not exactly one annotation of each label.
    """
    try:
        events = msgspec.json.decode(trace, type=_Trace).events
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JoinError(f"the profiler's trace cannot be read: {error}") from error
    spans = _spans(events, labels)
    launches: dict[int | None, int] = {
        event.args.correlation: _ns(event.ts)
        for event in events
        if event.cat in ("cuda_runtime", "cuda_driver") and event.args.correlation is not None
    }
    found = [
        Kernel(event.name, _ns(event.ts), _ns(event.dur), _step(launches.get(event.args.correlation), spans))
        for event in events
        if event.cat == "kernel" and event.ph == "X" and not _WAIT.match(event.name)
    ]
    return sorted(found, key=lambda kernel: kernel.start_ns)


def _ns(microseconds: float) -> int:
    """Kineto's microseconds with three decimals, as nanoseconds."""
    return round(microseconds * 1000)


def _spans(events: Iterable[_Event], labels: Sequence[str]) -> list[range]:
    """The time of each label's annotation on the host, in nanoseconds."""
    position = {label: index for index, label in enumerate(labels)}
    found = [event for event in events if event.cat == "user_annotation" and event.name in position]
    counts = Counter(event.name for event in found)
    if odd := [label for label in labels if counts[label] != 1]:
        raise JoinError(f"the trace has {counts[odd[0]]} annotations {odd[0]!r}; expected one")
    found.sort(key=lambda event: position[event.name])
    return [range(_ns(event.ts), _ns(event.ts + event.dur) + 1) for event in found]


def _step(launched_ns: int | None, spans: Sequence[range]) -> int | None:
    """The position of the step during which something was launched."""
    if launched_ns is None:
        return None
    return next((step for step, span in enumerate(spans) if launched_ns in span), None)


def gap(ranges: Sequence[Range]) -> str | None:
    """What is missing among one step's ranges, judged by their running numbers; None when nothing is."""
    for before, after in pairwise(ranges):
        if after.number != before.number + 1:
            return f"range {after.number} follows range {before.number}; the counter image may be full"
    return None


def by_step(steps: Sequence[Sequence[Range]], kernels: Sequence[Kernel]) -> list[list[Kernel]]:
    """The kernels of each step: in start order, as many as the step has ranges.

    Raises JoinError for a gap in a step's ranges, for counts that differ, and for a kernel that its launch places in
    another step than its position does.
    """
    for position, ranges in enumerate(steps):
        if missing := gap(ranges):
            raise JoinError(f"step {position} of the window: {missing}")
    launched = Counter(kernel.step for kernel in kernels)
    for position, ranges in enumerate(steps):
        if None not in launched and launched[position] != len(ranges):
            raise JoinError(
                f"step {position} of the window: {len(ranges)} ranges for {launched[position]} kernels in the trace"
            )
    if (total := sum(map(len, steps))) != len(kernels):
        raise JoinError(f"{total} ranges for {len(kernels)} kernels in the trace")
    return list(_cut(steps, kernels))


def _cut(steps: Sequence[Sequence[Range]], kernels: Sequence[Kernel]) -> Iterator[list[Kernel]]:
    start = 0
    for position, ranges in enumerate(steps):
        own = list(kernels[start : start + len(ranges)])
        if stray := next((kernel for kernel in own if kernel.step not in (position, None)), None):
            raise JoinError(f"a kernel of step {position} was launched in step {stray.step}: {stray.name[:80]}")
        yield own
        start += len(ranges)


def difference(ours: Sequence[str], others: Sequence[str]) -> str | None:
    """Where two steps' kernels first differ, in order and by name; None when they are the same."""
    for index, (one, other) in enumerate(zip(ours, others, strict=False)):
        if one != other:
            return f"kernel {index} is {one[:60]!r} in one and {other[:60]!r} in the other"
    return None if len(ours) == len(others) else f"{len(ours)} kernels in one and {len(others)} in the other"


def rows(
    step: int, window: str, metrics: Sequence[str], kernels: Sequence[Kernel], ranges: Sequence[Range]
) -> Iterator[Row]:
    """One step's rows of one window, of every finite value."""
    for index, (kernel, counted) in enumerate(zip(kernels, ranges, strict=True)):
        for metric, value in zip(metrics, counted.values, strict=True):
            if math.isfinite(value):
                yield Row(step, index, kernel.name, window, metric, value)


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a gzipped CSV, whole or not at all: under a temporary name, then renamed."""
    with atomic_file(path) as temporary, gzip.open(temporary, "wt", compresslevel=6, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*row[:-1], _text(row.value)) for row in rows)


def _text(value: float) -> str:
    """A counter's value: whole numbers without a point, others as exact as they are."""
    return str(int(value)) if value.is_integer() else repr(value)


def read(path: Path) -> list[Row]:
    """The rows of a trace.counters.csv.gz. Raises JoinError for a file with other columns."""
    with gzip.open(path, "rt", newline="") as file:
        lines = csv.reader(file)
        if tuple(next(lines, ())) != COLUMNS:
            raise JoinError(f"{path.name} has other columns; expected {','.join(COLUMNS)}")
        return [
            Row(int(a), int(b), kernel, window, metric, float(value)) for a, b, kernel, window, metric, value in lines
        ]
