"""The study in the repository: whole, balanced, and enough to draw every figure without a GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ridgeline.reports import queries
from ridgeline.reports.explorer import page
from ridgeline.reports.explorer.data import gather
from ridgeline.reports.study import figures as study
from ridgeline.reports.study import findings
from ridgeline.reports.study import page as study_page
from ridgeline.warehouse import materialize
from ridgeline.warehouse.lake.reading import load_lake

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = load_lake(ROOT / "reports/study/results/lake")
    materialize(connection, *study_page.HELD)
    yield connection
    connection.close()


def query(name: str) -> str:
    return (findings.QUERIES / f"{name}.sql").read_text(encoding="utf-8")


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[object, ...]]:
    return connection.execute(query).fetchall()


def test_every_figure_is_drawn(connection: duckdb.DuckDBPyConnection) -> None:
    run_ids = [str(run_id) for (run_id,) in ask(connection, "SELECT run_id FROM runs")]
    sections, missing = study_page.gather(connection, run_ids)
    assert missing == []
    assert [section["figure"].key for section in sections] == [figure.key for figure in study.FIGURES]
    assert all(section["runs"] >= 10 for section in sections)


@pytest.mark.exhaustive
def test_the_explorer_of_every_run_stays_small(connection: duckdb.DuckDBPyConnection) -> None:
    text = page.render(gather(connection, [str(run_id) for (run_id,) in ask(connection, "SELECT run_id FROM runs")]))
    assert len(text.encode()) < 7e6


def test_the_committed_explorer_is_small() -> None:
    assert (ROOT / "reports/study/results/report.html").stat().st_size < 7e6


def test_every_account_closes(connection: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT l.run_id, account FROM ledger l JOIN runs USING (run_id) GROUP BY ALL HAVING SUM(duration_ns) <> "
    assert ask(connection, query + "ANY_VALUE(device_time_ns)") == []
    assert ask(connection, "SELECT run_id FROM runs ANTI JOIN ledger USING (run_id) WHERE device_time_ns > 0") == []


def test_every_account_of_prices_is_that_of_the_kernels(connection: duckdb.DuckDBPyConnection) -> None:
    entries = "SELECT run_id, entry, kernels, duration_ns FROM ledger WHERE account = 'price'"
    priced = "SELECT run_id, dram_bytes_source, SUM(kernels), SUM(duration_ns) FROM kernel_groups GROUP BY ALL"
    assert ask(connection, f"({entries} EXCEPT {priced}) UNION ALL ({priced} EXCEPT {entries})") == []
    assert ("counter",) in ask(connection, "SELECT DISTINCT entry FROM ledger")


def test_kernels_and_gaps_are_the_wall(connection: duckdb.DuckDBPyConnection) -> None:
    assert ask(
        connection, "SELECT COUNT(*) FROM step_summary WHERE ABS(busy_ns + gap_ns - wall_ns) > 0.02 * wall_ns"
    ) == [(0,)]


def test_every_point_was_repeated_with_telemetry(connection: duckdb.DuckDBPyConnection) -> None:
    """Where it did not run out of memory."""
    query = "SELECT name FROM generations WHERE outcome = 'ok' AND (repeats < 2 OR throttled_share IS NULL)"
    assert ask(connection, query) == []
    assert ask(connection, "SELECT DISTINCT outcome FROM runs ORDER BY ALL") == [("ok",), ("oom",)]


def test_the_readme_counts_the_lakes_runs(connection: duckdb.DuckDBPyConnection) -> None:
    ((runs,),) = ask(connection, "SELECT COUNT(*) FROM runs")
    assert f"{runs} runs" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_findings_are_the_lakes(connection: duckdb.DuckDBPyConnection) -> None:
    """The page and its pictures; if they are not, ``make study`` writes them."""
    pages = findings.render(connection)
    assert pages.keys() == {"FINDINGS.md", "tokens_to_beat_ar.svg", "latency_over_ar.svg", "step_parts.svg"}
    for name, text in pages.items():
        path = ROOT / name if name == findings.PAGE else ROOT / "reports/study/results" / name
        assert path.read_text(encoding="utf-8") == text, name


def test_the_findings_name_every_query() -> None:
    text = (ROOT / "FINDINGS.md").read_text(encoding="utf-8")
    missing = [path.name for path in findings.QUERIES.glob("*.sql") if f"reports/study/queries/{path.name}" not in text]
    assert missing == []
    assert len(text.splitlines()) <= 350


def test_no_measured_number_is_typed() -> None:
    """What is not a query's answer stands in a paragraph that names its source."""
    text = re.sub(r"\{[{%#].*?[%#}]\}", "", findings.TEMPLATE.read_text(encoding="utf-8"), flags=re.DOTALL)
    sources = ("reviewer's", "arXiv", "PyTorch 2.11")
    with_decimals = [paragraph for paragraph in text.split("\n\n") if re.search(r"\d\.\d", paragraph)]
    assert [paragraph for paragraph in with_decimals if not any(source in paragraph for source in sources)] == []


