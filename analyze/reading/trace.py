"""A decoded trace as frames: its parts concatenated, with shared codes, times in 64-bit nanoseconds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.ma  # polars and the loader import it anyway: better while the decoders work
import polars as pl
from numpy.typing import NDArray

from ridgeline.analyze.attribution.correlation import correlated
from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.arrays import Interned
from ridgeline.analyze.reading.categories import KNOWN
from ridgeline.analyze.reading.columns import Columns, Signature, signature
from ridgeline.analyze.reading.events import ABSENT, Header
from ridgeline.analyze.reading.halves import pair
from ridgeline.analyze.reading.timeless import Groups, without_timeless

LARGEST_SUM_NS = float(1 << 62)
"""The limit for the sum of durations, so that sums fit 64 bits."""

_TIMES = ("start_ns", "duration_ns")
_SPAN = ("name", "thread", *_TIMES)
# Columns whose values may be absent, by group.
_DEVICE_IDS = ("stream", "correlation", "external_id", "bytes", "graph_id", "graph_node_id")
_OPERATOR_IDS = ("external_id", "record_id", "sequence", "forward_thread")
_DEVICE = (*_SPAN, "category", "device", *_DEVICE_IDS)
_LAUNCH = (*_SPAN, "correlation")
_MEMORY = (*_SPAN, "bytes", "allocated", "reserved", "device_type", "device")
_OPERATOR = (*_SPAN, "signature", *_OPERATOR_IDS)
_CODES = ("annotation", "collective", "geometry")
_OPTIONAL = (*_CODES, "list_blocks")
_MAY_BE_ABSENT = frozenset((*_DEVICE_IDS, *_OPERATOR_IDS, *_OPTIONAL))
_SLICE_ROWS = 1 << 15
"""A slice of a column with all that is made of it fits the cache of a core."""
_CODED = {
    **dict.fromkeys(("name", "kernel", *_CODES), "names"),
    "thread": "threads",
    "signature": "signatures",
}
_NUMBER = re.compile(r"[1-9][0-9]{0,17}|0")
_OF_DEVICE = re.compile(r"(?:mtia|xpu|privateuse1|glow)_")
"""Categories of launches that only a program with a device has."""
_OF_WORK = re.compile(r"Launch|Memcpy|Memset")
"""Names of calls that give a device work; others also stand in the traces of programs without one."""


class Reading(msgspec.Struct):
    """What was read of a trace otherwise than it stands there, or not at all, for the table ``warnings``."""

    replaced: Counter[str] = msgspec.field(default_factory=Counter)
    """The number of values that were no JSON and were repaired, by kind."""
    categories: Counter[str] = msgspec.field(default_factory=Counter)
    """The number of complete events of each category."""
    unpaired: int = 0
    """Begins of spans without an end, and ends without a begin."""
    timeless: tuple[int, int, int] = (0, 0, 0)
    """Device activities left out for lack of a time stamp, their duration in ns, and host events left out."""
    uncorrelated: tuple[int, int] = (0, 0)
    """Device activities joined with their launch by External id, and those whose launch does not fit."""
    foreign: bool = False
    """True if events of categories that are not known belong to a process that runs no operator: maybe a device."""

    @property
    def unread(self) -> dict[str, int]:
        """The number of complete events of each category that is not known."""
        return {name: count for name, count in self.categories.items() if name not in KNOWN}


class Trace(msgspec.Struct):
    """One trace: its events as frames, and the tables that their codes index.

    The frames' ``name``, ``thread`` and ``signature`` are codes into the lists; missing identifiers are null.
    """

    device: pl.DataFrame
    """With names that are the texts of JSON objects: ``annotation``, if nodes of graphs are annotated,
    ``collective``, if kernels have the arguments of one, and ``geometry``, if launches have one. With ``list_blocks``,
    the blocks of each kernel that works on lists of tensors, if there is one."""
    launches: pl.DataFrame
    """With ``kernel``, the name of its kernel or -1, where the writer names kernels."""
    operators: pl.DataFrame
    annotations: pl.DataFrame
    frames: pl.DataFrame
    """Python frames (``model.py(12): forward``) and modules (``nn.Module: Linear_3``), as spans of their threads."""
    counters: pl.DataFrame
    """``row`` of ``device``, ``metric``, ``value``."""
    names: list[str]
    threads: list[tuple[object, object]]
    signatures: list[Signature]
    header: Header
    sha256: str
    bytes_read: int
    events: int
    malformed: int
    broken: str | None = None
    """Where the trace breaks off, if these are the events before that."""
    reading: Reading = msgspec.field(default_factory=Reading)
    memory: pl.DataFrame | None = None
    """Changes of memory with ``bytes``, and the totals ``allocated`` and ``reserved`` after each; None if none are
    recorded."""
    has_device_work: bool = False
    """True if the trace has launches that give a device work, or events that may be a device's and cannot be read."""

    @property
    def rank(self) -> int:
        return self.header.rank

    @property
    def is_empty(self) -> bool:
        """True if no event of the trace could be read."""
        return all(frame.is_empty() for frame in (self.device, self.launches, self.operators, self.annotations))

    @property
    def on_cpu(self) -> bool:
        """True if no device did the work, so that operators take the place of kernels.

        A complete trace without kernels and without launches of any is one of a CPU, even if the machine has a device.
        A trace that breaks off may have lost its kernels, if it names a device or has launches.
        """
        may_have_lost_kernels = self.broken is not None and (self.header.devices or not self.launches.is_empty())
        return self.device.is_empty() and not may_have_lost_kernels and not self.has_device_work


