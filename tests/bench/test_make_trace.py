import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.bench import make_trace

SOURCE: dict[str, Any] = {
    "schemaVersion": 1,
    "baseTimeNanoseconds": 1751410836000000000,
    "traceEvents": [
        {"name": "process_name", "ph": "M", "ts": 99.0, "pid": 7, "tid": 0, "args": {"name": "python"}},
        {"ph": "X", "cat": "user_annotation", "name": "phase=decode step=3", "pid": 7, "tid": 7,
         "ts": 1000.001, "dur": 10, "args": {"External id": 5, "Record function id": 0}},
        {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 7, "tid": 7, "ts": 1000.25, "dur": 2.5,
         "args": {"External id": 6, "Input Dims": [[2, 3], [3, 4]]}},
        {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 7, "tid": 7, "ts": 1001.5, "dur": 1.0,
         "args": {"External id": 6, "correlation": 40}},
        {"ph": "s", "id": 40, "pid": 7, "tid": 7, "ts": 1001.5, "cat": "ac2g", "name": "ac2g"},
        {"ph": "X", "cat": "kernel", "name": "gemm<float, 3>", "pid": 0, "tid": 7, "ts": 1008.125, "dur": 4.001,
         "args": {"External id": 6, "correlation": 40, "stream": 7, "warps per SM": 0.030303}},
    ],
}  # fmt: skip

# from 1000.001 to 1012.126 (the kernel's end), and a gap of a microsecond
STRIDE_NS = 12_125 + 1_000


@pytest.fixture
def trace(tmp_path: Path) -> make_trace.Trace:
    path = tmp_path / "source.json"
    path.write_text(json.dumps(SOURCE))
    return make_trace.Trace.read(path)


def repeated(trace: make_trace.Trace, repeats: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads("".join(make_trace.render(trace, repeats)), parse_float=Decimal)
    return document


def test_one_repeat_is_the_source(trace: make_trace.Trace) -> None:
    assert json.loads("".join(make_trace.render(trace, 1))) == SOURCE


def test_header_is_kept_and_names_are_written_once(trace: make_trace.Trace) -> None:
    document = repeated(trace, 3)
    events = document.pop("traceEvents")
    assert document == {k: v for k, v in SOURCE.items() if k != "traceEvents"}
    assert [e["ph"] for e in events] == ["M", *["X", "X", "X", "s", "X"] * 3]


def test_times_shift_by_whole_nanoseconds(trace: make_trace.Trace) -> None:
    kernels = [e for e in repeated(trace, 3)["traceEvents"] if e.get("cat") == "kernel"]
    assert [int(e["ts"] * 1000) for e in kernels] == [1_008_125 + i * STRIDE_NS for i in range(3)]
    assert {e["dur"] for e in kernels} == {Decimal("4.001")}


def test_ids_stay_distinct_and_links_hold(trace: make_trace.Trace) -> None:
    events = repeated(trace, 2)["traceEvents"]
    by_category = {c: [e for e in events if e.get("cat") == c] for c in ("cpu_op", "cuda_runtime", "ac2g", "kernel")}
    correlations = [e["args"]["correlation"] for e in by_category["kernel"]]
    assert len(set(correlations)) == 2
    assert correlations == [e["args"]["correlation"] for e in by_category["cuda_runtime"]]
    assert correlations == [e["id"] for e in by_category["ac2g"]]
    assert [e["args"]["External id"] for e in by_category["kernel"]] == [
        e["args"]["External id"] for e in by_category["cpu_op"]
    ]


def test_steps_are_renumbered_and_zero_stays_no_id(trace: make_trace.Trace) -> None:
    steps = [e for e in repeated(trace, 2)["traceEvents"] if e.get("cat") == "user_annotation"]
    assert [e["name"] for e in steps] == ["phase=decode step=3", "phase=decode step=4"]
    assert {e["args"]["Record function id"] for e in steps} == {0}


def test_layout_is_kinetos(trace: make_trace.Trace) -> None:
    text = "".join(make_trace.render(trace, 1))
    assert (
        '  {\n    "ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 7, "tid": 7,\n'
        '    "ts": 1000.250, "dur": 2.500,\n    "args": {\n      "External id": 6, '
        '"Input Dims": [[2, 3], [3, 4]]\n    }\n  },\n' in text
    )


def test_size_is_met(trace: make_trace.Trace, tmp_path: Path) -> None:
    target = tmp_path / "big.json"
    repeats = make_trace.repeats_for(trace, 0.5)
    assert make_trace.write(trace, target, repeats) == 1 + 5 * repeats
    assert target.stat().st_size == pytest.approx(500_000, rel=0.03)


def test_target_may_be_compressed(trace: make_trace.Trace, tmp_path: Path) -> None:
    make_trace.write(trace, tmp_path / "small.json.gz", 1)
    with gzip.open(tmp_path / "small.json.gz") as file:
        assert json.load(file) == SOURCE
