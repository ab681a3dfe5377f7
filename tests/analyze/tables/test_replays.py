"""The way of replays' counts, and of what the profiler costs them, into the warehouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, load, query, run_directory

NODES = "SELECT profiler_graph_node_ns FROM runs"


def decoding() -> list[kineto.Event]:
    """A step of a copy and three kernels of a graph, over 1 to 21 us; a launched one; a replay outside of any."""
    return [
        kineto.annotation("phase=decode step=1 kind=decode", 0.0, 30.0),
        kineto.launch(0.5, 1, "cudaMemcpyAsync"),
        kineto.kernel("Memcpy HtoD (Pageable -> Device)", 1.0, 1.0, 1, category="gpu_memcpy", bytes=8),
        kineto.launch(2.0, 2, "cudaGraphLaunch"),
        *(kineto.kernel(name, at, 3.0, 2) for name, at in (("a", 10.0), ("b", 14.0), ("c", 18.0))),
        kineto.annotation("phase=decode step=2 kind=launched", 40.0, 30.0),
        kineto.launch(42.0, 3),
        kineto.kernel("a", 50.0, 3.0, 3),
        kineto.launch(80.0, 4, "cudaGraphLaunch"),
        kineto.kernel("a", 90.0, 3.0, 4),
    ]


def described(**values: Any) -> dict[str, Any]:
    return RUN_JSON | values


def test_a_step_counts_what_a_graph_replayed_in_it(tmp_path: Path, warehouse: Path) -> None:
    load(warehouse, kineto.write(tmp_path / "t.json", decoding()))
    rows = query(warehouse, "SELECT kind, step, replayed_kernels FROM steps ORDER BY step")
    assert rows == [("decode", 1, 3), ("launched", 2, 0)]


@pytest.mark.parametrize("twin", [False, True])
def test_a_replayed_step_s_expected_time(tmp_path: Path, warehouse: Path, *, twin: bool) -> None:
    """A fourth of a microsecond for each of three nodes; of no other activity, whatever the twin tells."""
    folder = run_directory(tmp_path / "a", described(profiler={"graph_node_ns": 250.0, "graphs": []}), trace=False)
    kineto.write(folder / "trace.json.gz", decoding())
    if twin:
        launched = [
            kineto.annotation("phase=decode step=1 kind=decode", 0.0, 30.0),
            *(
                event
                for i, name in enumerate("abc")
                for event in (
                    kineto.operator("aten::relu", 5.0 + 4 * i, 3.0, 7 + i, [[4]], ["float"]),
                    kineto.launch(6.0 + 4 * i, 7 + i),
                    kineto.kernel(name, 40.0 + 4 * i, 3.0, 7 + i, **{"External id": 7 + i}),
                )
            ),
        ]
        kineto.write(folder / "trace.twin.json.gz", launched)
    load(warehouse, folder)
    found = query(warehouse, "SELECT count(*) FROM kernel_roofline WHERE attribution = 'graph_twin'")
    assert found == [(4 if twin else 0,)]
    assert query(warehouse, NODES) == [(250.0,)]
    rows = query(
        warehouse,
        "SELECT kind, kernels, replayed_kernels, wall_ns, expected_ns, unprofiled_ns, expected_error"
        " FROM overhead ORDER BY kind",
    )
    assert rows == [
        ("decode", 4.0, 3.0, 20_000.0, 19_250.0, 200.0, 19_250 / 200 - 1),
        ("launched", 1.0, 0.0, 3_000.0, None, None, None),
    ]


@pytest.mark.parametrize(
    "profiler", [{}, {"profiler": None}, {"profiler": {"graph_node_ns": None, "message": "out of memory"}}]
)
def test_a_run_without_a_calibration_has_no_cost(tmp_path: Path, warehouse: Path, profiler: dict[str, Any]) -> None:
    folder = run_directory(tmp_path / "a", described(**profiler), trace=False)
    kineto.write(folder / "trace.json.gz", decoding())
    assert load(warehouse, folder) == [("a", "loaded")]
    assert query(warehouse, NODES) == [(None,)]
    assert query(warehouse, "SELECT DISTINCT expected_ns, expected_error FROM overhead") == [(None, None)]


def test_operators_in_the_place_of_kernels_replay_nothing(tmp_path: Path, warehouse: Path) -> None:
    events = [event for event in kineto.matmul_step() if event.get("cat") not in ("kernel", "gpu_memcpy", "gpu_memset")]
    load(warehouse, kineto.write(tmp_path / "t.json", events))
    assert query(warehouse, "SELECT replayed_kernels FROM steps") == [(0,)]
    assert query(warehouse, "SELECT replayed_kernels, expected_ns FROM overhead") == [(0.0, None)]