def assemble(parts: Sequence[Columns], path: Path) -> Trace:
    """Return the trace at ``path`` that the parts make; from here on the order of events in the file does not matter.

    Columns in files are read one by one, and the files are removed. Raises :class:`TraceError` for impossible times.
    """
    reading = Reading()
    if halves := [half for part in parts for half in part.halves]:
        paired = pair(halves)
        parts, reading.unpaired = [*parts, paired.columns], paired.unpaired
    for part in parts:
        reading.replaced.update(part.replaced)
        reading.categories.update(part.categories)
    assembly = _Assembly(parts, path)
    optional = [name for name in _OPTIONAL if any(name in part.optional for part in parts)]
    with ThreadPoolExecutor(1) as pool:  # NumPy reads and converts columns without Python's lock
        operators = pool.submit(assembly.frame, "operator", _OPERATOR)
        frames = pool.submit(assembly.frame, "frame", _SPAN)
        device = assembly.frame("device", (*_DEVICE, *optional))
        uncorrelated = len(device) > 0 and device["correlation"].null_count() == len(device)
        named = ("kernel",) if uncorrelated or any(part.has_kernel_names for part in parts) else ()
        launches = assembly.frame("launch", (*_LAUNCH, *named, "external_id") if uncorrelated else (*_LAUNCH, *named))
    counters, first_row = [], 0
    for part in parts:
        counters += [(first_row + row, metric, value) for row, metric, value in part.counters]
        first_row += part.rows("device")
    groups, reading.timeless = without_timeless(
        Groups(
            device,
            launches,
            operators.result(),
            assembly.frame("annotation", _SPAN),
            frames.result(),
            pl.DataFrame(counters, {"row": pl.Int64, "metric": pl.String, "value": pl.Float64}, orient="row"),
        )
    )
    if not groups.operators["external_id"].is_sorted():
        # identifiers count calls: of two operators with the same span, the outer one was called first
        groups = groups._replace(operators=groups.operators.sort("external_id", maintain_order=True))
    names = [str(name) for name in assembly.shared["names"]]
    if uncorrelated:
        device, launches, reading.uncorrelated = correlated(groups.device, groups.launches, groups.operators, names)
        groups = groups._replace(device=device, launches=launches)
    trace = Trace(
        *groups,
        names=names,
        threads=list(assembly.shared["threads"]),
        signatures=[signature(*recorded) for recorded in assembly.shared["signatures"]],
        header=next(part.header for part in parts if part.header),
        sha256=parts[0].sha256,
        bytes_read=parts[0].bytes_read,
        events=sum(part.events for part in parts),
        malformed=sum(part.malformed for part in parts) + sum(assembly.negative.values()),
        broken=parts[0].broken,
        reading=reading,
    )
    if any(part.rows("memory") for part in parts):
        trace.memory = assembly.frame("memory", _MEMORY)
    trace.has_device_work = trace.device.is_empty() and _has_device_work(trace, parts)
    for part in parts:
        part.remove_files()
    return trace


