"""Decoded events as columns: one group of flat arrays per kind of event, strings and signatures as codes.

This module and the reader are all that touches single events; both run in worker processes, so neither imports more
than msgspec.
"""

from __future__ import annotations

import shutil
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ridgeline.analyze.errors import Broken, TraceError
from ridgeline.analyze.reading.events import ABSENT, DeviceArgs, Event, ExactEvent, Header, LaunchArgs, OperatorArgs
from ridgeline.analyze.reading.reader import (
    JSON_ERRORS,
    LARGEST_EVENT_BYTES,
    Events,
    Piece,
    TraceReader,
    broken_inside,
    decode,
    endless,
    reason,
)

DEVICE_CATEGORIES = ("kernel", "gpu_memcpy", "gpu_memset", "cuda_profiler_range")
LAUNCH_CATEGORIES = ("cuda_runtime", "cuda_driver")
GROUPS = ("device", "launch", "operator", "annotation")
SPILL_ROWS = 1 << 17
"""Rows that are held before they are written to files, where there is a folder for them."""
LARGEST_DEVICE = 1 << 31
HASHING = 0.13
"""What hashing a piece costs next to decoding it."""

Signature = tuple[str, bytes, bytes, bytes, bytes]
"""Operator name and the JSON text of its input dims, types, strides and concrete inputs.

Inductor's own count of a kernel's work, where it was recorded, is an object at the end of the concrete inputs.
"""

AnyEvent = Event | ExactEvent
T = TypeVar("T", bound=msgspec.Struct)


_name, _pid, _tid, _args = (attrgetter(name) for name in ("name", "pid", "tid", "args"))
_SIGNATURE = tuple(attrgetter(name) for name in ("dims", "types", "strides", "concrete"))
_MEASURES = ("kernel_num_gb", "kernel_flop")
_num_gb = attrgetter("kernel_num_gb")


class Interned(defaultdict[Any, int]):
    """Value -> code, numbered in order of appearance."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.default_factory = self.__len__
        for value in values:
            self[value]

    def __reduce__(self) -> tuple[type[Interned], tuple[list[Any]]]:
        return Interned, (list(self),)


def _column() -> array[int]:
    return array("q")


def _group() -> dict[str, array[int]]:
    return defaultdict(_column)


class Columns(msgspec.Struct):
    """The arrays of one part of a trace. All times are nanoseconds, all arrays of a group have equal length.

    ``counters`` are rows of ``device``, metric, value. Columns that have become long lie in files of 64-bit integers in
    ``folder``, one a column, and the arrays are empty.
    """

    device: dict[str, array[int]] = msgspec.field(default_factory=_group)
    launch: dict[str, array[int]] = msgspec.field(default_factory=_group)
    operator: dict[str, array[int]] = msgspec.field(default_factory=_group)
    annotation: dict[str, array[int]] = msgspec.field(default_factory=_group)
    counters: list[tuple[int, str, float]] = msgspec.field(default_factory=list)
    names: Interned = msgspec.field(default_factory=Interned)
    threads: Interned = msgspec.field(default_factory=Interned)
    signatures: Interned = msgspec.field(default_factory=Interned)
    events: int = 0
    malformed: int = 0
    header: Header | None = None
    sha256: str = ""
    bytes_read: int = 0
    broken: str | None = None
    """Where the trace breaks off, if this is what precedes."""
    folder: Path | None = None
    spilled: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows of each group in the files."""

    def rows(self, group: str) -> int:
        """How long the columns of a group are."""
        return self.spilled.get(group, 0) + self._held(group)

    def file(self, group: str, name: str) -> Path | None:
        """Where a column lies, if it is in a file."""
        return self.folder / f"{group}.{name}" if self.folder and self.spilled else None

    def spill(self, at_rows: int = 0) -> None:
        """Move what the arrays hold to the files, if it is as many rows as that."""
        held = {group: self._held(group) for group in GROUPS}
        if not self.folder or sum(held.values()) < at_rows:
            return
        self.folder.mkdir(exist_ok=True)
        for group, rows in held.items():
            for name, values in getattr(self, group).items():
                with (self.folder / f"{group}.{name}").open("ab") as file:
                    values.tofile(file)
            getattr(self, group).clear()
            self.spilled[group] = self.spilled.get(group, 0) + rows

    def remove_files(self) -> None:
        """Once they are read, or not wanted."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _held(self, group: str) -> int:
        return len(getattr(self, group).get("start_ns", ()))


def read_part(
    path: Path,
    part: int = 0,
    parts: int = 1,
    *,
    folder: Path | None = None,
    largest_event_bytes: int = LARGEST_EVENT_BYTES,
) -> Columns:
    """Decode one part's pieces of a trace into columns; the first part also takes the file's hash.

    What becomes long is written to files in ``folder``, made when needed, if one is given.

    Raises :class:`TraceError`. With several parts that may only mean that a cut was not between two events: then the
    file is to be read in one.
    """
    reader = TraceReader(path, digest=part == 0, largest_event_bytes=largest_event_bytes)
    columns = Columns(folder=folder)
    mine = (piece for owner, piece in zip(_deal(parts), reader.pieces(), strict=False) if owner == part)
    for events, malformed in decoded(reader, mine):
        columns.events += len(events) + malformed
        columns.malformed += malformed
        append(columns, events)
        columns.spill(SPILL_ROWS)
    if columns.spilled:
        columns.spill()
    columns.sha256, columns.bytes_read = reader.sha256, reader.bytes_read
    columns.header = reader.header
    return columns


def _deal(parts: int) -> Iterator[int]:
    """Whose each piece is: always the least loaded part's, where the first hashes every piece besides."""
    load = [0.0] * parts
    for _ in count():
        load[0] += HASHING
        part = load.index(min(load))
        load[part] += 1
        yield part


