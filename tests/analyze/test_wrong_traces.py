"""Any field missing, null, of a wrong type or beyond all bounds: counted or refused, and nothing else lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import connect
from tests.analyze import kineto
from tests.analyze.loading import load, query
from tests.fuzz.fuzz_reader import check
from tests.sampling import examples

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**63, -(2**63) - 1, 2**63 - 1, 1e308]),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none()),
)
FIELDS: tuple[str, ...] = ("ph", "cat", "name", "pid", "tid", "ts", "dur", "args")
ARGUMENTS = (
    "External id",
    "correlation",
    "device",
    "stream",
    "bytes",
    "Input Dims",
    "Input type",
    "Input Strides",
    "Concrete Inputs",
    "Record function id",
)
SOUND = kineto.kernel("sound", 500.0, 3.0, 4242)


@st.composite
def wrong(draw: st.DrawFn) -> dict[str, Any]:
    events = json.loads(json.dumps(kineto.matmul_step()))
    events += draw(st.lists(st.sampled_from(events), max_size=4))  # repeated, with their identifiers
    for _ in range(draw(st.integers(1, 6))):
        target = draw(st.sampled_from(events))
        keys = FIELDS
        if isinstance(target.get("args"), dict) and draw(st.booleans()):
            target, keys = target["args"], ARGUMENTS
        key = draw(st.sampled_from(keys))
        if draw(st.integers(0, 3)):
            target[key] = draw(ODD)
        else:
            target.pop(key, None)
    header = {key: draw(ODD) if draw(st.booleans()) else value for key, value in kineto.HEADER.items()}
    return {**header, "traceEvents": [*draw(st.permutations(events)), SOUND]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wrong")


@examples("microseconds")
@given(trace=wrong())
def test_the_decoder_and_the_joins_lose_nothing(trace: dict[str, Any], folder: Path) -> None:
    """``json.dumps`` writes NaN and Infinity as other Python writers do."""
    check(folder / "t.json", json.dumps(trace).encode())


@examples("warehouse")
@given(trace=wrong())
def test_both_accounts_close_and_sound_kernels_stay(trace: dict[str, Any], folder: Path) -> None:
    path, warehouse = folder / "whole.json", folder / "w.duckdb"
    path.write_text(json.dumps(trace))
    (result,) = analyze([path], warehouse)
    if result.error:
        assert "cannot be loaded" not in str(result.error)
        assert len(str(result.error).splitlines()) == 1
        return
    assert result.outcome in ("loaded", "unchanged")
    own = f"WHERE run_id = '{result.run_id}'"
    connection = connect(warehouse, read_only=True)
    (total,) = connection.execute(f"SELECT device_time_ns FROM runs {own}").fetchone() or (None,)
    sums = connection.execute(f"SELECT account, sum(duration_ns) FROM ledger {own} GROUP BY 1 ORDER BY 1").fetchall()
    sound = connection.execute(f"SELECT duration_ns FROM kernel_roofline {own} AND kernel = 'sound'").fetchall()
    rows = connection.execute(f"SELECT count(*), sum(duration_ns) FROM kernels {own}").fetchone()
    connection.close()
    assert sums == [("attribution", total), ("price", total)]
    assert sound == [(3000,)]
    assert rows
    assert (result.outcome == "unchanged" or rows[0] == result.kernels, rows[1]) == (True, total)


def test_devices_and_processes_in_one_file_are_kept_apart(tmp_path: Path, warehouse: Path) -> None:
    """Threads of one number in two processes, named by text and by number, launch on two devices and three streams."""
    events = []
    for i, pid in enumerate(("rank 0", 7)):
        call = kineto.operator(f"mine::of_{i}", 10.0, 20.0, 100 + i)
        launch = kineto.launch(12.0, 200 + i)
        for event in (call, launch):
            event |= {"pid": pid, "tid": 1}
        kernels = [kineto.kernel(f"k{i}", 20.0, 1.0 + i, 200 + i, device=i, stream=stream) for stream in (7, 7 + i)]
        events += [call, launch, *kernels]
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    rows = query(
        warehouse, "SELECT device_index, stream, kernel, operator, duration_ns FROM kernel_roofline ORDER BY ALL"
    )
    assert rows == [
        (0, 7, "k0", "mine::of_0", 1000), (0, 7, "k0", "mine::of_0", 1000),
        (1, 7, "k1", "mine::of_1", 2000), (1, 8, "k1", "mine::of_1", 2000),
    ]  # fmt: skip


def test_ranks_in_files_of_their_own_are_kept_apart(tmp_path: Path, warehouse: Path) -> None:
    for rank in (0, 1):
        header = {**kineto.HEADER, "distributedInfo": {"rank": rank, "world_size": 2}}
        kineto.write(tmp_path / f"r{rank}.json", kineto.matmul_step(), header=header)
    load(warehouse, tmp_path)
    assert query(warehouse, "SELECT name, rank, count(*) FROM kernel_roofline GROUP BY ALL ORDER BY ALL") == [
        ("r0", 0, 4),
        ("r1", 1, 4),
    ]


def test_launches_without_kernels_and_kernels_without_launches(tmp_path: Path, warehouse: Path) -> None:
    events = [
        kineto.launch(1.0, 1), kineto.kernel("orphan", 5.0, 1.0, 99), kineto.kernel("unnumbered", 7.0, 1.0),
        kineto.launch(2.0, 3), kineto.launch(3.0, 3), kineto.kernel("twice", 9.0, 1.0, 3),
        kineto.kernel("twice", 9.5, 1.0, 3), {**kineto.kernel("k", 1.0, 1.0), "cat": "unheard of"},
        {**kineto.kernel("k", 1.0, 1.0), "ph": "Q"},
    ]  # fmt: skip
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    rows = query(warehouse, "SELECT kernel, attribution, duration_ns FROM kernel_roofline ORDER BY start_ns")
    assert [(kernel, duration_ns) for kernel, _, duration_ns in rows] == [
        ("orphan", 1000),
        ("unnumbered", 1000),
        ("twice", 1000),
        ("twice", 1000),
    ]


def test_a_jax_like_trace_is_refused(tmp_path: Path, warehouse: Path) -> None:
    events = [
        {"ph": "X", "pid": "/device:GPU:0", "tid": "Stream #1", "ts": 1.5, "dur": 2, "name": "fusion.1", "args": {}},
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "/device:GPU:0"}},
    ]
    path = kineto.write(tmp_path / "t.json", events, header={"displayTimeUnit": "ns", "metadata": {}})
    (result,) = analyze([path], warehouse)
    assert str(result.error) == (
        f"{path}: no operator, launch, annotation or device activity among 2 events of the categories '(none)': "
        "expected a trace as torch.profiler exports it: record with activities=[ProfilerActivity.CPU, "
        "ProfilerActivity.CUDA]"
    )
