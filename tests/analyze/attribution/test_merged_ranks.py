"""Ranks merged into one file are kept apart: each has the rows that its own file gives, to the nanosecond."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.analyze import kineto
from tests.analyze.together import Loading, Loadings, Run, together

DATA = Path(__file__).parents[2] / "data" / "h200"
Rows = list[tuple[Any, ...]]
Mark = Callable[[int, Any], Any]
DOUBTS = "SELECT message FROM warnings WHERE source = 'attribution'"

KERNELS = """
    SELECT k.device_index, k.stream, v.kernel, v.operator, v.shapes, v.module, v.phase, v.kind, v.step, v.attribution,
        k.start_ns, k.duration_ns, k.launch_ns, k.launch_duration_ns, k.correlation, o.start_ns, o.duration_ns, k.share,
        k.trace_bytes, v.compulsory_bytes, s.host_start_ns, s.start_ns, s.end_ns, s.busy_ns
    FROM kernels k
    JOIN kernel_roofline v USING (run_id, kernel_id)
    LEFT JOIN operators o ON o.run_id = k.run_id AND o.operator_id = k.operator_id AND o.rank = k.rank
    LEFT JOIN steps s ON s.run_id = k.run_id AND s.step_id = k.step_id AND s.rank = k.rank
    WHERE k.rank = {rank} ORDER BY k.start_ns, k.kernel_id
"""
GAPS = """
    SELECT device_index, start_ns, duration_ns, cause, sync_ns, host_ns, call_ns, queue_ns, step_id IS NULL
    FROM gaps WHERE rank = {rank} ORDER BY 1, 2
"""
DEVICES = """
    SELECT device_index, busy_ns, idle_ns, wall_ns
    FROM device_timeline WHERE rank = {rank} ORDER BY 1
