"""The table memory and its summary, from hand-written changes of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse.verify import verify
from tests.analyze import kineto
from tests.analyze.kineto import Event, annotation, change, kernel, launch, operator
from tests.analyze.loading import query

MB = 1_000_000


def steps() -> list[Event]:
    """Two steps: the first allocates 30 MB and keeps 10, the second frees 10 MB."""
    cpu = {"Device Id": -1, "Device Type": 0, "Total Reserved": 0}
    return [
        annotation("phase=denoise step=0 kind=reuse", 0, 100),
        operator("aten::mm", 10, 20, 1),
        operator("aten::empty", 11, 2, 2),
        launch(15, 11),
        kernel("gemm", 20, 5, 11, **{"External id": 1}),
        annotation("phase=denoise step=1 kind=reuse", 100, 100),
        operator("aten::relu", 110, 20, 3),
        launch(115, 12),
        kernel("relu", 120, 5, 12, **{"External id": 3}),
        # the operator that allocates for another one does not stand for it
        change(12, 20, 60),
        change(40, 10, 70),
        # of another thread, without an operator
        change(50, -20, 50, tid=402),
        change(55, 1, 1, **cpu),
        change(56, -1, 0, **cpu),
        # after the first step nothing was allocated
        change(150, -10, 40),
        # outside the steps
        change(300, 5, 45),
        # older writers name no totals
        change(310, 7, None),
        {"ph": "i", "s": "t", "name": "other", "pid": 400, "tid": 400, "ts": 5, "args": {"Bytes": 3}},
    ]


def test_a_step_has_its_memory_at_begin_end_and_peak(tmp_path: Path) -> None:
    warehouse = tmp_path / "w.duckdb"
    analyze([kineto.write(tmp_path / "t.json", steps())], warehouse, allocations=True)
    columns = (
        "device_kind, device_index, phase, kind, step, changes, before_bytes, after_bytes, kept_bytes, peak_bytes,"
        " reserved_bytes, allocated_bytes, largest_bytes, largest_operator"
    )
    assert query(warehouse, f"SELECT {columns} FROM memory_summary ORDER BY device_kind, step NULLS LAST") == [
        ("cpu", 0, "denoise", "reuse", 0, 2, 0, 0, 0, MB, None, MB, MB, None),
        ("cuda", 0, "denoise", "reuse", 0, 3, 40 * MB, 50 * MB, 10 * MB, 70 * MB, 100 * MB, 30 * MB, 20 * MB,
         "aten::mm"),
        ("cuda", 0, "denoise", "reuse", 1, 1, 50 * MB, 40 * MB, -10 * MB, 50 * MB, 100 * MB, 0, None, None),
        ("cuda", 0, None, None, None, 1, 40 * MB, 45 * MB, 5 * MB, 45 * MB, 100 * MB, 5 * MB, 5 * MB, None),
    ]  # fmt: skip
    # the table has each change, since no two are in one bin
    timeline = "SELECT start_ns, end_ns, changes, after_bytes FROM memory WHERE device_kind = 'cuda' ORDER BY memory_id"
    assert query(warehouse, timeline) == [
        (12_000, 12_000, 1, 60 * MB),
        (40_000, 40_000, 1, 70 * MB),
        (50_000, 50_000, 1, 50 * MB),
        (150_000, 150_000, 1, 40 * MB),
        (300_000, 300_000, 1, 45 * MB),
    ]
    assert [run.findings for run in verify(warehouse)[0]] == [[]]


def test_many_changes_become_few_rows_and_lose_no_peak(tmp_path: Path) -> None:
    """5,000 changes in one step: 512 bins, with every byte allocated and the highest total."""
    events: list[Event] = [annotation("phase=train step=0 kind=train", 0, 10_000), launch(1, 1), kernel("k", 2, 1, 1)]
    total = 0
    for number in range(5_000):
        mb = 3 if number % 2 == 0 else -3
        total += mb
        events.append(change(2.0 * number, mb, total))
    events.append(change(9_999, 90, total + 90))
    warehouse = tmp_path / "w.duckdb"
    analyze([kineto.write(tmp_path / "t.json", events)], warehouse, allocations=True)
    totals = "count(*), sum(changes), max(peak_bytes), sum(allocated_bytes), min(before_bytes), max(largest_bytes)"
    assert query(warehouse, f"SELECT {totals} FROM memory") == [
        (512, 5_001, 90 * MB, (2_500 * 3 + 90) * MB, 0, 90 * MB),
    ]


def test_absurd_changes_are_left_out(tmp_path: Path) -> None:
    absurd: dict[str, Any] = {"Total Allocated": "many", "Device Type": -7, "Device Id": 1 << 70}
    events = [
        *kineto.matmul_step(),
        change(5, 1, 2, **{"Total Allocated": 1 << 62}),
        change(6, 1, 2, **absurd),
        {key: value for key, value in change(7, 1, 2).items() if key != "ts"},
        change(8, 1, 2, **{"Device Type": 99}),
    ]
    warehouse = tmp_path / "w.duckdb"
    results = analyze([kineto.write(tmp_path / "t.json", events)], warehouse, allocations=True)
    assert [result.outcome for result in results] == ["loaded"]
    assert query(warehouse, "SELECT device_kind, step_id IS NOT NULL, before_bytes, after_bytes FROM memory") == [
        ("unknown", True, MB, 2 * MB)
    ]


def test_changes_are_loaded_where_they_are_asked_for(tmp_path: Path) -> None:
    warehouse = tmp_path / "w.duckdb"
    (tmp_path / "mine").mkdir()
    path = kineto.write(tmp_path / "mine" / "trace.json", steps(), header=kineto.HEADER | {"profile_memory": 1})

    def rows(**options: Any) -> tuple[str, list[str], int]:
        (result,) = analyze([path], warehouse, **options)
        messages = [message for message in result.warnings if "memory" in message]
        return result.outcome, messages, query(warehouse, "SELECT count(*) FROM memory")[0][0]

    message = "changes of memory, which profile_memory=True records, were not loaded: --allocations loads them"
    assert rows() == ("loaded", [message], 0)
    assert rows(allocations=True) == ("replaced", [], 7)
    assert rows(allocations=True) == ("unchanged", [], 7)
    assert rows() == ("replaced", [message], 0)
    # the run directory of a recording that was asked for them
    (path.parent / "run.json").write_text('{"format": 1, "name": "mine", "outcome": "ok", "allocations": true}')
    assert rows() == ("replaced", [], 7)
    # a value of another type is as if it were absent
    (path.parent / "run.json").write_text('{"format": 1, "name": "mine", "outcome": "ok", "allocations": "yes"}')
    assert rows() == ("replaced", [message], 0)
