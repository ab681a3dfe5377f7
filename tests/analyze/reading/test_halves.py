"""Begins and ends of spans, paired to complete events."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.reading import reader
from ridgeline.analyze.reading.arrays import Half
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.trace import Trace, assemble
from tests.analyze import kineto
from tests.analyze.kineto import Event

pytestmark = pytest.mark.usefixtures("either_way")


def halves(event: Event, **end: Any) -> list[Event]:
    begin = {key: value for key, value in event.items() if key != "dur"} | {"ph": "B"}
    return [begin, {"ph": "E", "pid": event["pid"], "tid": event["tid"], "ts": event["ts"] + event["dur"], **end}]


def read(tmp_path: Path, events: list[Event], parts: int = 1) -> Trace:
    path = kineto.write(tmp_path / "t.json", events)
    return assemble([read_part(path, part, parts) for part in range(parts)], path)


def spans(trace: Trace, group: str) -> list[tuple[Any, ...]]:
    names = ["name", "start_ns", "duration_ns", *(["correlation"] if group != "annotations" else [])]
    rows = getattr(trace, group).select(names).sort("start_ns").rows()
    return [(trace.names[name], *rest) for name, *rest in rows]


@pytest.mark.parametrize("parts", [1, 3])
def test_halves_give_what_complete_events_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 300)
    events = kineto.matmul_step()
    divided = [half for event in events for half in (halves(event) if event["ph"] == "X" else [event])]
    # begins and ends in the order of the threads' clocks
    divided.sort(key=lambda event: (event.get("ts", 0), event["ph"] == "B"))
    whole, paired = read(tmp_path, events), read(tmp_path, divided, parts)
    for group in ("device", "launches", "annotations"):
        assert spans(paired, group) == spans(whole, group)
    assert paired.operators["external_id"].to_list() == whole.operators["external_id"].to_list()
    assert sorted(paired.signatures) == sorted(whole.signatures)
    assert (paired.events, paired.reading.unpaired) == (len(divided), 0)


def test_spans_nest_by_thread_and_a_half_alone_is_counted(tmp_path: Path) -> None:
    outer, inner = kineto.annotation("outer", 0.001, 50.0), kineto.annotation("inner", 10.0, 5.0)
    other = kineto.annotation("other", 12.0, 20.0) | {"tid": 9}
    lonely = halves(kineto.annotation("never ends", 20.0, 1.0))[0]
    end_alone = halves(kineto.annotation("never began", 30.0, 1.0), name="never began")[1]
    events = [*halves(outer, name="outer"), *halves(inner), *halves(other), lonely, end_alone]
    trace = read(tmp_path, events)
    assert spans(trace, "annotations") == [("outer", 1, 50_000), ("inner", 10_000, 5000), ("other", 12_000, 20_000)]
    assert trace.reading.unpaired == 2


def test_arguments_of_both_halves_count(tmp_path: Path) -> None:
    launch = kineto.span("cuda_runtime", "cudaLaunchKernel", 1.0, 1.0)
    odd = kineto.span("cuda_runtime", "cudaLaunchKernel", 3.0, 1.0) | {"args": None}
    trace = read(tmp_path, [*halves(launch, args={"correlation": 5}), *halves(odd, args=[1])])
    assert trace.launches["correlation"].to_list() == [5, None]


def test_a_half_without_a_time_is_left_out(tmp_path: Path) -> None:
    begin, end = halves(kineto.annotation("a", 5.0, 1.0))
    del begin["ts"]
    trace = read(tmp_path, [begin, end])
    assert (len(trace.annotations), trace.reading.timeless) == (0, (0, 0, 1))


def test_columns_with_halves_can_be_sent() -> None:
    columns = Columns(halves=[Half(1, 2, 3, "B", "cpu_op", "aten::mm", 1, "1", b"{}")])
    assert pickle.loads(pickle.dumps(columns)).halves == columns.halves
