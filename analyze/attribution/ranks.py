"""The processes in one trace: ranks whose traces were merged into one file, and whose device each device is.

Every process counts its launches and its operators from 1, so that in a merged trace the same ids stand for other calls
in each. Device activities carry no host process; those of one device, as the file names it (``pid`` and ``device``),
are one process's together. Against each candidate speak, counted by activity:

- it has no launch with the activity's correlation id,
- or one that began after the activity started,
- or the stream had started what was launched later before,
- the operator that the ``External id`` names was not running in it when the launch came,
- whoever made the pids distinct marked the device's otherwise than the process's,
- and an activity of a device that is known to be its own has the same correlation id.

The device about which these tell most is given to the candidate against which the least speaks, then the next, until
all are given or two candidates explain what is left equally well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ridgeline.analyze.attribution.id_lookup import find
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, take
from ridgeline.analyze.reading.trace import Trace

Mask = NDArray[np.bool_]
_LARGEST = 1 << 62
"""Beyond which a pid is none."""
_MOST = 256
"""Processes or devices of a trace beyond which they are not told apart: the time grows with their product."""


@dataclass(frozen=True)
class Processes:
    """The host processes of a trace, numbered; fewer than two are not told apart."""

    pids: list[object]
    """Of those that launch (of those that run operators, without a device), in order; the same numbers in each."""
    of_thread: Int64
    """The number of each thread's process by the thread's code, 0 where it is none of them."""

    def __len__(self) -> int:
        return len(self.pids)

    def of(self, rows: pl.DataFrame) -> Int64:
        """The number of the process of each row, which has a ``thread``."""
        return take(self.of_thread, rows["thread"].to_numpy())


def processes(trace: Trace) -> Processes:
    """Number the processes in the order of their pids, first those that launch, then those that only run operators."""
    working = _pids(trace, trace.operators if trace.on_cpu else trace.launches)
    if len(working) < 2:
        return Processes(working, np.zeros(len(trace.threads), dtype=np.int64))
    known = set(working)
    others = [pid for pid in _pids(trace, trace.operators) if pid not in known]
    number = {pid: code for code, pid in enumerate(working + others)}
    return Processes(working, np.array([number.get(pid, 0) for pid, _ in trace.threads], dtype=np.int64))


def ranks(trace: Trace) -> Int64:
    """The rank of each thread's process by the thread's code: a merged trace's are numbered from the header's on."""
    return trace.rank + processes(trace).of_thread


def _pids(trace: Trace, rows: pl.DataFrame) -> list[object]:
    return sorted({trace.threads[code][0] for code in rows["thread"].unique().to_list()}, key=_natural)


def _natural(pid: object) -> tuple[bool, float, list[object]]:
    """Numbers in their order, then texts with the numbers inside them in theirs."""
    if isinstance(pid, int | float):
        return False, pid, []
    parts = re.split(r"([0-9]{1,18})", str(pid))
    return True, 0, [int(part) if at % 2 else part for at, part in enumerate(parts)]


@dataclass(frozen=True)
class Devices:
    """The devices of a merged trace as its events name them, numbered, and whose each is."""

    of_row: Int64
    """The device of each activity."""
    owner: Int64
    """The process of each device, ``ROOT`` where that is not known or several share it."""


def devices(trace: Trace, device: pl.DataFrame, hosts: Processes) -> Devices:
    """Whose each device is; ``device`` as :func:`ridgeline.analyze.attribution.operators.attribute` sorts it."""
    named, of_row = _named(trace, device)
    count = len(named)
    if max(count, len(hosts)) > _MOST:
        return Devices(of_row, np.full(count, ROOT))
    launched = np.zeros((count, len(hosts)), dtype=np.int64)
    against = np.bincount(of_row, minlength=count)[:, None] * _marked_otherwise(named, hosts.pids)
    anywhere = np.zeros(len(device), dtype=bool)
    for number in range(len(hosts)):
        here, speaks = _examined(trace, device, of_row, hosts, number)
        launched[:, number] = _count(of_row, here, count)
        against[:, number] += _count(of_row, speaks, count)
        anywhere |= here
    ids = np.where(anywhere, _codes(device["correlation"]), ROOT)
    owner, has = _given(against, of_row, ids)
    mixed = _mixed(owner, has, launched, _count(of_row, anywhere, count), _count(of_row, _twice(of_row, ids), count))
    return Devices(of_row, np.where(mixed, ROOT, owner))


def _count(of_row: Int64, values: NDArray[np.int8] | Mask, count: int) -> Int64:
    """The sum over the activities of each device."""
    return np.bincount(of_row, values, count).astype(np.int64)


def _codes(ids: pl.Series) -> Int64:
    return np.unique(_or_root(ids), return_inverse=True)[1].reshape(-1)


def _twice(of_row: Int64, ids: Int64) -> Mask:
    """Which activities have an id that another of their device has."""
    keys = pl.DataFrame({"device": of_row, "id": ids})
    return np.asarray(keys.is_duplicated().to_numpy() & (ids != ROOT))


def _mixed(owner: Int64, has: Mask, launched: Int64, known: Int64, twice: Int64) -> Mask:
    """Devices that several processes share, as the file names them.

    Most of what ran on them was not launched by their owner; or most ids come twice, and one of the processes that have
    them has no device.
    """
    own = launched[np.arange(len(owner)), owner]
    return np.asarray((2 * own < known) | (launched[:, ~has].any(axis=1) & (2 * twice > known)))


def _named(trace: Trace, device: pl.DataFrame) -> tuple[list[tuple[object, int]], Int64]:
    """(pid, index) of each device, in order, and which of them each activity ran on."""
    codes = trace.device["thread"].gather(device["row"]).to_numpy()
    pids = sorted({trace.threads[code][0] for code in np.unique(codes)}, key=_natural)
    place = {pid: at for at, pid in enumerate(pids)}
    pid_of = np.array([place.get(pid, 0) for pid, _ in trace.threads], dtype=np.int64)
    keys = np.stack([pid_of[codes], device["device"].to_numpy()], axis=1)
    named, of_row = np.unique(keys, axis=0, return_inverse=True)
    return [(pids[pid], index) for pid, index in named.tolist()], of_row.reshape(-1)


def _examined(
    trace: Trace, device: pl.DataFrame, of_row: Int64, hosts: Processes, number: int
) -> tuple[Mask, NDArray[np.int8]]:
    """Which activities have a launch in a process, and how much speaks against each one's being its work."""
    launches, operators = (
        rows.filter(pl.Series(hosts.of(rows) == number)) for rows in (trace.launches, trace.operators)
    )
    launch = find(device, launches, "correlation").row
    launched = launch != ROOT
    launch_ns = take(launches["start_ns"].to_numpy(), launch)
    against = (~launched).astype(np.int8)
    against += launched & (launch_ns > device["start_ns"].to_numpy())
    against[launched] += _overtaken(of_row[launched], _or_root(device["stream"])[launched], launch_ns[launched])
    if len(operators):
        by_id = find(device, operators, "external_id").row
        named = launched & device["external_id"].is_not_null().to_numpy()
        against += named & ~running(operators, by_id, launch_ns)
    return launched, against


