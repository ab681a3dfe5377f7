"""Expected time of a replayed step without the profiler, on rows inserted by hand."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tests.warehouse.rows import insert

EXPECTED = "SELECT kind, replayed_kernels, expected_ns, expected_error FROM overhead ORDER BY kind"


@pytest.fixture
def run(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    insert(
        connection,
        "runs",
        run_id="r",
        name="run",
        content_sha256="",
        source="ridgeline",
        device_kind="cuda",
        rank=0,
        outcome="ok",
        device_time_ns=0,
        rules_version=1,
        profiler_graph_node_ns=0.25,
    )
    return connection


def step(
    connection: duckdb.DuckDBPyConnection, step_id: int, start_ns: int, end_ns: int, replayed: int | None, **values: Any
) -> None:
    named = {"run_id": "r", "rank": 0, "phase": "decode", "kind": "decode"} | values
    insert(
        connection,
        "steps",
        step_id=step_id,
        step=step_id,
        host_start_ns=0,
        host_duration_ns=1,
        start_ns=start_ns,
        end_ns=end_ns,
        busy_ns=(end_ns - start_ns) // 2,
        replayed_kernels=replayed,
        **named,
    )


def timing(connection: duckdb.DuckDBPyConnection, value_ns: int, **values: Any) -> None:
    named = {"run_id": "r", "phase": "decode", "kind": "decode"} | values
    insert(connection, "timings", metric="step", value_ns=value_ns, **named)


def test_a_replayed_step_is_expected_to_take_its_time_less_the_profiler_s_for_each_node(
    run: duckdb.DuckDBPyConnection,
) -> None:
    step(run, 1, 100, 1100, 400)
    step(run, 2, 2000, 3100, 440)
    for value_ns in (836, 840, 5000):
        timing(run, value_ns)
    # 1000 less 100, and 1100 less 110, of which the mean; the median of the timings is 840
    ((kind, replayed, expected_ns, error),) = run.execute(EXPECTED).fetchall()
    assert (kind, replayed, expected_ns) == ("decode", 420.0, 945.0)
    assert error == pytest.approx(945 / 840 - 1)
    before = "SELECT steps, wall_ns, busy_ns, gap_ns, unprofiled_ns, profiler_overhead_ns FROM overhead"
    assert run.execute(before).fetchall() == [(2, 1050.0, 525.0, 525.0, 840.0, 210.0)]


def test_steps_are_compared_with_their_own_timings_else_their_kinds(run: duckdb.DuckDBPyConnection) -> None:
    step(run, 3, 0, 1000, 400)
    step(run, 4, 0, 1000, 400)
    for number, value_ns in ((1, 500), (2, 600), (5, 700)):
        timing(run, value_ns, step=number)
    timing(run, 800, step=4, kind="other")
    query = "SELECT unprofiled_ns FROM overhead"
    assert run.execute(query).fetchall() == [(600.0,)]
    for number, value_ns in ((3, 800), (3, 820), (4, 900)):
        timing(run, value_ns, step=number)
    assert run.execute(query).fetchall() == [(820.0,)]


def test_kinds_and_runs_are_separate_and_a_bare_label_is_a_kind(run: duckdb.DuckDBPyConnection) -> None:
    run.execute("INSERT INTO runs SELECT * REPLACE ('q' AS run_id, 0.5 AS profiler_graph_node_ns) FROM runs")
    step(run, 1, 0, 1000, 400)
    step(run, 2, 0, 3000, 800, phase="prefill", kind="prefill")
    step(run, 1, 0, 1000, 400, run_id="q")
    step(run, 2, 0, 500, 100, run_id="q", phase=None, kind=None)
    timing(run, 450, run_id="q", phase=None, kind=None)
    query = "SELECT run_id, kind, replayed_kernels, expected_ns, expected_error FROM overhead ORDER BY run_id, kind"
    assert run.execute(query).fetchall() == [
        ("q", "decode", 400.0, 800.0, None),
        ("q", None, 100.0, 450.0, 0.0),
        ("r", "decode", 400.0, 900.0, None),
        ("r", "prefill", 800.0, 2800.0, None),
    ]


@pytest.mark.parametrize("replayed", [0, None])
def test_a_launched_step_has_no_expectation(run: duckdb.DuckDBPyConnection, replayed: int | None) -> None:
    step(run, 1, 0, 1000, replayed)
    timing(run, 900)
    assert run.execute(EXPECTED).fetchall() == [("decode", 0.0, None, None)]


def test_without_a_calibration_there_is_none(run: duckdb.DuckDBPyConnection) -> None:
    run.execute("UPDATE runs SET profiler_graph_node_ns = NULL")
    step(run, 1, 0, 1000, 400)
    timing(run, 900)
    assert run.execute(EXPECTED).fetchall() == [("decode", 400.0, None, None)]
