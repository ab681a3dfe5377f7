"""The processes in one trace, and the process that owns each device: ranks whose traces were merged into one file.

Every process numbers its launches and operators from 1, so the same ids name different calls of a merged trace. Device
activities carry no host process. All activities of one device, as the file names it (``pid`` and ``device``), belong to
one process. Evidence against a candidate process is counted by activity:

- it has no launch with the activity's correlation id,
- or its launch began after the activity started,
- or its launch began before that of an activity which started earlier on the same stream,
- the operator that the ``External id`` names was not running in it at the time of the launch,
- the tool that merged the traces marked the pids of device and process differently,
- and a device already assigned to it has an activity with the same correlation id.

The device with the clearest evidence is assigned first, to the candidate with the least evidence against it; then the
next device. Assignment stops when two candidates explain the remaining devices equally well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ridgeline.analyze.attribution.id_lookup import match_first
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, take
from ridgeline.analyze.reading.trace import Trace

Mask = NDArray[np.bool_]
_LARGEST_PID = 1 << 62
_MOST = 256
"""Most processes or devices that are told apart: the time grows with their product."""


class Processes(msgspec.Struct, frozen=True):
    """The host processes of a trace, numbered; a trace with fewer than two needs no numbers."""

    pids: list[object]
    """The processes that launch (without a device, that run operators), in order of their pids."""
    of_thread: Int64
    """The process number of each thread by the thread's code, 0 for a thread of no listed process."""

    def __len__(self) -> int:
        return len(self.pids)

    def of(self, rows: pl.DataFrame) -> Int64:
        """The process number of each row of ``rows``, which has a column ``thread``."""
        return take(self.of_thread, rows["thread"].to_numpy())


def processes(trace: Trace) -> Processes:
    """The processes in order of their pids: first those that launch, then those that only run operators."""
    working = _pids(trace, trace.operators if trace.on_cpu else trace.launches)
    if len(working) < 2:
        return Processes(working, np.zeros(len(trace.threads), dtype=np.int64))
    others = [pid for pid in _pids(trace, trace.operators) if pid not in set(working)]
    number = {pid: code for code, pid in enumerate(working + others)}
    return Processes(working, np.array([number.get(pid, 0) for pid, _ in trace.threads], dtype=np.int64))


def ranks(trace: Trace) -> Int64:
    """The rank of each thread's process by the thread's code; a merged trace counts up from its header's rank."""
    return trace.rank + processes(trace).of_thread


def _pids(trace: Trace, rows: pl.DataFrame) -> list[object]:
    return sorted({trace.threads[code][0] for code in rows["thread"].unique().to_list()}, key=_natural)


def _natural(pid: object) -> tuple[bool, float, list[object]]:
    """A sort key: numbers by value, then texts with the numbers inside them by value."""
    if isinstance(pid, int | float):
        return False, pid, []
    parts = re.split(r"([0-9]{1,18})", str(pid))
    return True, 0, [int(part) if at % 2 else part for at, part in enumerate(parts)]


class Devices(msgspec.Struct, frozen=True):
    """The devices of a merged trace as its events name them, numbered, and the process that owns each."""

    of_row: Int64
    """The device of each activity."""
    owner: Int64
    """The process of each device, ``ROOT`` where it is unknown or several share the device."""