def running(operators: pl.DataFrame, row: Int32, at_ns: Int64) -> Mask:
    """Whether an operator was running at a moment; none was not."""
    start_ns = take(operators["start_ns"].to_numpy(), row)
    end_ns = start_ns + take(operators["duration_ns"].to_numpy(), row, 0)
    return np.asarray((row != ROOT) & (start_ns <= at_ns) & (at_ns <= end_ns))


def _overtaken(of_row: Int64, stream: Int64, launch_ns: Int64) -> Mask:
    """Which activities, sorted by start, were launched before the one ahead of them on their stream."""
    order = np.lexsort((stream, of_row))
    ahead, behind = order[:-1], order[1:]
    found = np.zeros(len(order), dtype=bool)
    same = (of_row[ahead] == of_row[behind]) & (stream[ahead] == stream[behind])
    found[behind] = same & (launch_ns[behind] < launch_ns[ahead])
    return found


def _or_root(ids: pl.Series) -> Int64:
    filled: Int64 = ids.cast(pl.Int64).fill_null(ROOT).to_numpy()
    return filled


def _given(against: Int64, of_row: Int64, ids: Int64) -> tuple[Int64, Mask]:
    """The process of each device, and which processes have one: first the device about which the evidence is clearest.

    Where the best is not clear, but there is a device for each of those that are best, they have no other.
    """
    against, owner = against.copy(), np.full(len(against), ROOT, dtype=np.int64)
    placed, has = np.zeros(len(against), dtype=bool), np.zeros(against.shape[1], dtype=bool)
    while (left := np.flatnonzero(~placed)).size:
        best = against[left] == against[left].min(axis=1, keepdims=True)
        two = np.partition(against[left], 1, axis=1)
        clear = two[:, 1] - two[:, 0]
        first = clear.argmax() if clear.any() else best.sum(axis=1).argmin()
        alike = left[(best == best[first]).all(axis=1)] if not clear.any() else left[[first]]
        its = np.flatnonzero(best[first])
        if len(alike) < len(its):
            break
        if len(its) == 1:
            owner[alike] = its
        placed[alike], has[its] = True, True
        against[:, its] += _in_common(of_row, ids, alike, len(against))[:, None]
    return owner, has


