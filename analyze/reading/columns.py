"""Decoded events as columns: one group of flat arrays per kind of event, strings and signatures as codes.

Only this module and the reader touch single events, in decoder processes, so neither imports more than msgspec.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import msgspec

from ridgeline.analyze.reading.arguments import (
    AnyEvent,
    add_measures,
    blocks_of_lists,
    decode_args,
    decode_object,
    divide,
    fill_from_old,
    integers,
)
from ridgeline.analyze.reading.arrays import Group, Half, Interned
from ridgeline.analyze.reading.categories import (
    ANNOTATION,
    DEVICE,
    FRAME,
    KERNEL,
    KNOWN,
    LAUNCH,
    MOST_CATEGORIES,
    NO_CATEGORY,
    OLD,
    OLD_OPERATOR,
    OPERATOR,
    OTHERS,
    RANGE,
)
from ridgeline.analyze.reading.collectives import RECORDER, add_collectives, texts_of
from ridgeline.analyze.reading.events import (
    ABSENT,
    DeviceArgs,
    Header,
    LaunchArgs,
    OperatorArgs,
    UncorrelatedLaunchArgs,
    is_index,
)
from ridgeline.analyze.reading.geometry import geometries_of
from ridgeline.analyze.reading.memory_events import INSTANT, MEMORY, add_memory
from ridgeline.analyze.reading.node_annotations import annotations_of
from ridgeline.analyze.reading.reader import (
    JSON_ERRORS,
    Decoded,
)

GROUPS = ("device", "launch", "operator", "annotation", "frame", "memory")
HALVES = frozenset(("B", "E"))

Signature = tuple[str, bytes, bytes, bytes, bytes]
"""Operator name and the JSON text of its input dims, types, strides and concrete inputs.