def devices(trace: Trace, device: pl.DataFrame, hosts: Processes) -> Devices:
    """The owner of each device; ``device`` as :func:`ridgeline.analyze.attribution.operators.attribute` sorts it."""
    # A device is named by its pid in the file and its index.
    codes = trace.device["thread"].gather(device["row"]).to_numpy()
    pids = sorted({trace.threads[code][0] for code in np.unique(codes)}, key=_natural)
    place = {pid: at for at, pid in enumerate(pids)}
    pid_of = np.array([place.get(pid, 0) for pid, _ in trace.threads], dtype=np.int64)
    keys = np.stack([pid_of[codes], device["device"].to_numpy()], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    named, of_row = [(pids[pid], index) for pid, index in unique.tolist()], inverse.reshape(-1)
    count = len(named)
    if max(count, len(hosts)) > _MOST:
        return Devices(of_row, np.full(count, ROOT))

    launched = np.zeros((count, len(hosts)), dtype=np.int64)
    against = np.bincount(of_row, minlength=count)[:, None] * _marked_differently(named, hosts.pids)
    anywhere = np.zeros(len(device), dtype=bool)
    for number in range(len(hosts)):
        has_launch, evidence = _evidence_against(trace, device, of_row, hosts, number)
        launched[:, number] = _count(of_row, has_launch, count)
        against[:, number] += _count(of_row, evidence, count)
        anywhere |= has_launch
    codes_of_ids = np.unique(_or_root(device["correlation"]), return_inverse=True)[1].reshape(-1)
    ids = np.where(anywhere, codes_of_ids, ROOT)
    owner, has_device = _assign(against, of_row, ids)

    # Several processes share a device, as the file names it, where its owner did not launch most of its activities;
    # or where most ids occur twice, and a process that has launches with these ids owns no device.
    repeats = pl.DataFrame({"device": of_row, "id": ids}).is_duplicated().to_numpy() & (ids != ROOT)
    total, twice = _count(of_row, anywhere, count), _count(of_row, repeats, count)
    own = launched[np.arange(count), owner]
    shared = (2 * own < total) | (launched[:, ~has_device].any(axis=1) & (2 * twice > total))
    return Devices(of_row, np.where(shared, ROOT, owner))


def _count(of_row: Int64, values: NDArray[np.int8] | Mask, count: int) -> Int64:
    """The sum of ``values`` over the activities of each device."""
    return np.bincount(of_row, values, count).astype(np.int64)


def _evidence_against(
    trace: Trace, device: pl.DataFrame, of_row: Int64, hosts: Processes, number: int
) -> tuple[Mask, NDArray[np.int8]]:
    """For each activity: True where a process has its launch, and the count of the facts that speak against it."""
    launches, operators = (
        rows.filter(pl.Series(hosts.of(rows) == number)) for rows in (trace.launches, trace.operators)
    )
    launch = match_first(device, launches, "correlation").row
    has_launch = launch != ROOT
    launch_ns = take(launches["start_ns"].to_numpy(), launch)
    against = (~has_launch).astype(np.int8)
    against += has_launch & (launch_ns > device["start_ns"].to_numpy())

    # Streams run in launch order: compare each activity with the one before it on its stream.
    at = np.flatnonzero(has_launch)
    stream, of_device, began_ns = _or_root(device["stream"])[at], of_row[at], launch_ns[at]
    order = np.lexsort((stream, of_device))
    ahead, behind = order[:-1], order[1:]
    same_stream = (of_device[ahead] == of_device[behind]) & (stream[ahead] == stream[behind])
    against[at[behind]] += same_stream & (began_ns[behind] < began_ns[ahead])

    if len(operators):
        by_id = match_first(device, operators, "external_id").row
        named = has_launch & device["external_id"].is_not_null().to_numpy()
        against += named & ~running(operators, by_id, launch_ns)
    return has_launch, against


def running(operators: pl.DataFrame, row: Int32, at_ns: Int64) -> Mask:
    """True where the operator in ``row`` was running at ``at_ns``; False where ``row`` is ``ROOT``."""
    start_ns = take(operators["start_ns"].to_numpy(), row)
    end_ns = start_ns + take(operators["duration_ns"].to_numpy(), row, 0)
    return np.asarray((row != ROOT) & (start_ns <= at_ns) & (at_ns <= end_ns))


def _or_root(ids: pl.Series) -> Int64:
    filled: Int64 = ids.cast(pl.Int64).fill_null(ROOT).to_numpy()
    return filled


def _assign(against: Int64, of_row: Int64, ids: Int64) -> tuple[Int64, Mask]:
    """The process of each device, and True for each process that owns one; the clearest evidence decides first.

    Where several candidates are equally good for as many devices, these processes own no other device.
    """
    against, owner = against.copy(), np.full(len(against), ROOT, dtype=np.int64)
    placed, has_device = np.zeros(len(against), dtype=bool), np.zeros(against.shape[1], dtype=bool)
    while (left := np.flatnonzero(~placed)).size:
        best = against[left] == against[left].min(axis=1, keepdims=True)
        # the margin between the best and the second-best candidate of each device
        two = np.partition(against[left], 1, axis=1)
        margin = two[:, 1] - two[:, 0]
        first = margin.argmax() if margin.any() else best.sum(axis=1).argmin()
        group = left[[first]] if margin.any() else left[(best == best[first]).all(axis=1)]
        candidates = np.flatnonzero(best[first])
        if len(group) < len(candidates):
            break
        if len(candidates) == 1:
            owner[group] = candidates
        placed[group], has_device[candidates] = True, True
        # A process uses an id once: other devices with the ids of this one are less likely to be its own.
        seen = np.zeros(int(ids.max(initial=0)) + 2, dtype=bool)  # the last entry stands for ROOT
        seen[ids[np.isin(of_row, group)]] = True
        seen[ROOT] = False
        against[:, candidates] += _count(of_row, seen[ids], len(against))[:, None]
    return owner, has_device


def _marked_differently(named: Sequence[tuple[object, int]], pids: Sequence[object]) -> Mask:
    """For each device and process: True where the marks that made pids distinct are another process's."""
    if (process := _process_by_offset(named, pids)) is not None:
        return np.asarray(process[:, None] != np.arange(len(pids)))

    def same_mark(device: object, index: str, host: object) -> bool:
        """True where the text around a device's number is also around the host's: ``rank1 0`` and ``rank1 408``."""
        if not isinstance(device, str) or not isinstance(host, str):
            return False
        before, after = device.removesuffix(index), device.removeprefix(index)
        starts = before not in ("", device) and host.startswith(before)
        return starts or (after not in ("", device) and host.endswith(after))

    same = np.array([[same_mark(pid, str(index), host) for host in pids] for pid, index in named])
    return np.asarray(~same & same.any(axis=1, keepdims=True))


def _process_by_offset(named: Sequence[tuple[object, int]], pids: Sequence[object]) -> Int64 | None:
    """The process of each device by the offset that a merge added to its pids, or None where offsets do not tell.

    Kineto's own pid of a device is its index, so the rest is the offset. Offsets tell if, without them, the pids of the
    processes lie closer together than two offsets do.
    """
    numbers = [pid for pid in (*pids, *(pid for pid, _ in named)) if isinstance(pid, int) and abs(pid) < _LARGEST_PID]
    if len(numbers) < len(pids) + len(named):
        return None
    hosts = np.array(numbers[: len(pids)], dtype=np.int64)
    of_device = np.array(numbers[len(pids) :], dtype=np.int64) - np.array([index for _, index in named])
    offsets = np.unique(of_device)
    if len(offsets) != len(hosts) or offsets[0] < 0 or np.ptp(hosts - offsets) >= np.diff(offsets).min():
        return None
    return np.asarray(np.searchsorted(offsets, of_device))