"""


def rows(run: Run, rank: int = 0) -> list[Rows]:
    """What a rank did: its kernels, with their operators and steps, its gaps and its devices."""
    return [run.query(sql.format(rank=rank)) for sql in (KERNELS, GAPS, DEVICES)]


def moved(events: Sequence[kineto.Event], later_us: float, device: int = 0, pid: int = 400) -> list[kineto.Event]:
    """The same program in another process, later, on the device with that index."""
    found = []
    for event in in_time(events, later_us):
        on_device = "stream" in event.get("args", {})
        args = {"args": event["args"] | {"device": device}} if on_device else {}
        found.append({**event, **args, "pid": device if on_device else pid})
    return found


def in_time(events: Sequence[kineto.Event], later_us: float) -> list[kineto.Event]:
    return [{**event, "ts": round(event["ts"] + later_us, 3)} for event in events if event["ph"] == "X"]


def merged(ranks: Sequence[Sequence[kineto.Event]], mark: Mark) -> list[kineto.Event]:
    """One after the other, pids as the merging tool makes them distinct."""
    return [{**event, "pid": mark(rank, event.get("pid"))} for rank, events in enumerate(ranks) for event in events]


def shifted(rank: int, pid: Any) -> Any:
    return pid + 100_000 * rank if isinstance(pid, int) else pid


def worded(rank: int, pid: Any) -> Any:
    return f"rank{2 + 8 * rank} {pid}"


def unmarked(rank: int, pid: Any) -> Any:
    return pid


def written_once(folder: Path, text: str) -> Path:
    """The trace of one rank, which is one file, and one run, in all tests that have it."""
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    path.write_text(text)
    return path


def checked(folder: Path, ranks: Sequence[Sequence[kineto.Event]], mark: Mark) -> Loadings:
    """Every rank of the merged file has the rows that its own file has, and nothing is in doubt."""
    paths = [written_once(folder.parent, kineto.text(events)) for events in ranks]
    all_ranks, *alone = yield [kineto.write(folder / "merged.json", merged(ranks, mark)), *paths]
    for number, run in enumerate(alone):
        assert rows(all_ranks, number) == rows(run)
    assert all_ranks.query("FROM warnings WHERE source = 'attribution'") == []
    total = "SELECT sum(device_time_ns) FROM runs"
    assert all_ranks.query(total) == [(sum(run.query(total)[0][0] for run in alone),)]
    all_ranks.verify()


STEP = kineto.matmul_step()


def steps(count: int, later_us: float, devices: Sequence[int]) -> list[list[kineto.Event]]:
    """The step in each of so many processes, each that much after the one before."""
    return [moved(STEP, number * later_us, devices[number], 400 + number) for number in range(count)]


@pytest.mark.parametrize(
    ("later_us", "devices", "mark"),
    [
        (0.5, (0, 0, 0), shifted),  # interleaved, every kernel after every launch of its id: the pids tell
        (0.5, (0, 1, 2), shifted),
        (0.5, (0, 0, 0), worded),  # rank2, rank10, rank18
        (5.0, (0, 1, 2), unmarked),  # interleaved, some kernels before the other's launch
        (1e6, (0, 1, 2), unmarked),  # clocks apart
        (-1e6, (0, 1, 2), unmarked),
        (1e6, (0, 0, 0), unmarked),  # clocks apart, one name for all devices
        (-1e6, (0, 0, 0), unmarked),
    ],
)
@together
def test_each_rank_has_the_rows_of_its_own_file(
    later_us: float, devices: Sequence[int], mark: Mark, folder: Path
) -> Loadings:
    yield from checked(folder, steps(3, later_us, devices), mark)


@together
def test_exact_rows_of_two_interleaved_ranks(folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", merged(steps(2, 5.0, (0, 0)), shifted))
    found = run.query(
        "SELECT k.rank, k.device_index, k.start_ns, k.launch_ns, o.operator, o.thread FROM kernels k"
        " JOIN operators o USING (run_id, operator_id) ORDER BY 1, 3",
    )
    first, second = "400/400", "100401/400"
    assert found == [
        (0, 0, 10_000, 6_000, "aten::mm", first),
        (0, 0, 14_500, 6_000, "aten::mm", first),
        (0, 0, 65_000, 61_000, "aten::add.Tensor", first),
        (0, 0, 85_000, 81_000, "aten::copy_", first),
        (1, 0, 15_000, 11_000, "aten::mm", second),
        (1, 0, 19_500, 11_000, "aten::mm", second),
        (1, 0, 70_000, 66_000, "aten::add.Tensor", second),
        (1, 0, 90_000, 86_000, "aten::copy_", second),
    ]
    assert run.query("SELECT rank, step, start_ns, end_ns, busy_ns FROM steps ORDER BY 1") == [
        (0, 3, 10_000, 86_125, 8_875),
        (1, 3, 15_000, 91_125, 8_875),
    ]
    assert run.query("SELECT rank, device_index, name FROM devices ORDER BY 1") == [
        (0, 0, "NVIDIA H200"),
        (1, 0, "NVIDIA H200"),
    ]
    run.verify()


def program(calls: Sequence[tuple[int | None, int]], pid: int, device: int) -> list[kineto.Event]:
    """Calls of ten microseconds by (operator's id, launch's), whose kernels start in that order after all of them.

    An operator without an id has one all the same, which its kernel does not know.
    """
    events = []
    for place, (operator, correlation) in enumerate(calls):
        known = {} if operator is None else {"External id": operator}
        events += [
            kineto.operator(f"aten::op{place}", 10.0 * place, 9.0, operator or place + 1),
            kineto.launch(10.0 * place + 1.0, correlation),
            kineto.kernel(f"k{place}", 200.0 + 10.0 * place, 5.0, correlation, **known),
        ]
    return moved(events, 0.0, device, pid)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([(None, 11), (None, 12), (None, 13)], [(None, 12), (None, 11), (None, 13)]),  # launched in another order
        ([(1, 11), (2, 12), (3, 13)], [(4, 11), (5, 12), (6, 13)]),  # by operators of other ids
        ([(1, 11), (2, 12), (3, 13)], [(1, 11), (2, 12), (3, 13), (4, 14)]),  # once more
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
@together
def test_what_else_tells_ranks_apart(
    first: list[tuple[int | None, int]],
    second: list[tuple[int | None, int]],
    turn: int,
    folder: Path,
) -> Loadings:
    programs = [first, second][::turn]
    yield from checked(folder, [program(calls, 400 + rank, rank) for rank, calls in enumerate(programs)], unmarked)


@together
def test_a_process_with_two_devices(folder: Path) -> Loadings:
    """Each rank's second device has other ids than its first, and the same as the other rank's second."""
    ranks = []
    for rank in range(2):
        two = program([(1, 11), (2, 12), (3, 13), (4, 14)], 400 + rank, 2 * rank)
        for event in two:
            if event["cat"] == "kernel" and event["args"]["correlation"] % 2 == 0:
                event["args"]["device"] = event["pid"] = 2 * rank + 1
        ranks.append(in_time(two, 300.0 * rank))
    yield from checked(folder, ranks, unmarked)


@together
def test_processes_with_ids_of_their_own_share_a_device(folder: Path) -> Loadings:
    """Three of them, of which the first has another device as well."""
    ranks = [program([(None, 10 * n + i) for i in range(4)], 400 + n, 1) for n in range(1, 4)]
    for event in ranks[0][2], ranks[0][5]:
        event["args"]["device"] = event["pid"] = 0
    yield from checked(folder, ranks, unmarked)


@together
def test_the_order_of_events_in_the_file_changes_nothing(folder: Path) -> Loadings:
    events = merged(steps(3, 5.0, (0, 1, 2)), unmarked)
    a, b = yield [kineto.write(folder / "a.json", events), kineto.write(folder / "b.json", events[::-1])]
    assert [rows(a, rank) for rank in range(3)] == [rows(b, rank) for rank in range(3)]


@together
def test_early_kernels_are_not_given_to_another_ranks_launch(folder: Path) -> Loadings:
    """Launched before recording began in their own process, with ids that the other gave later, and recorded longer."""
    early = [kineto.kernel(f"early{i}", -8.0 + 4 * i, 2.0, 9 - i) for i in range(2)]
    late = [kineto.launch(20.0, 9), kineto.launch(22.0, 8)]
    ranks = [moved([*early, *STEP], 100.0, 0, 400), moved([*STEP, *late], 70.0, 1, 401)]
    yield from checked(folder, ranks, unmarked)


@together
def test_ranks_that_nothing_tells_apart_are_told_of(folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", merged(steps(2, 0.0, (0, 1)), unmarked))
    ((message,),) = run.query(DOUBTS)
    assert message.startswith("8 kernels and copies have correlation ids that launches of several processes share")
    run.verify()


@together
def test_of_three_ranks_only_the_two_alike_are_in_doubt(folder: Path) -> Loadings:
    ranks = [*steps(2, 0.0, (0, 1)), moved(STEP, 1e6, 2, 402)]
    alone, all_ranks = yield [
        kineto.write(folder / "alone.json", ranks[2]),
        kineto.write(folder / "all.json", merged(ranks, unmarked)),
    ]
    ((message,),) = all_ranks.query(DOUBTS)
    assert message.startswith("8 kernels and copies")
    assert rows(all_ranks, 2) == rows(alone)
    all_ranks.verify()


@together
def test_one_name_for_all_devices_and_times_that_do_not_tell(folder: Path) -> Loading:
    """The first product of the first rank began before the second's launch; whose the other kernels are is open."""
    run = yield kineto.write(folder / "t.json", merged(steps(2, 2.0, (0, 0)), unmarked))
    ((message,),) = run.query(DOUBTS)
    assert message.startswith("8 kernels and copies")
    run.verify()


