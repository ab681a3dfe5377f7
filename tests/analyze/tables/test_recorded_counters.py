"""Counters of recorded runs: read as capture reads them, joined to every kernel, and their sums known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.attribution.operators import attribute, build_tree, parse_labels, step_labels
from ridgeline.analyze.companions.counter_files import read_cupti, read_ncu
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.trace import assemble
from ridgeline.analyze.tables.counters import counter_rows
from ridgeline.capture.counters import by_ncu as nsight
from ridgeline.capture.counters.cupti import join
from tests.analyze.loading import query
from tests.analyze.together import Loading, together

SHARED = Path(__file__).parents[4] / "shared"
COUNTED = sorted(path.parent for path in (Path(__file__).parents[2] / "data" / "h200-counted").glob("*/run.json"))
READ, WRITE = "dram__bytes_read.sum", "dram__bytes_write.sum"
MESSAGE = "SELECT counters_message FROM runs"


@pytest.mark.parametrize("run", COUNTED, ids=lambda run: run.name)
def test_ours_is_read_as_capture_reads_it(run: Path) -> None:
    path = run / "trace.counters.csv.gz"
    file = read_cupti(path)
    found = file.values.join(file.kernels, on=["step", "launch_index"])
    assert sorted(found.select("step", "launch_index", "kernel", "metric", "value").rows()) == sorted(
        (row.step, row.launch_index, row.kernel, row.metric, row.value) for row in join.read(path)
    )


@pytest.mark.parametrize("run", COUNTED, ids=lambda run: run.name)
@together
def test_every_kernel_of_a_recorded_run_has_its_memory_counters(run: Path, folder: Path) -> Loading:
    loaded = yield run
    assert loaded.query(MESSAGE) == [(None,)]
    rows = loaded.query(
        "SELECT t.step, c.category = 'kernel', r.counter_dram_bytes IS NOT NULL AND r.l2_bytes IS NOT NULL, count(*)"
        " FROM kernel_roofline r JOIN kernels k USING (run_id, kernel_id)"
        " JOIN kernel_classes c USING (run_id, class_id)"
        " JOIN steps t ON t.run_id = r.run_id AND t.step_id = k.step_id GROUP BY ALL",
    )
    assert {is_kernel for _, is_kernel, counted, _ in rows if counted} == {True}
    assert [row for row in rows if row[1] != row[2]] == []
    sums = loaded.query("SELECT step, sum(counter_dram_bytes) FROM kernel_roofline GROUP BY step ORDER BY step")
    expected: dict[int, float] = {}
    for row in join.read(run / "trace.counters.csv.gz"):
        if row.metric in (READ, WRITE):
            expected[row.step] = expected.get(row.step, 0.0) + row.value
    assert dict(sums) == pytest.approx(expected)


needs_shared = pytest.mark.skipif(not (SHARED / "h200").is_dir(), reason="the reference traces are not at hand")
STEPS = {  # kernels; DRAM and L2 bytes; tensor operations; kernels that move no DRAM bytes
    "ar_decode": (1492, 15.29e9, 24.0e9, 0.123e12, 197),
    "ar_decode_b16": (1460, 16.42e9, 27.0e9, 0.262e12, 164),
    "dlm_full": (1244, 36.26e9, 156.8e9, 18.24e12, 0),
    "dlm_prefix": (1339, 17.36e9, 39.4e9, 2.00e12, 1),
}


@needs_shared
@pytest.mark.parametrize("name", STEPS)
def test_nsight_compute_s_sums_of_reference_steps(reference: Callable[[str], Path], name: str) -> None:
    kernels, dram, l2, tensor, none = STEPS[name]
    warehouse = reference(name)
    rows = query(
        warehouse,
        "SELECT count(*), count(counter_dram_bytes), count(l1_bytes), sum(counter_dram_bytes), sum(l2_bytes),"
        " sum(counter_flops), count(*) FILTER (dram_bytes = 0 AND dram_bytes_source = 'counter') FROM kernel_roofline"
        " WHERE dram_bytes_source <> 'trace' GROUP BY step",
    )
    assert (
        rows
        == [
            (
                kernels,
                kernels,
                kernels,
                pytest.approx(dram, rel=1e-3),
                pytest.approx(l2, rel=2e-3),
                pytest.approx(tensor, rel=4e-3),
                none,
            )
        ]
        * 2
    )
    assert query(warehouse, MESSAGE) == [(None,)]


@needs_shared
@pytest.mark.parametrize("name", STEPS)
def test_nsight_compute_s_file_is_read_as_capture_reads_it(name: str) -> None:
    path = SHARED / "h200" / f"{name}.ncu.csv.gz"
    file, expected = read_ncu(path), nsight.read(path)
    assert file.kernels["kernel"].to_list() == [kernel.name for kernel in expected]
    assert sorted(file.values.select("launch_index", "metric", "value").rows()) == sorted(
        (i, metric, value)
        for i, kernel in enumerate(expected)
        for metric, value in kernel.metrics.items()
        if metric.endswith(".sum")
    )


@needs_shared
def test_a_replay_without_counters_of_its_own_is_given_none(reference: Callable[[str], Path]) -> None:
    warehouse = reference("ar_decode_graph")
    assert query(warehouse, "SELECT count(*) FROM counters") == [(0,)]
    assert query(warehouse, MESSAGE) == [(None,)]


@needs_shared
@together
def test_ranges_of_an_old_trace_keep_their_counters(folder: Path) -> Loading:
    run = yield SHARED / "traces" / "a100-cupti-counters.json.gz"
    rows: list[Any] = run.query("SELECT source, count(DISTINCT kernel_id), count(*) FROM counters GROUP BY ALL")
    assert rows == [("cuda_profiler_range", 77, 693)]
    ((flops, counted),) = run.query("SELECT sum(counter_flops), count(counter_flops) FROM kernel_roofline")
    assert (flops, counted) == (2 * (39142369720 + 275791872) + 964651656 + 430063616, 77)


@pytest.mark.parametrize("trace", sorted((SHARED / "foreign").glob("*.json.gz")), ids=lambda path: path.stem[:-5])
def test_programs_of_others_have_their_counters(tmp_path: Path, trace: Path) -> None:
    """The same join without the rows of a warehouse, which take most of the time."""
    decoded = assemble([read_part(trace)], trace)
    labels = parse_labels(decoded)
    tree = build_tree(decoded, labels)
    steps = step_labels(decoded, tree, labels)
    file = read_ncu(trace.with_name(trace.name.replace(".json", ".ncu.csv")), None)
    rows, messages = counter_rows(decoded, attribute(decoded, tree), steps, [file])
    assert rows["kernel_id"].n_unique() == (decoded.device["category"] == 0).sum()
    assert not messages