def _in_common(of_row: Int64, ids: Int64, given: Int64, count: int) -> Int64:
    """How many activities of each device have the id of one of the given devices'."""
    seen = np.zeros(int(ids.max(initial=0)) + 2, dtype=bool)  # the last is that of ROOT
    seen[ids[np.isin(of_row, given)]] = True
    seen[ROOT] = False
    return _count(of_row, seen[ids], count)


def _marked_otherwise(named: Sequence[tuple[object, int]], pids: Sequence[object]) -> Mask:
    """For each device and process, whether the marks that made pids distinct are another process's."""
    shifted = _shifts(named, pids)
    if shifted is not None:
        return np.asarray(shifted[:, None] != np.arange(len(pids)))
    alike = np.array([[_same_text(pid, str(index), host) for host in pids] for pid, index in named])
    return np.asarray(~alike & alike.any(axis=1, keepdims=True))


def _shifts(named: Sequence[tuple[object, int]], pids: Sequence[object]) -> Int64 | None:
    """The process of each device if what was added to the pids tells: Kineto's own pid of a device is its index.

    It tells if without it the processes' pids lie closer together than what was added to one lies to another.
    """
    numbers = [pid for pid in (*pids, *(pid for pid, _ in named)) if isinstance(pid, int) and abs(pid) < _LARGEST]
    if len(numbers) < len(pids) + len(named):
        return None
    hosts = np.array(numbers[: len(pids)], dtype=np.int64)
    of_device = np.array(numbers[len(pids) :], dtype=np.int64) - np.array([index for _, index in named])
    shifts = np.unique(of_device)
    if len(shifts) != len(hosts) or shifts[0] < 0 or np.ptp(hosts - shifts) >= np.diff(shifts).min():
        return None
    return np.asarray(np.searchsorted(shifts, of_device))


def _same_text(device: object, index: str, host: object) -> bool:
    """Whether a process has the text before or after its number that a device has: ``rank1 0`` and ``rank1 408``."""
    if not isinstance(device, str) or not isinstance(host, str):
        return False
    before, after = device.removesuffix(index), device.removeprefix(index)
    starts = before not in ("", device) and host.startswith(before)
    return starts or (after not in ("", device) and host.endswith(after))