class _Assembly:
    """The columns of all parts, with shared codes."""

    def __init__(self, parts: Sequence[Columns], path: Path) -> None:
        self._parts, self._path = parts, path
        self.negative: dict[str, int] = {}
        """The number of events of each group that end before they start."""
        # each part has its own codes: translate them into shared ones; the last entry translates ABSENT
        self.shared = {kind: Interned() for kind in _CODED.values()}
        self._recode = [
            {
                kind: np.array([*(codes[_key(kind, value)] for value in getattr(part, kind)), ABSENT], dtype=np.int32)
                for kind, codes in self.shared.items()
            }
            for part in parts
        ]

    def frame(self, group: str, names: tuple[str, ...]) -> pl.DataFrame:
        """Return the columns of a group. Raises :class:`TraceError` for impossible times."""
        data = pl.DataFrame(self._column(group, name) for name in names)
        negative = int((data["duration_ns"] < 0).sum())
        self.negative[group] = negative
        # an event that ends before it starts counts as malformed and lasts 0 ns
        data = data.with_columns(pl.col("duration_ns").clip(0)) if negative else data
        # in doubles, since the sum of integers would wrap around
        if data.select(pl.col("duration_ns").cast(pl.Float64).sum()).item() > LARGEST_SUM_NS:
            raise TraceError(f"{self._path}: durations of more than 146 years together: the trace is damaged")
        return data

    def _column(self, group: str, name: str) -> pl.Series:
        kind = _CODED.get(name)
        # one array of the final size, so that no part is in memory twice
        values = np.empty(sum(part.rows(group) for part in self._parts), dtype=np.int32 if kind else np.int64)
        at = 0
        for part, codes in zip(self._parts, self._recode, strict=True):
            for block in column_blocks(part, group, name):
                values[at : at + len(block)] = codes[kind][block] if kind else block
                at += len(block)
        series = pl.Series(name, values)
        return series.set(pl.Series(values == ABSENT), None) if name in _MAY_BE_ABSENT else series


def _key(kind: str, value: Any) -> Any:
    """Return a thread's process and number as numbers, since PyTorch 1.8 wrote some as texts; any other value as is."""
    if kind != "threads":
        return value
    return tuple(int(part) if isinstance(part, str) and _NUMBER.fullmatch(part) else part for part in value)


def _has_device_work(trace: Trace, parts: Sequence[Columns]) -> bool:
    """Return whether a trace without device activities is of a program that gave a device work.

    Sets ``reading.foreign`` where unknown events belong to a process without host events: maybe a device.
    """
    called = {trace.names[code] for code in trace.launches["name"].unique().to_list()}
    hosts = {trace.threads[code][0] for code in trace.operators["thread"].unique().to_list()}
    unread = {_key("threads", (pid,))[0] for part in parts for pid in part.unread_pids}
    trace.reading.foreign = bool(hosts and unread - hosts)
    of_device = any(_OF_DEVICE.match(name) for name in trace.reading.categories)
    return trace.reading.foreign or of_device or any(map(_OF_WORK.search, called))


def column_blocks(part: Columns, group: str, name: str) -> Iterator[NDArray[np.int64]]:
    """Yield the values of a column, in blocks: from memory as a whole, from a file in slices."""
    path = part.file(group, name)
    if path is None:
        yield np.frombuffer(getattr(part, group)[name], dtype=np.int64)
    elif path.exists():
        yield from _slices(path)


def _slices(path: Path) -> Iterator[NDArray[np.int64]]:
    with path.open("rb") as file:
        while len(values := np.fromfile(file, dtype=np.int64, count=_SLICE_ROWS)):
            yield values
