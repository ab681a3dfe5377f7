"""The geometry of launches from the trace to the views, and waves against Nsight Compute's."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.ingest import analyze
from tests.analyze import kineto
from tests.analyze.loading import query
from tests.analyze.together import Loading, Run, together

SHARED = Path(__file__).parents[4] / "shared"
CAPACITY = {
    "maxThreadsPerMultiprocessor": 2048,
    "regsPerMultiprocessor": 65536,
    "sharedMemPerMultiprocessor": 233472,
}
GEOMETRY = {
    "registers per thread": 32,
    "shared memory": 1024,
    "blocks per SM": 0.242424,
    "warps per SM": 0.969697,
    "grid": [8, 2, 2],
    "block": [64, 2, 1],
    "est. achieved occupancy %": 2,
}
FACTS = "grid_x, grid_y, grid_z, block_x, block_y, block_z, registers, shared_bytes, occupancy"
SHOWN = "grid_blocks, block_threads, registers, shared_bytes, occupancy"
UNKNOWN = (None,) * 5


def header(**capacity: Any) -> dict[str, Any]:
    (device,) = kineto.HEADER["deviceProperties"]
    return {**kineto.HEADER, "deviceProperties": [device | CAPACITY | capacity]}


def trace(folder: Path, *launches: dict[str, Any], **device: Any) -> Path:
    """A trace of kernels with these arguments."""
    kernels = [kineto.kernel("k", 100.0 * number, 50.0, **args) for number, args in enumerate(launches)]
    events = [kineto.annotation("phase=decode step=0", 0.0, 1.0), *kernels]
    return kineto.write(folder / "t.json", events, header=header(**device))


def shown(run: Run) -> list[tuple[Any, ...]]:
    """What ``kernel_roofline`` has of the kernels."""
    return run.query(f"SELECT {SHOWN} FROM kernel_roofline ORDER BY start_ns")


@together
def test_launches_keep_their_geometry_and_share_classes(folder: Path) -> Loading:
    large = GEOMETRY | {"grid": [4096, 1, 1], "shared memory": 65536, "est. achieved occupancy %": 0}
    run = yield trace(folder, GEOMETRY, GEOMETRY, large, {"bytes": 8, "category": "gpu_memset"})
    rows = shown(run)
    # Kineto's 0 stands for over 48 KiB: three blocks of 65 KiB have 384 of 2,048 threads
    assert rows == [(32, 128, 32, 1024, 0.02)] * 2 + [(4096, 128, 32, 65536, 384 / 2048), UNKNOWN]
    facts = run.query(f"SELECT {FACTS} FROM kernel_classes ORDER BY class_id")
    assert facts == [
        (8, 2, 2, 64, 2, 1, 32, 1024, 0.02), (4096, 1, 1, 64, 2, 1, 32, 65536, 0.0), (None,) * 9,
    ]  # fmt: skip
    devices = "multiprocessor_threads, multiprocessor_registers, multiprocessor_shared_bytes"
    assert run.query(f"SELECT {devices} FROM devices") == [(2048, 65536, 233472)]
    assert run.query("SELECT DISTINCT cause, evidence FROM kernel_causes WHERE kernel_id = 0") == [
        ("few_blocks", "32 blocks on 132 multiprocessors: at most 24 % of them work")
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"grid": "many"}, {"grid": [8, 2]}, {"grid": [8, 2, 0]}, {"grid": [8, -2, 2]}, {"grid": [8.5, 2, 2]},
        {"grid": [1 << 30, 1 << 30, 1 << 30]}, {"grid": [1 << 99, 1, 1]}, {"grid": None}, {"grid": {"x": 8}},
        {"grid": ["x" * 300, 2, 2]},
    ],
)  # fmt: skip
@together
def test_a_value_of_another_form_is_unknown_and_costs_no_other(folder: Path, odd: dict[str, Any]) -> Loading:
    expected = (None, 128, 32, 1024, 0.02)
    run = yield trace(folder, GEOMETRY | odd)
    assert shown(run) == [UNKNOWN if "x" * 300 in str(odd) else expected]


@together
def test_each_value_is_unknown_by_itself(folder: Path) -> Loading:
    odd = [
        ("block", [2048, 2048, 64]),
        ("registers per thread", -1),
        ("shared memory", 1e99),
        ("est. achieved occupancy %", -99),
    ]
    run = yield trace(folder, *[GEOMETRY | {name: value} for name, value in odd])
    rows = shown(run)
    whole = (32, 128, 32, 1024, 0.02)
    assert rows == [
        (*whole[:1], None, *whole[2:]), (*whole[:2], None, *whole[3:]), (*whole[:3], None, whole[4]),
        # as Kineto computes it: 32 blocks of 128 threads on 132 multiprocessors
        (*whole[:4], pytest.approx(32 / 132 * 128 / 2048)),
    ]  # fmt: skip


@pytest.mark.parametrize("odd", ["many", -1, 1 << 99, None, [1]])
@together
def test_a_capacity_of_another_form_costs_the_device_nothing_else(folder: Path, odd: Any) -> Loading:
    run = yield trace(folder, GEOMETRY, regsPerMultiprocessor=odd)
    ((name, registers),) = run.query("SELECT name, multiprocessor_registers FROM devices")
    assert (name, registers) == ("NVIDIA H200", None)
    assert run.query("SELECT waves FROM launch_geometry") == [(None,)]


@together
def test_a_grid_of_hip_counts_no_blocks(folder: Path) -> Loading:
    """HIP writes blocks or work-items, depending on the call: 350,208 work-items are 1,368 blocks of 256."""
    launch = {"grid": [350_208, 1, 1], "block": [256, 1, 1], "kind": "Dispatch Kernel"}
    run = yield trace(folder, launch, name="AMD Instinct MI300X", numSms=304)
    rows = shown(run)
    assert rows == [(None, 256, None, None, None)]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the counted programs are not beside the project")
@pytest.mark.parametrize("program", ["h200/ar_decode_b16", "foreign/dlrm", "foreign/sampler", "foreign/unet"])
def test_warps_that_fit_are_nsight_computes(tmp_path: Path, program: str) -> None:
    """Each launch that Nsight Compute counted has a class of its geometry, with as many resident warps as it says."""
    analyze([SHARED / f"{program}.json.gz"], tmp_path / "w.duckdb")
    geometries: dict[tuple[Any, ...], set[float]] = {}
    sql = "SELECT grid_x, grid_y, grid_z, block_x, block_y, block_z, resident_blocks * CEIL(g.block_threads / 32)"
    for *extents, warps in query(
        tmp_path / "w.duckdb", f"{sql} FROM kernel_classes JOIN launch_geometry g USING (run_id, class_id)"
    ):
        geometries.setdefault((*extents,), set()).add(warps)
    with gzip.open(SHARED / f"{program}.ncu.csv.gz", "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["ID"]]
    assert len(rows) > 40
    for row in rows:
        launched = tuple(int(n) for name in ("Grid Size", "Block Size") for n in row[name].strip("()").split(","))
        assert float(row["sm__maximum_warps_avg_per_active_cycle"]) in geometries[launched]
