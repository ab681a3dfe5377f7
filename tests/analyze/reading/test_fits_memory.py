"""Bounded memory changes no row, says what it lacks, and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.reading import columns, fits_memory, parts, reader
from ridgeline.analyze.reading import trace as frames
from ridgeline.analyze.reading.decoders import Decoders
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.reader import TraceReader
from ridgeline.analyze.reading.trace import assemble
from ridgeline.analyze.resources import limits
from ridgeline.analyze.resources.limits import Limits
from ridgeline.warehouse import insertion
from tests.analyze import kineto
from tests.analyze.loading import dump, failures, query

SHARED = Path(__file__).resolve().parents[3] / "../shared"
TABLES = ("kernels", "kernel_classes", "operators", "steps", "gaps", "ledger", "counters")


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is cut is cut small, in this process."""
    monkeypatch.setattr(reader, "BLOCK_BYTES", 700)
    monkeypatch.setattr(parts, "SPILL_ROWS", 5)
    monkeypatch.setattr(frames, "_SLICE_ROWS", 3)
    monkeypatch.setattr(insertion, "SLICE_ROWS", 4)


def rows_of(warehouse: Path) -> dict[str, object]:
    stored = dump(warehouse)
    return {table: stored[table] for table in TABLES}


def compare_sliced(trace: Path, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, object]:
    """Load whole, then in slices; the rows of the first."""
    whole, sliced = tmp_path / "whole.duckdb", tmp_path / "sliced.duckdb"
    assert not failures(analyze([trace], whole))
    request.getfixturevalue("small_slices")
    assert not failures(analyze([trace], sliced, memory=limits.resident_bytes() + (512 << 20)))
    assert rows_of(sliced) == rows_of(whole)
    return rows_of(whole)


def test_slices_change_no_row(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    trace = kineto.write(tmp_path / "t.json.gz", kineto.matmul_step() * 7)
    rows = compare_sliced(trace, tmp_path, request)
    assert len(rows["kernels"]) == 28  # type: ignore[arg-type]
    accounts = query(tmp_path / "sliced.duckdb", "SELECT account, SUM(duration_ns) FROM ledger GROUP BY ALL ORDER BY 1")
    ((total,),) = query(tmp_path / "whole.duckdb", "SELECT device_time_ns FROM runs")
    assert accounts == [("attribution", total), ("price", total)]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared traces")
@pytest.mark.parametrize("name", ["h100-bert-small", "a100-cupti-counters"])
def test_slices_change_no_row_of_a_real_trace(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    compare_sliced(SHARED / "traces" / f"{name}.json.gz", tmp_path, request)


def test_spilled_columns_are_those_held(tmp_path: Path, small_slices: None) -> None:
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step() * 7)
    held, spilled = read_part(path), read_part(path, folder=tmp_path / "columns")
    assert spilled.spilled == {group: held.rows(group) for group in columns.GROUPS}
    expected, found = assemble([held], path), assemble([spilled], path)
    for group in ("device", "launches", "operators", "annotations"):
        assert getattr(found, group).equals(getattr(expected, group))
    assert not (tmp_path / "columns").exists()


@pytest.mark.parametrize("ending", ["whole", "cut off"])
def test_nothing_is_left_beside_the_warehouse(tmp_path: Path, small_slices: None, ending: str) -> None:
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step() * 7)
    if ending == "cut off":
        path.write_text(path.read_text()[:-100])
    results = analyze([path], tmp_path / "w.duckdb")
    assert [result.outcome for result in results] == ["loaded" if ending == "whole" else "failed"]
    assert {found.name for found in tmp_path.iterdir()} - {"w.duckdb"} == {"t.json"}


def test_scratch_goes_with_the_decoders(tmp_path: Path) -> None:
    with Decoders(1, tmp_path):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_says_what_it_takes(tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits_memory, "ROW_BYTES", dict.fromkeys(columns.GROUPS, 1 << 30))
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    (error,) = failures(analyze([path], warehouse, memory=1 << 30))
    assert "more than the 1.1 GB allowed: try --memory" in error
    assert "\n" not in error
    assert not warehouse.exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9), ("512MB", 512 * 10**6), ("1.5GiB", 3 << 29), ("64k", 64_000), ("300", 300),
        (" 1 tb ", 10**12),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert limits.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "2XB", "-1GB", "1e9", "two"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size: expected one such as 2GB"):
        limits.parse_size(text)


def test_decoders_have_room() -> None:
    assert Limits.of(512 << 20).decoders(64) == 2
    assert Limits.of(1).decoders(64) == 1
    assert Limits.of(64 << 30).decoders(8) == 8


def test_the_smallest_limit_of_control_groups_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text(f"{100 << 20}\n")
    monkeypatch.setattr(limits, "_LIMITS", [str(tmp_path / name) for name in ("max", "limit", "absent")])
    assert limits.default_bytes() == int(0.6 * (100 << 20))


def test_a_bomb_stops_at_the_limit(tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / "bomb.json.gz"
    event = json.dumps(kineto.kernel("k", 1.0, 1.0)).encode()
    bomb.write_bytes(gzip.compress(b'{"traceEvents": [' + event + b" " * (8 << 20) + b"]}"))
    monkeypatch.setenv("RIDGELINE_MAX_TRACE_BYTES", str(1 << 20))
    (error,) = failures(analyze([bomb], warehouse))
    assert error == (
        f"{bomb}: more than 1,048,576 bytes, as decompressed: if it is meant to be that large, "
        "set RIDGELINE_MAX_TRACE_BYTES"
    )
    monkeypatch.delenv("RIDGELINE_MAX_TRACE_BYTES")
    assert not failures(analyze([bomb], warehouse))


@pytest.mark.parametrize("filler", ["x", '\\"}, {\\"ph\\": '], ids=["endless", "as if between events"])
def test_an_event_without_end_stops_at_the_limit(tmp_path: Path, filler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 4096)
    path = tmp_path / "t.json"
    path.write_text(kineto.text([kineto.kernel("NAME", 1.0, 2.0)]).replace("NAME", filler * (300_000 // len(filler))))
    with pytest.raises(TraceError, match="no end of an event within"):
        read_part(path, largest_event_bytes=100_000)
    assert read_part(path).rows("device") == 1


def test_the_limit_is_of_one_event_not_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 4096)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step() * 40)
    traces = TraceReader(path, largest_event_bytes=10_000)
    assert sum(1 for _ in traces.pieces()) > 3


def test_a_deep_thread_is_attributed(tmp_path: Path, warehouse: Path) -> None:
    """Operators nested ten thousand deep, twice over: each one's parent is the one before it."""
    depth = 10_000
    events = [
        kineto.operator("aten::mm", base + 0.001 * i, 40.0 - 0.002 * i, number * depth + i + 1)
        for number, base in enumerate((1.0, 101.0))
        for i in range(depth)
    ]
    events += [kineto.launch(20.0, 1), kineto.kernel("k", 60.0, 1.0, 1)]
    assert not failures(analyze([kineto.write(tmp_path / "t.json", events)], warehouse))
    assert query(warehouse, "SELECT count(*), count(*) FILTER (parent_id = operator_id - 1) FROM operators") == [
        (2 * depth, 2 * (depth - 1))
    ]
    assert query(warehouse, "SELECT operator_id, launch_ns FROM kernels") == [(depth - 1, 20_000)]