def decoded(reader: TraceReader, pieces: Iterator[Piece]) -> Iterator[tuple[Events, int]]:
    """Decode pieces, joining one that was cut inside an event with the next. Raises :class:`TraceError`."""
    pending: Piece | None = None
    try:
        for piece in pieces:
            joined = pending.followed_by(piece) if pending else piece
            size = sum(map(len, joined.fragments)) if pending else 0
            if size > reader.largest_event_bytes:
                raise TraceError(endless(reader.path, size))
            array = joined.array()
            try:
                events = decode(array)
            except JSON_ERRORS as e:
                pending, error = joined, e
                if isinstance(e, RecursionError) or broken_inside(array, e) is not None:
                    break
                continue
            pending = None
            yield events
    except Broken as e:
        if pending is None or not e.rest:
            raise
        rest = pending.followed_by(Piece((e.rest,), e.rest_offset)).array()[1:-1]
        raise Broken(str(e), e.offset, rest, pending.offset) from None
    if pending:
        raise _broken(reader, pending, error)


def _broken(reader: TraceReader, piece: Piece, error: Exception) -> Broken:
    array = piece.array()
    inside = broken_inside(array, error)
    at = piece.offset + (inside - 1 if inside is not None else 0)
    where = f"damaged at byte {at:,}" if inside is not None else f"damaged in the piece from byte {at:,} on"
    return Broken(f"{reader.path}: {where}: {reason(error)}: record it again", at, array[1:-1], piece.offset)


def append(columns: Columns, events: Events) -> None:
    """Add the complete events among these."""
    groups: dict[str | None, list[AnyEvent]] = defaultdict(list)
    for event in events:
        if event.ph == "X":
            groups[event.cat].append(event)
    for category in DEVICE_CATEGORIES:
        if category in groups:
            _append_device(columns, category, groups[category])
    for category in LAUNCH_CATEGORIES:
        if category in groups:
            _append_launches(columns, groups[category])
    if "cpu_op" in groups:
        _append_operators(columns, groups["cpu_op"])
    if "user_annotation" in groups:
        _append_spans(columns, columns.annotation, groups["user_annotation"])


def _append_spans(columns: Columns, group: dict[str, array[int]], events: Sequence[AnyEvent]) -> None:
    group["name"].extend(map(columns.names.__getitem__, map(_name, events)))
    group["thread"].extend(map(columns.threads.__getitem__, zip(map(_pid, events), map(_tid, events), strict=True)))
    group["start_ns"].extend([round(e.ts * 1000) for e in events])
    group["duration_ns"].extend([round(e.dur * 1000) for e in events])