@pytest.mark.parametrize("step", [0, 1])
@together
def test_very_many_processes_are_not_told_apart(step: int, folder: Path) -> Loading:
    """Damage can give every launch a process of its own: that takes no longer, and no more memory."""
    ids = [7 + pid * step for pid in range(3000)]
    ranks = [
        [kineto.launch(1.0, i) | {"pid": pid}, kineto.kernel("k", 9.0, 1.0, i, device=pid)] for pid, i in enumerate(ids)
    ]
    run = yield kineto.write(folder / "t.json", merged(ranks, unmarked))
    said = [message.partition(" have")[0] for (message,) in run.query(DOUBTS)]
    assert said == ([] if step else ["3,000 kernels and copies"])
    assert run.query("SELECT count(DISTINCT rank) FROM kernels") == [(3000 if step else 1,)]
    run.verify()


@pytest.mark.parametrize("later_us", [0.0, 1e6])
@together
def test_one_pid_for_all_ranks_is_told_of(later_us: float, folder: Path) -> Loading:
    """Apart in time every kernel still has its operator."""
    both = [moved(STEP, 0.0), moved(STEP, later_us)]
    run = yield kineto.write(folder / "t.json", merged(both, unmarked))
    ((message,),) = run.query(DOUBTS)
    assert message.startswith("8 kernels and copies have correlation ids that several launches under one process id")
    if later_us:
        assert run.query("SELECT count(*) FROM kernels WHERE start_ns - launch_ns < 10_000") == [(8,)]
        assert run.query(
            "SELECT count(*) FROM kernels k JOIN operators o USING (run_id, operator_id)"
            " WHERE k.launch_ns BETWEEN o.start_ns AND o.start_ns + o.duration_ns",
        ) == [(8,)]
    run.verify()


def renumbered(name: str, later_us: float, pid: int, device: int) -> list[kineto.Event]:
    """A real trace with its ids from 1 on, in another process and on another device."""
    trace = json.loads(gzip.decompress((DATA / name / "trace.json.gz").read_bytes()))["traceEvents"]
    events = [event for event in trace if event["ph"] == "X" and event["cat"] not in ("Trace", "overhead")]
    for key in ("correlation", "External id"):
        least = min(event["args"][key] for event in events if event["args"].get(key))
        for event in events:
            if event["args"].get(key):
                event["args"][key] += 1 - least
    first_us = min(event["ts"] for event in events)
    return moved(in_time(events, -first_us), later_us, device, pid)


AR = "tiny-llama_ar_p256_g64_b1_bf16_eager"
FULL = "tiny-llada_dlm_full_p256_g64_b1_block16_k64_bf16_eager"
DUAL = "tiny-llada_dlm_block_dual_p256_g64_b1_block16_k64_bf16_eager"


@pytest.mark.parametrize(
    ("names", "later_us", "devices", "mark"),
    [
        ((AR, FULL), 0.0, (0, 0), shifted),
        pytest.param((AR, FULL), 0.0, (0, 1), unmarked, marks=pytest.mark.exhaustive),
        ((AR, AR), 137.0, (0, 1), unmarked),
        pytest.param((AR, AR), 3e6, (0, 0), unmarked, marks=pytest.mark.exhaustive),
        pytest.param((DUAL, AR, DUAL), 41.0, (0, 1, 2), unmarked, marks=pytest.mark.exhaustive),
    ],
)
@together
def test_real_traces_merged(
    names: Sequence[str], later_us: float, devices: Sequence[int], mark: Mark, folder: Path
) -> Loadings:
    ranks = [renumbered(name, n * later_us, 408 + n, devices[n]) for n, name in enumerate(names)]
    yield from checked(folder, ranks, mark)