DUAL, WITHIN = "dlm_block_dual", "within a run"
CLAIMS: list[tuple[str, dict[str, object], dict[str, object]]] = [
    # One token a forward against AR, and the naive mode against blocks.
    ("over_ar", {"prompt": 1024}, {"dual_over_ar": 1.29, "least": 1.29, "most": 1.3}),
    ("eager_speedup", {"mode": DUAL, "generated": 128}, {"naive_over_block": 1.31, "least": 1.17, "most": 1.39}),
    ("speedup_stages", {"mode": DUAL}, {"ideal_step": 6.1, "measured": 5.04, "least": 5.01, "most": 5.06}),
    ("naive_over_block", {"experiment": "e7-steps"}, {"naive_over_block": 4.2, "one_sweep": "yes"}),
    ("naive_over_block", {"experiment": "e9-lengths", "length": 1152}, {"naive_over_block": 4.1, "at_roofs": 5.4}),
    ("naive_over_block", {"length": 4224}, {"naive_over_block": 10.3, "one_sweep": "no"}),
    ("naive_over_block", {"length": 8192}, {"naive_over_block": 14.7, "one_sweep": "no"}),
    ("naive_over_block", {"length": 16384}, {"naive_over_block": 19.5, "one_sweep": "yes"}),
    ("naive_over_block", {"length": 32768}, {"naive_over_block": 23.5, "at_roofs": 27.2, "one_sweep": "yes"}),
    # Tokens a forward, and what refreshes cost in batches.
    ("break_even", {"prompt": 1024, "batch": 1}, {"tokens_a_forward": "1.40"}),
    ("break_even", {"prompt": 1024, "batch": 4}, {"tokens_a_forward": "2.82"}),
    ("break_even", {"prompt": 1024, "batch": 8}, {"tokens_a_forward": "none", "over_ar_1_token": 2.74}),
    ("break_even", {"prompt": 2048, "batch": 1}, {"tokens_a_forward": "1.74"}),
    ("break_even", {"prompt": 2048, "batch": 4}, {"tokens_a_forward": "none"}),
    ("break_even", {"prompt": 2048, "batch": 16}, {"tokens_a_forward": "none", "over_ar_1_token": 6.51}),
    ("break_even", {"prompt": 2048, "batch": 32}, {"over_ar_1_token": 11.22}),
    ("break_even", {"prompt": 2048, "batch": 64}, {"over_ar_1_token": 18.33}),
    ("break_even_context", {"mode": DUAL, "length": 8192}, {"tokens_a_forward": "none"}),
    ("break_even_context", {"mode": "dlm_block_causal", "length": 8192}, {"tokens_a_forward": "1.67"}),
    ("break_even_context", {"mode": "dlm_block_causal", "execution": "compile"}, {"tokens_a_forward": "1.21"}),
    ("refresh_against_ar", {"batch": 8}, {"refresh_ms": 279, "ar_32_tokens_ms": 250}),
    ("steps_to_win", {"batch": 8, "steps_a_block": 1}, {"measured_64": 1.26, "projected_256": 0.99}),
    ("steps_to_win", {"batch": 8, "steps_a_block": 1}, {"in_the_limit": 0.9}),
    ("batches", {"prompt": 2048, "batch": 16}, {"ar_over_dual": 1.53}),
    ("batches", {"prompt": 2048, "batch": 32}, {"ar_over_dual": 1.64}),
    ("batches", {"prompt": 2048, "batch": 64}, {"ar_over_dual": 1.73}),
    ("batches", {"prompt": 2048, "batch": 128}, {"ar_prefill_percent": 94}),
    # Steps in ms: unprofiled by execution, and what compiled kernels lose.
    ("steps", {"mode": "ar", "kind": "decode"}, {"eager": 36.1, "cuda_graph": 7.05, "compiled": 4.6, "at_roofs": 3.42}),
    ("steps", {"mode": DUAL, "kind": "reuse"}, {"cuda_graph": 8.72, "compiled": 5.21, "matmul": 0.73}),
    ("steps", {"mode": DUAL, "kind": "refresh"}, {"cuda_graph": 34.85, "compiled": 25.42, "at_roofs": 23.54}),
    ("steps", {"mode": "dlm_full"}, {"eager": 38.0, "cuda_graph": 37.17, "compiled": 29.59, "matmul": 4.82}),
    # Intensity and lengths.
    ("intensity", {"step": "block of 32"}, {"counted_least": 30.9, "counted_most": 31.9}),
    ("intensity", {"step": "naive step, refresh"}, {"counted_least": 404.8, "counted_most": 500.8}),
    ("block_intensity", {"block": 128}, {"least": 112.9, "most": 113.7}),
    ("lengths", {"mode": "dlm_full", "generated": 512}, {"a_token": 1.32}),
    ("refresh_intensity", {"length": 4096}, {"most": 418}),
    ("refresh_intensity", {"length": 32768}, {"most": 781}),
    # Cards on like roofs, the bracket of the paper's 2 to 3, and remedies that add up.
    ("cards", {"device": "NVIDIA RTX A6000"}, {"naive_over_block_step": 5.56}),
    ("cards", {"device": "NVIDIA A100 SXM 80GB"}, {"naive_over_block_step": 7.32}),
    ("cards", {"device": "NVIDIA H200"}, {"naive_over_block_step": 5.44}),
    ("bracket", {"code": "published, emulated", "over_roof": 1.0}, {"naive_over_block": 1.84}),
    ("bracket", {"code": "published, emulated", "over_roof": 1.69}, {"naive_over_block": 2.99}),
    ("bracket", {"code": "clean", "over_roof": 1.0}, {"naive_over_block": 3.9}),
    ("bracket", {"code": "clean", "over_roof": 1.69}, {"naive_over_block": 4.87}),
    ("attention_backends", {"backend": "cuDNN"}, {"runs": 201}),
    ("attention", {"mode": DUAL, "prompt": 32736}, {"percent_of_roof": 26, "cudnn_percent": 100}),
    ("power", {"kind": "denoise"}, {"ms": 29.59, "mhz": 1545}),
    ("power", {"kind": "refresh"}, {"ms": 25.42, "mhz": 1965}),
    # Protocol.
    ("overlap", {}, {"runs": 204, "beside_a_sweep": 158}),
    ("spread", {"spread_of": WITHIN, "execution": "eager"}, {"median": 7.6, "percentile_90": 20.2, "worst": 54.7}),
    ("spread", {"spread_of": WITHIN, "execution": "cuda_graph"}, {"median": 0.2, "percentile_90": 2.2, "worst": 8.4}),
    ("spread", {"spread_of": WITHIN, "execution": "compile"}, {"median": 0.3, "percentile_90": 1.1, "worst": 3.8}),
    ("spread", {"spread_of": "between sweeps", "execution": "cuda_graph"}, {"median": 0.7, "worst": 4.9}),
    ("spread", {"spread_of": "between sweeps", "execution": "eager"}, {"median": 19.8, "worst": 97.1}),
    ("drift", {}, {"worst_percent": 1.2}),
    ("cache_model", {"family": "attention"}, {"least_percent": -91, "most_percent": 39}),
    ("naive_batch", {}, {"least_ms": 28.2, "most_ms": 51.1}),
    ("scale_ratio", {"model": "llama-3-70b"}, {"generation": 5.37, "minutes_apart": 45}),
]


