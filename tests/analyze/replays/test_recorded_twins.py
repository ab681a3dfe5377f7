"""Replays recorded on an H200 learn everything from their twin, and stay aligned when kernels differ."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path

import pytest

from ridgeline.analyze.ingest import Result, analyze
from tests.analyze import kineto
from tests.analyze.loading import query
from tests.analyze.replays.steps import assert_conserved

ROOT = Path(__file__).parents[3]
COUNTED = ROOT / "tests" / "data" / "h200-counted"
H200 = ROOT.parent / "shared" / "h200"
needs_h200 = pytest.mark.skipif(not H200.is_dir(), reason="the reference traces are not beside the project")


@pytest.mark.parametrize("execution", ["compile", "cuda_graph"])
def test_recorded_replays_learn_everything_from_their_twin(tmp_path: Path, warehouse: Path, execution: str) -> None:
    """The twin itself, analyzed as a trace, has the same operators, modules, FLOPs and bytes in the same steps."""
    (folder,) = COUNTED.glob(f"*_{execution}")
    (result,) = analyze([folder], warehouse)
    assert result.matched
    kernels, duration_ns, of_kernels, of_duration_ns = result.matched
    assert (kernels, duration_ns) == (of_kernels, of_duration_ns)
    assert kernels == result.kernels - 3  # a copy to the device begins each of the three steps, launched as ever
    assert_conserved(warehouse, result.device_time_ns)
    work = (
        "SELECT phase, kind, step, family, operator, module, count(*), round(sum(flops)), round(sum(compulsory_bytes))"
        " FROM kernel_roofline GROUP BY ALL ORDER BY ALL"
    )
    twin = tmp_path / "twin.json.gz"
    twin.write_bytes((folder / "trace.twin.json.gz").read_bytes())
    analyze([twin], tmp_path / "twin.duckdb")
    assert query(warehouse, work) == query(tmp_path / "twin.duckdb", work)
    shares = query(
        warehouse,
        "SELECT sum(share) FROM kernels JOIN kernel_classes USING (class_id) WHERE category = 'kernel'"
        " GROUP BY operator_id",
    )
    assert [share for (share,) in shares] == pytest.approx([1.0] * len(shares))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The reference replays with their twin, in a warehouse to copy, and the result of loading them."""
    path = tmp_path_factory.mktemp("pair") / "w.duckdb"
    (result,) = analyze([H200 / "ar_decode_graph.json.gz"], path, twin=H200 / "ar_decode.json.gz")
    return path, result


@needs_h200
def test_the_reference_pair_is_aligned_whole(warehouse: Path, pair: tuple[Path, Result]) -> None:
    stored, result = pair
    shutil.copyfile(stored, warehouse)
    assert result.matched
    assert result.matched[:2] == result.matched[2:]
    assert (result.kernels, result.matched.kernels) == (2988, 2988)
    analyze([H200 / "ar_decode.json.gz"], warehouse)
    assert_conserved(warehouse)
    flops = query(
        warehouse,
        "SELECT family, step, count(DISTINCT round(sum)) FROM (SELECT name, family, step, sum(flops) AS sum"
        " FROM kernel_roofline GROUP BY ALL) GROUP BY ALL HAVING count(*) <> 2 OR count(DISTINCT round(sum)) <> 1",
    )
    assert flops == []


@needs_h200
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_the_reference_pair_with_kernels_removed_and_inserted(
    tmp_path: Path, warehouse: Path, pair: tuple[Path, Result], share: float
) -> None:
    trace = json.loads(gzip.decompress((H200 / "ar_decode_graph.json.gz").read_bytes()))
    draw = random.Random(7)
    events: list[kineto.Event] = []
    inserted = 0
    for event in trace["traceEvents"]:
        if event.get("cat") != "kernel" or draw.random() > share:
            events.append(event)
        elif draw.random() < 0.5:
            events += [event, event | {"name": "extra", "ts": event["ts"] - 0.001, "dur": 0.001}]
            inserted += 1
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(trace | {"traceEvents": events}))
    stored, whole = pair
    shutil.copyfile(stored, warehouse)
    (result,) = analyze([path], warehouse, twin=H200 / "ar_decode.json.gz")
    assert whole.matched
    assert result.matched
    assert inserted > 10
    assert result.matched.of_kernels == result.kernels
    assert result.matched.kernels == result.kernels - inserted
    assert result.matched.of_duration_ns - result.matched.duration_ns == inserted
    assert result.matched.kernels < whole.kernels
    rows = query(
        warehouse,
        "SELECT count(*), count(*) FILTER (w.operator = b.operator), count(*) FILTER (w.module = b.module OR"
        " (w.module IS NULL AND b.module IS NULL)) FROM kernel_roofline b"
        " JOIN kernel_roofline w ON b.start_ns = w.start_ns AND b.kernel = w.kernel"
        " WHERE b.name = 'broken' AND w.name = 'ar_decode_graph'",
    )
    ((kernels, operators, their_modules),) = rows
    assert kernels == result.matched.kernels
    assert operators > 0.97 * kernels
    assert their_modules > 0.97 * kernels
    assert_conserved(warehouse)
