"""The way of replays' counts, and of what the profiler costs them, into the warehouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, run_directory
from tests.analyze.together import Loading, together

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


@together
def test_a_step_counts_what_a_graph_replayed_in_it(folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", decoding())
    rows = run.query("SELECT kind, step, replayed_kernels FROM steps ORDER BY step")
    assert rows == [("decode", 1, 3), ("launched", 2, 0)]


@pytest.mark.parametrize("twin", [False, True])
@together
def test_a_replayed_step_s_expected_time(folder: Path, *, twin: bool) -> Loading:
    """A fourth of a microsecond for each of three nodes; of no other activity, whatever the twin tells."""
    folder = run_directory(folder / "a", described(profiler={"graph_node_ns": 250.0, "graphs": []}), trace=False)
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
    run = yield folder
    found = run.query("SELECT count(*) FROM kernel_roofline WHERE attribution = 'graph_twin'")
    assert found == [(4 if twin else 0,)]
    assert run.query(NODES) == [(250.0,)]
    rows = run.query(
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
@together
def test_a_run_without_a_calibration_has_no_cost(folder: Path, profiler: dict[str, Any]) -> Loading:
    folder = run_directory(folder / "a", described(**profiler), trace=False)
    kineto.write(folder / "trace.json.gz", decoding())
    run = yield folder
    assert run.result.outcome == "loaded"
    assert run.query(NODES) == [(None,)]
    assert run.query("SELECT DISTINCT expected_ns, expected_error FROM overhead") == [(None, None)]


@together
def test_operators_in_the_place_of_kernels_replay_nothing(folder: Path) -> Loading:
    events = [event for event in kineto.matmul_step() if event.get("cat") not in ("kernel", "gpu_memcpy", "gpu_memset")]
    run = yield kineto.write(folder / "t.json", events)
    assert run.query("SELECT replayed_kernels FROM steps") == [(0,)]
    assert run.query("SELECT replayed_kernels, expected_ns FROM overhead") == [(0.0, None)]