@pytest.mark.parametrize(("name", "key", "expected"), CLAIMS)
def test_a_claims_number(
    connection: duckdb.DuckDBPyConnection, name: str, key: dict[str, object], expected: dict[str, object]
) -> None:
    """Each number that a claim rests on, as it was derived from the lake by other queries than these."""
    rows = [row for row in queries.fetch(connection, query(name)) if key.items() <= row.items()]
    assert [{column: row[column] for column in expected} for row in rows] == [expected]


def test_the_remedies_add_up(connection: duckdb.DuckDBPyConnection) -> None:
    rows = queries.fetch(connection, query("remedies"))
    saved = sum(row["saved_ms"] for row in rows[1:])
    assert saved == pytest.approx(rows[0]["step_ms"] - rows[-1]["step_ms"], abs=0.01 * len(rows))
    assert [row["one_sweep"] for row in rows] == [None, "yes", "yes", "no", "yes", "yes", "yes", "yes"]


def test_the_parts_of_a_step_sum_to_it(connection: duckdb.DuckDBPyConnection) -> None:
    for row in queries.fetch(connection, query("step_parts")):
        parts = sum(row[part] for part in ("roof", "products", "attention", "unfused", "host"))
        assert parts == pytest.approx(row["step_ms"], abs=0.03), row
