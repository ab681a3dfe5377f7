"""The study in the repository: whole, balanced, and enough to draw every figure without a GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ridgeline.reports.explorer import page
from ridgeline.reports.explorer.data import gather
from ridgeline.reports.study import figures as study
from ridgeline.reports.study import page as study_page
from ridgeline.reports.study.findings import QUESTION, answered
from ridgeline.warehouse import materialize
from ridgeline.warehouse.lake import load_lake

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = load_lake(ROOT / "reports/study/results/lake")
    materialize(connection, *study_page.HELD)
    yield connection
    connection.close()


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[object, ...]]:
    return connection.execute(query).fetchall()


def test_every_figure_is_drawn(connection: duckdb.DuckDBPyConnection) -> None:
    run_ids = [str(run_id) for (run_id,) in ask(connection, "SELECT run_id FROM runs")]
    sections, missing = study_page.gather(connection, run_ids)
    assert missing == []
    assert [section["figure"].key for section in sections] == [figure.key for figure in study.FIGURES]
    assert all(section["runs"] >= 10 for section in sections)


def test_the_explorer_of_every_run_stays_small(connection: duckdb.DuckDBPyConnection) -> None:
    text = page.render(gather(connection, [str(run_id) for (run_id,) in ask(connection, "SELECT run_id FROM runs")]))
    assert len(text.encode()) < 7e6


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


def test_the_readmes_table_is_that_of_the_findings() -> None:
    """To the digits it has, in the same order of columns."""
    shown = re.findall(r"^\| `(\w+)` (\w+)[^|]*\|((?: [\d.]+ \|){7})$", (ROOT / "README.md").read_text(), re.MULTILINE)
    found = re.findall(r"^\| (\w+) \| (\w+) \|((?: [\d.]+ \|){7})$", (ROOT / "FINDINGS.md").read_text(), re.MULTILINE)
    answers = {(mode, kind): [float(cell) for cell in cells.split("|")[:-1]] for mode, kind, cells in found}
    assert len(shown) == 7
    for mode, kind, cells in shown:
        for cell, answer in zip(cells.split("|")[:-1], answers[mode, kind], strict=True):
            digits = len(cell.strip().partition(".")[2])
            assert abs(float(cell) - answer) <= 0.5001 * 10**-digits, (mode, kind, cell, answer)


def test_the_findings_are_the_lakes(connection: duckdb.DuckDBPyConnection) -> None:
    text = (ROOT / "FINDINGS.md").read_text(encoding="utf-8")
    assert len(QUESTION.findall(text)) >= 10
    assert answered(text, connection) == text
