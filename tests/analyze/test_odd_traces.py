"""Fields of any type at any place: a trace loads with both accounts closed, or fails for a reason that was foreseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import connect
from tests.analyze import kineto
from tests.fuzz.fuzz_reader import check
from tests.sampling import every

VALUES: list[Any] = [None, "x", -5, 7.5, 2**70, 1e300, True, [], [1], {}, {"a": 1}, "\ud800", "\0", 2**63 - 1]
PLACES = [(i, field) for i in (0, 2, 4, 9) for field in ("name", "cat", "ph", "ts", "dur", "pid", "tid", "args")]
ARGUMENTS = [
    (2, "External id"), (2, "Input Dims"), (2, "Input type"), (2, "Concrete Inputs"), (4, "correlation"),
    (9, "External id"), (9, "correlation"), (9, "stream"), (9, "device"), (12, "bytes"),
]  # fmt: skip


def mutations() -> list[tuple[str, dict[str, Any]]]:
    """(what was changed, the trace)."""
    found = []
    for value in VALUES:
        for index, field in PLACES:
            events = kineto.matmul_step()
            events[index][field] = value
            found.append((f"{index}.{field}={value!r}", {"traceEvents": events}))
        for index, field in ARGUMENTS:
            events = kineto.matmul_step()
            events[index]["args"] = {**events[index]["args"], field: value}
            found.append((f"{index}.args.{field}={value!r}", {"traceEvents": events}))
        for key in ("deviceProperties", "distributedInfo", "traceEvents", "baseTimeNanoseconds"):
            trace = {**kineto.HEADER, "traceEvents": kineto.matmul_step(), key: value}
            found.append((f"{key}={value!r}", trace))
        ranges = [{**kineto.kernel("r", 1.0, 2.0, category="cuda_profiler_range"), "args": value}]
        found.append((f"range.args={value!r}", {"traceEvents": ranges}))
    return found


def test_odd_values_are_read_or_refused(tmp_path: Path) -> None:
    """As far as the joins; what is read accounts for every nanosecond."""
    cases = every(3, mutations())
    read = [check(tmp_path / "t.json", json.dumps(trace).encode()) for _, trace in cases]
    assert sum(read) > len(cases) / 3


def test_odd_values_load_or_fail_with_a_foreseen_reason(tmp_path: Path) -> None:
    """Into a warehouse; without ``--exhaustive`` two of each value, each at another place."""
    cases = every(23, mutations())
    warehouse = tmp_path / "w.duckdb"
    analyze([kineto.write(tmp_path / "good.json", kineto.matmul_step())], warehouse)
    unforeseen = []
    paths = []
    for i, (_, trace) in enumerate(cases):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps(trace))
    results = analyze(paths, warehouse)
    for (what, _), result in zip(cases, results, strict=True):
        if result.error and "cannot be loaded" in str(result.error):
            unforeseen.append((what, str(result.error)))
    assert unforeseen == []
    connection = connect(warehouse, read_only=True)
    rows = connection.execute(
        "SELECT r.name, l.account FROM runs r JOIN ledger l USING (run_id) GROUP BY ALL"
        " HAVING sum(l.duration_ns) <> any_value(r.device_time_ns)"
    ).fetchall()
    (loaded,) = connection.execute("SELECT count(*) FROM runs").fetchone() or (0,)
    connection.close()
    assert rows == []
    assert loaded > len(cases) / 3


def test_a_flipped_byte_loads_or_fails_with_a_foreseen_reason(tmp_path: Path) -> None:
    paths = []
    for position in every(5, range(0, 1500, 37)):
        data = bytearray(kineto.text(kineto.matmul_step()).encode())
        data[position % len(data)] ^= 0xA5
        paths.append(tmp_path / f"{position}.json")
        paths[-1].write_bytes(data)
    results = analyze(paths, tmp_path / "w.duckdb")
    assert len(results) == len(paths)
    assert [str(result.error) for result in results if "cannot be loaded" in str(result.error)] == []
