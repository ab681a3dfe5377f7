"""HolisticTraceAnalysis as an independent reader: on traces where it is right, its sums are ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import connect
from tests.analyze import kineto

H200 = Path(__file__).parents[2] / "data" / "h200"
RUNS = sorted(path.name for path in H200.iterdir() if path.is_dir())
FOREIGN = sorted((Path(__file__).parents[4] / "shared" / "foreign").glob("*_train.json.gz"))
TRAINING = ["by_hand", *(path.name.removesuffix(".json.gz") for path in FOREIGN)]
SCRIPT = """
import json, logging, sys, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
from hta.trace_analysis import TraceAnalysis
for path in sys.argv[1:]:
    folder = path.rpartition("/")[0]
    # without this the kernels of the last ProfilerStep are left out
    analysis = TraceAnalysis(trace_files={0: path}, trace_dir=folder, include_last_profiler_step=True)
    events, names = analysis.t.get_trace(0), analysis.t.symbol_table.get_sym_table()
    device = events[events["stream"] >= 0]
    grouped = device.groupby(device["cat"].map(lambda code: names[code]))["dur"].agg(["count", "sum"])
    sums = {str(k): [int(n), float(t)] for k, n, t in grouped.itertuples()}
    row = analysis.get_temporal_breakdown(visualize=False).iloc[0]
    busy_us = float(row["compute_time(us)"] + row["non_compute_time(us)"])
    span_us, idle_us = float(row["kernel_time(us)"]), float(row["idle_time(us)"])
    print(json.dumps({"sums": sums, "busy_us": busy_us, "span_us": span_us, "idle_us": idle_us}))
"""


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two iterations of training by hand, with 20 us between them in which the device waits."""
    folder = tmp_path_factory.mktemp("training")
    second = [event | {"ts": event["ts"] + 20} for event in kineto.training_step(2)]
    return kineto.write(folder / "by_hand.json.gz", kineto.training_step(1) + second)


@pytest.fixture(scope="module")
def by_hta(training: Path) -> dict[str, Any]:
    """What HTA has of each run, in a process of its own: it reads its environment once, and warns a lot."""
    environment = {**os.environ, "HTA_DISABLE_NS_ROUNDING": "1"}
    paths = [*(H200 / name / "trace.json.gz" for name in RUNS), training, *FOREIGN]
    command = [sys.executable, "-c", SCRIPT, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"sums"')]
    return dict(zip([*RUNS, *TRAINING], map(json.loads, lines), strict=True))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, training: Path) -> Path:
    path = tmp_path_factory.mktemp("hta") / "w.duckdb"
    assert {result.outcome for result in analyze([H200, training, *FOREIGN], path)} == {"loaded"}
    return path


@pytest.mark.process
@pytest.mark.parametrize("name", RUNS)
def test_device_time_by_category_and_busy_time_agree(warehouse: Path, by_hta: dict[str, Any], name: str) -> None:
    theirs = by_hta[name]
    connection = connect(warehouse, read_only=True)
    rows = connection.execute(
        "SELECT category, count(*), sum(duration_ns) FROM kernels JOIN kernel_classes USING (run_id, class_id)"
        " JOIN runs USING (run_id) WHERE name = ? GROUP BY category",
        [name],
    ).fetchall()
    (busy_ns, span_ns) = connection.execute(
        "SELECT sum(s.busy_ns), max(s.end_ns) - min(s.start_ns) FROM steps s JOIN runs USING (run_id) WHERE name = ?",
        [name],
    ).fetchall()[0]
    connection.close()
    ours = {category if category == "kernel" else f"gpu_{category}": [n, ns] for category, n, ns in rows}
    assert ours == {category: [n, round(us * 1000)] for category, (n, us) in theirs["sums"].items()}
    # HTA keeps microseconds as doubles: a hundredth of one is its rounding
    assert busy_ns == pytest.approx(theirs["busy_us"] * 1000, abs=10)
    assert span_ns == pytest.approx(theirs["span_us"] * 1000, abs=10)


@pytest.mark.process
@pytest.mark.parametrize("name", TRAINING)
def test_the_time_of_training_is_the_time_of_its_steps(warehouse: Path, by_hta: dict[str, Any], name: str) -> None:
    """HTA divides the time of the device. The steps divide it too, but for the gaps between them."""
    connection = connect(warehouse, read_only=True)
    columns = "SUM(t.busy_ns), SUM(t.idle_ns), MAX(t.end_ns) - MIN(t.start_ns)"
    query = "SELECT {} FROM {} t JOIN runs r ON r.run_id = t.run_id WHERE r.name = ?"
    device = connection.execute(query.format(columns, "device_timeline"), [name]).fetchall()[0]
    steps = connection.execute(query.format(columns, "steps"), [name]).fetchall()[0]
    gaps = query.format("COALESCE(SUM(duration_ns), 0)", "gaps") + " AND step_id IS NULL"
    between_ns = connection.execute(gaps, [name]).fetchall()[0][0]
    connection.close()
    theirs = by_hta[name]
    assert device == pytest.approx([theirs[part] * 1000 for part in ("busy_us", "idle_us", "span_us")], abs=10)
    assert (steps[0], steps[1] + between_ns, steps[2]) == device
    assert name != "by_hand" or (steps, between_ns) == ((399_500, 0, 419_750), 20_250)
