"""Real traces from outside the project, where they are at hand: their documented properties must come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import connect

SHARED = Path(__file__).parents[2] / "shared"
pytestmark = pytest.mark.skipif(
    not (SHARED / "h200").is_dir(), reason="the reference traces are not beside the project"
)

LAYER_PARAMETERS = 6_979_321_856
EAGER = ("ar_decode", "ar_decode_b16", "dlm_full", "dlm_prefix")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shared") / "w.duckdb"
    results = analyze([SHARED / "h200", SHARED / "traces"], path, jobs=2)
    assert [result.name for result in results if result.outcome != "loaded"] == []
    assert len(results) >= 14
    return path


@pytest.fixture
def connection(warehouse: Path) -> Any:
    connection = connect(warehouse, read_only=True)
    yield connection
    connection.close()


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    (row,) = connection.execute(sql).fetchall()
    return row[0]


def test_again_changes_nothing(warehouse: Path) -> None:
    results = analyze([SHARED / "h200", SHARED / "traces"], warehouse, jobs=2)
    assert {result.outcome for result in results} == {"unchanged"}


def test_both_accounts_of_every_run_sum_to_the_nanosecond(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "SELECT r.name, l.account, sum(l.duration_ns) - any_value(r.device_time_ns)"
        " FROM runs r JOIN ledger l USING (run_id) GROUP BY ALL"
    ).fetchall()
    assert len(rows) == 2 * one(connection, "SELECT count(*) FROM runs")
    assert [row for row in rows if row[2] != 0] == []


@pytest.mark.parametrize("name", EAGER)
def test_eager_traces_are_attributed_and_priced(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    shares = dict(
        connection.execute(
            "SELECT account || ' ' || entry, share FROM ledger_summary WHERE name = ?", [name]
        ).fetchall()
    )
    assert shares.get("attribution unattributed", 0) + shares.get("attribution before_recording", 0) <= 0.001
    assert shares.get("price none", 0) <= 0.02


def test_entries_of_traces_without_kernels_and_of_early_launches(connection: duckdb.DuckDBPyConnection) -> None:
    entries = connection.execute(
        "SELECT name, entry, round(share, 4) FROM ledger_summary WHERE account = 'attribution'"
        " AND name IN ('cpu-only', 'a100-cupti-counters', 'h100-qwen1.5-0.5b-prefill') ORDER BY ALL"
    ).fetchall()
    assert entries == [
        ("a100-cupti-counters", "profiler_range", None),  # its ranges have no durations
        ("cpu-only", "cpu", 1.0),
        ("h100-qwen1.5-0.5b-prefill", "before_recording", 0.301),
        ("h100-qwen1.5-0.5b-prefill", "external_id", 0.699),
    ]


def test_matmul_flops_of_a_full_diffusion_step(connection: duckdb.DuckDBPyConnection) -> None:
    flops = one(
        connection,
        "SELECT sum(flops) / 2 FROM operator_summary JOIN runs USING (run_id)"
        " WHERE name = 'dlm_full' AND family = 'matmul'",
    )
    assert flops == pytest.approx(2 * 1152 * LAYER_PARAMETERS + 2 * 1152 * 4096 * 126464, rel=1e-3)


def test_weights_are_the_bytes_of_a_decode_step(connection: duckdb.DuckDBPyConnection) -> None:
    moved = one(
        connection,
        "SELECT sum(compulsory_bytes) / 2 FROM operator_summary JOIN runs USING (run_id)"
        " WHERE name = 'ar_decode' AND operator = 'aten::mm'",
    )
    assert moved == pytest.approx(2 * (LAYER_PARAMETERS + 128256 * 4096), rel=2e-3)


def test_a_replay_takes_as_many_kernels_as_its_eager_step(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "SELECT name, s.kernels FROM step_summary s JOIN runs USING (run_id)"
        " WHERE name LIKE 'ar_decode%' AND name <> 'ar_decode_b16'"
    ).fetchall()
    assert sorted(rows) == [("ar_decode", 1494)] * 2 + [("ar_decode_graph", 1494)] * 2


@pytest.mark.parametrize(
    ("name", "least"), [("b200-eager", 0.97), ("h100-bert-small", 0.97), ("h100-qwen1.5-0.5b-prefill", 1.0)]
)
def test_modules_and_lines_of_foreign_traces(connection: duckdb.DuckDBPyConnection, name: str, least: float) -> None:
    """Of all that was launched while the trace was recorded."""
    launched = f"FROM kernel_roofline v JOIN kernels k USING (run_id, kernel_id) WHERE v.name = '{name}'"
    launched += " AND attribution <> 'before_recording'"
    time = "SUM(v.duration_ns) FILTER ({} IS NOT NULL) / SUM(v.duration_ns)"
    assert one(connection, f"SELECT {time.format('module')} {launched}") >= least
    assert one(connection, f"SELECT {time.format('stack_id')} {launched}") >= least


def test_modules_that_labels_name(connection: duckdb.DuckDBPyConnection) -> None:
    sources = connection.execute(
        "SELECT DISTINCT m.source FROM modules m JOIN runs USING (run_id) WHERE name IN ('ar_decode', 'dlm_full')"
    ).fetchall()
    assert sources == [("label",)]


def test_steps_of_engines(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "SELECT r.name, s.phase, s.kind, s.query, s.context, s.requests, s.tokens, count(*) FROM steps s"
        " JOIN kernels k USING (run_id, step_id) JOIN runs r USING (run_id)"
        " WHERE r.name IN ('b200-eager', 'sglang-qwen3-8b-decode-graph') GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert sum(kernels for *_, kernels in rows) >= 929 + 551
    assert {row[:-1] for row in rows} == {
        ("b200-eager", "prefill", "prefill", 888, None, 1, 888),
        ("sglang-qwen3-8b-decode-graph", "decode", "decode", 32, 32785, 32, 32),
    }


@pytest.mark.skipif(not (SHARED / "engines").is_dir(), reason="the engines' traces are not beside the project")
def test_a_replay_learns_from_its_capture(tmp_path: Path) -> None:
    (result,) = analyze([SHARED / "engines"], tmp_path / "w.duckdb")
    assert result.matched
    assert result.matched.kernels == result.matched.of_kernels == 544
    with connect(tmp_path / "w.duckdb", read_only=True) as engines:
        for column in ("operator", "module", "shapes"):
            share = f"SELECT sum(duration_ns) FILTER ({column} IS NOT NULL) / sum(duration_ns) FROM kernel_roofline"
            assert one(engines, share) >= 0.97, column
        assert (
            one(
                engines,
                "SELECT sum(duration_ns) - any_value(d) FROM ledger, (SELECT device_time_ns d FROM runs)"
                " WHERE account = 'attribution'",
            )
            == 0
        )