If Inductor's count of a kernel's work was recorded, or a collective's message, it is an object at the end of the
concrete inputs.
"""


def signature(name: object, inputs: bytes) -> Signature:
    """Return the signature that ``Columns.signatures`` holds as a name and joined inputs."""
    dims, types, strides, concrete = inputs.split(_SEPARATOR)
    return str(name), dims, types, strides, concrete


_pid, _tid, _kernel = attrgetter("pid"), attrgetter("tid"), attrgetter("kernel")
_SEPARATOR = b"\0"
"""Between the inputs of a signature: JSON text never has it, and one text is hashed faster than four."""
_joined = _SEPARATOR.join


class Columns(msgspec.Struct):
    """The arrays of one part of a trace; all columns of a group have equal length.

    ``counters`` are rows of ``device``, metric, value. Long columns lie in files in ``folder``, a file each, and
    their arrays are empty.
    """

    device: Group = msgspec.field(default_factory=Group)
    launch: Group = msgspec.field(default_factory=Group)
    operator: Group = msgspec.field(default_factory=Group)
    annotation: Group = msgspec.field(default_factory=Group)
    frame: Group = msgspec.field(default_factory=Group)
    """Python frames and modules: the events ``python_function`` of ``with_stack`` and ``with_modules``."""
    memory: Group = msgspec.field(default_factory=Group)
    """Changes of memory, as ``profile_memory`` records them, if ``allocations`` is true."""
    allocations: bool = False
    """True if changes of memory are read. A trace has one for every tensor, which costs a tenth of its decoding."""
    counters: list[tuple[int, str, float]] = msgspec.field(default_factory=list)
    has_kernel_names: bool = False
    """True if a launch names its kernel, as on ROCm."""
    optional: set[str] = msgspec.field(default_factory=set)
    """The optional columns of ``device``. Codes of names: ``annotation``, of the node of a graph, ``collective``, what
    a kernel's arguments say of its collective, and ``geometry`` of its launch. ``list_blocks``, the blocks of a kernel
    that works on lists."""
    names: Interned = msgspec.field(default_factory=Interned)
    threads: Interned = msgspec.field(default_factory=Interned)
    signatures: Interned = msgspec.field(default_factory=Interned)
    """Codes by name and joined inputs; :func:`signature` divides them."""
    events: int = 0
    malformed: int = 0
    categories: Counter[str] = msgspec.field(default_factory=Counter)
    """The number of complete events of each category, read or not."""
    unread_pids: set[Any] = msgspec.field(default_factory=set)
    """The processes of events that are in no known category."""
    halves: list[Half] = msgspec.field(default_factory=list)
    replaced: Counter[str] = msgspec.field(default_factory=Counter)
    """The number of values that were no JSON and were repaired, by kind."""
    header: Header | None = None
    sha256: str = ""
    bytes_read: int = 0
    broken: str | None = None
    """Where the trace breaks off, if these are the events before that."""
    folder: Path | None = None
    spilled: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows of each group in the files."""

    def rows(self, group: str) -> int:
        """Return the length of the columns of a group."""
        return self.spilled.get(group, 0) + self._held(group)

    def file(self, group: str, name: str) -> Path | None:
        """Return the file of a column, if it is in a file."""
        return self.folder / f"{group}.{name}" if self.folder and self.spilled else None

    def spill(self, at_rows: int = 0) -> None:
        """Append the arrays to the files and empty them, if they hold ``at_rows`` rows or more."""
        # all groups at once, so that a few large writes replace many small ones
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
        """Remove the folder of files."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _held(self, group: str) -> int:
        return len(getattr(self, group).get("name", ()))


def append(columns: Columns, decoded: Decoded) -> None:
    """Add the complete events to the columns and count all; events of other kinds are skipped."""
    events = decoded.events
    columns.events += len(events) + decoded.malformed
    columns.malformed += decoded.malformed
    columns.replaced.update(decoded.replaced)
    groups: dict[str | None, list[AnyEvent]] = defaultdict(list)
    others: list[AnyEvent] = []
    phases = HALVES | {INSTANT} if columns.allocations else HALVES
    for event in events:
        if event.ph == "X":
            groups[event.cat].append(event)
        elif event.ph in phases:
            others.append(event)
    _count(columns, groups)
    divide(groups)
    for category in filter(groups.__contains__, DEVICE):
        _append_device(columns, category, groups[category])
    for category in filter(groups.__contains__, LAUNCH):
        _append_launches(columns, groups[category])
    for category in filter(groups.__contains__, (OPERATOR, OLD_OPERATOR)):
        _append_operators(columns, category, groups[category])
    if ANNOTATION in groups:
        _append_spans(columns, columns.annotation, groups[ANNOTATION])
    if FRAME in groups:
        _append_spans(columns, columns.frame, groups[FRAME])
    _append_others(columns, others, decoded.offset)


def _append_others(columns: Columns, events: Sequence[AnyEvent], offset: int) -> None:
    for e in events:
        if e.ph != INSTANT:
            at = (round(e.ts * 1000), offset, len(columns.halves))
            columns.halves.append(Half(*at, e.ph, e.cat, e.name, e.pid, e.tid, bytes(e.args)))
    if memory := [e for e in events if e.ph == INSTANT and e.name == MEMORY]:
        _append_spans(columns, columns.memory, memory)
        add_memory(columns.memory, memory)


def _count(columns: Columns, groups: dict[str | None, list[AnyEvent]]) -> None:
    """Count the events of each category, and keep the processes of those that are not known."""
    room = MOST_CATEGORIES - len(columns.categories.keys() - KNOWN)
    for name, members in groups.items():
        category = name or NO_CATEGORY
        is_new = category not in columns.categories and category not in KNOWN
        columns.categories[OTHERS if is_new and room <= 0 else category] += len(members)
        room -= is_new
        if category not in KNOWN and len(columns.unread_pids) < MOST_CATEGORIES:
            columns.unread_pids.update(map(_pid, members))


# The loops below are comprehensions and C loops of map: a trace has millions of events.


def _append_spans(columns: Columns, group: Group, events: Sequence[AnyEvent]) -> None:
    names, threads = columns.names, columns.threads
    group["name"].fromlist([names[e.name] for e in events])
    group["thread"].fromlist([threads[e.pid, e.tid] for e in events])
    group["start_ns"].fromlist([round(e.ts * 1000) for e in events])
    group["duration_ns"].fromlist([round(e.dur * 1000) for e in events])


def _append_device(columns: Columns, category: str, events: Sequence[AnyEvent]) -> None:
    group = columns.device
    first_row = columns.rows("device")  # before the new rows, for counters that refer to them
    _append_spans(columns, group, events)
    group["category"].fromlist([DEVICE[category]] * len(events))
    decoded_args = decode_args(events, DeviceArgs)
    if category in OLD:
        fill_from_old(events, decoded_args)
    for name in ("external_id", "correlation", "bytes", "graph_id", "graph_node_id"):
        group[name].fromlist(integers(decoded_args, name))
    streams = integers(decoded_args, "stream")
    if ABSENT in streams and DEVICE[category] != RANGE:  # Kineto sets the thread of a device event to the stream
        tids = zip(streams, map(_tid, events), strict=True)
        streams = [cast(int, tid) if at == ABSENT and is_index(tid) else at for at, tid in tids]
    group["stream"].fromlist(streams)
    collectives = texts_of(events) if DEVICE[category] == KERNEL else []
    geometries = geometries_of(decoded_args) if DEVICE[category] == KERNEL else []
    annotations = annotations_of(events, group["graph_node_id"][-len(events) :])
    _append_optional(columns, "annotation", _codes(columns, annotations), len(events))
    _append_optional(columns, "collective", _codes(columns, collectives), len(events))
    _append_optional(columns, "geometry", _codes(columns, geometries), len(events))
    _append_optional(columns, "list_blocks", blocks_of_lists(events), len(events))
    devices = integers(decoded_args, "device")
    if ABSENT in devices:  # Kineto sets the process id of a device event to the index of the device
        pids = zip(devices, map(_pid, events), strict=True)
        devices = [(cast(int, pid) if is_index(pid) else 0) if at == ABSENT else at for at, pid in pids]
    group["device"].fromlist(devices)
    if DEVICE[category] == RANGE:
        for row, event in enumerate(events, first_row):
            for name, value in decode_object(event.args).items():
                with suppress(*JSON_ERRORS):  # metrics are the arguments that are numbers
                    columns.counters.append((row, name, msgspec.json.decode(value, type=float)))


def _append_launches(columns: Columns, events: Sequence[AnyEvent]) -> None:
    group = columns.launch
    _append_spans(columns, group, events)
    args = decode_args(events, LaunchArgs)
    correlations, kernels = integers(args, "correlation"), list(map(_kernel, args))
    absent = [ABSENT] * len(events)
    group["correlation"].fromlist(correlations)
    if ABSENT in correlations:
        old = decode_args(events, UncorrelatedLaunchArgs)
        group["external_id"].fromlist(integers(old, "external_id"))
        kernels = [kernel or each.kernel for kernel, each in zip(kernels, old, strict=True)]
    else:
        group["external_id"].fromlist(absent)
    is_named = any(kernels)
    columns.has_kernel_names |= is_named
    group["kernel"].fromlist(_codes(columns, kernels) if is_named else absent)


def _codes(columns: Columns, texts: Sequence[str | None]) -> list[int]:
    return [columns.names[text] if text else ABSENT for text in texts]


def _append_optional(columns: Columns, name: str, values: list[int], rows: int) -> None:
    """Add values to an optional column of ``device``, or as many rows without a value if there are none."""
    columns.device[name].fromlist(values or [ABSENT] * rows)
    if values and max(values) != ABSENT:
        columns.optional.add(name)


def _append_operators(columns: Columns, category: str, events: Sequence[AnyEvent]) -> None:
    _append_spans(columns, columns.operator, events)
    args = decode_args(events, OperatorArgs)
    if category in OLD:
        fill_from_old(events, args)
    for name in ("external_id", "record_id", "sequence", "forward_thread"):
        columns.operator[name].fromlist(integers(args, name))
    add_measures(events, args)
    if RECORDER in columns.names:
        add_collectives(events, args)
    codes = columns.signatures
    columns.operator["signature"].fromlist(
        [
            codes[event.name, _joined((each.dims, each.types, each.strides, each.concrete))]
            for event, each in zip(events, args, strict=True)
        ]
    )