def _append_device(columns: Columns, category: str, events: Sequence[AnyEvent]) -> None:
    group = columns.device
    first_row = columns.rows("device")
    _append_spans(columns, group, events)
    group["category"].extend([DEVICE_CATEGORIES.index(category)] * len(events))
    args = _decode_args(events, DeviceArgs)
    for name in ("external_id", "correlation", "stream", "bytes"):
        group[name].extend(_integers(args, name))
    group["device"].extend([_device(e, a) for e, a in zip(events, args, strict=True)])
    if category == "cuda_profiler_range":
        for row, event in enumerate(events, first_row):
            metrics = ((name, _number(value)) for name, value in _decode_object(event.args).items())
            columns.counters.extend((row, name, value) for name, value in metrics if value is not None)


def _device(event: AnyEvent, args: DeviceArgs) -> int:
    """The device from the arguments, else the process id, which Kineto sets to the device's index."""
    if args.device is not None and args.device != ABSENT:
        return args.device
    return event.pid if isinstance(event.pid, int) and 0 <= event.pid < LARGEST_DEVICE else 0


def _append_launches(columns: Columns, events: Sequence[AnyEvent]) -> None:
    _append_spans(columns, columns.launch, events)
    args = _decode_args(events, LaunchArgs)
    columns.launch["correlation"].extend(_integers(args, "correlation"))


def _append_operators(columns: Columns, events: Sequence[AnyEvent]) -> None:
    _append_spans(columns, columns.operator, events)
    args = _decode_args(events, OperatorArgs)
    for name in ("external_id", "record_id"):
        columns.operator[name].extend(_integers(args, name))
    if any(map(_num_gb, args)):
        args = [_with_measures(e, a) for e, a in zip(events, args, strict=True)]
    recorded = zip(map(_name, events), *(map(bytes, map(field, args)) for field in _SIGNATURE), strict=True)
    columns.operator["signature"].extend(map(columns.signatures.__getitem__, recorded))


def _with_measures(event: AnyEvent, args: OperatorArgs) -> OperatorArgs:
    """What Inductor says of a kernel of its own goes to the end of its concrete inputs; others keep theirs.

    Inductor records it under ``profile_bandwidth``, and with FLOPs under ``benchmark_kernel``; its profile analysis
    writes the same keys to operators that the rules know better.
    """
    if not str(event.name).startswith("triton_"):
        return args
    measures = {name: raw for name in _MEASURES if (raw := getattr(args, name))}
    try:
        concrete = msgspec.json.decode(args.concrete or b"[]", type=list[msgspec.Raw])
    except JSON_ERRORS:
        return args
    return msgspec.structs.replace(args, concrete=msgspec.Raw(msgspec.json.encode([*concrete, measures])))


def _integers(args: Sequence[Any], name: str) -> list[int]:
    values = list(map(attrgetter(name), args))
    return [ABSENT if value is None else value for value in values] if None in values else values


def _decode_args(events: Sequence[AnyEvent], struct: type[T]) -> list[T]:
    """All arguments in one call; those of a wrong type, or that are not UTF-8, one by one."""
    raw = list(map(_args, events))
    try:
        return msgspec.json.decode(b"[" + b",".join(raw) + b"]", type=list[struct])  # type: ignore[valid-type]
    except JSON_ERRORS:
        return [_decode_leniently(r, struct) for r in raw]


def _decode_leniently(raw: msgspec.Raw, struct: type[T]) -> T:
    """Field by field: one of a wrong type is as if it were not recorded."""
    recorded = _decode_object(raw)
    fields = {}
    for field in msgspec.structs.fields(struct):
        with suppress(KeyError, *JSON_ERRORS):
            fields[field.name] = msgspec.json.decode(recorded[field.encode_name], type=field.type)
    return struct(**fields)


def _decode_object(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except JSON_ERRORS:
        return {}


def _number(raw: msgspec.Raw) -> float | None:
    try:
        return msgspec.json.decode(raw, type=float)
    except JSON_ERRORS:
        return None
