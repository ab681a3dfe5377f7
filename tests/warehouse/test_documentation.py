"""Descriptions of tables, views and columns, the pages made from them, and answers of the cookbook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import connect, refresh
from ridgeline.warehouse.database import template_path
from ridgeline.warehouse.documentation import (
    COOKBOOK_PAGE,
    SCHEMA_PAGE,
    cookbook,
    cookbook_page,
    schema_page,
)
from ridgeline.warehouse.query import run
from ridgeline.warehouse.schema.comments import comments
from tests.analyze import kineto
from tests.reports import rich
from tests.warehouse import study

DATA = Path(__file__).parents[1] / "data"
PUBLIC = "NOT internal AND {} NOT LIKE 'kept\\_%' ESCAPE '\\' AND {} NOT LIKE 'defined\\_%' ESCAPE '\\'"
TABLES = " UNION ALL ".join(
    f"SELECT t.{kind}_name, d.description FROM duckdb_{kind}s() t"
    f" LEFT JOIN descriptions d ON d.table_name = t.{kind}_name AND d.column_name IS NULL"
    f" WHERE {PUBLIC.replace('{}', f't.{kind}_name')}"
    for kind in ("table", "view")
)
COLUMNS = (
    "SELECT table_name, column_name, description"
    " FROM duckdb_columns() LEFT JOIN descriptions USING (table_name, column_name)"
    f" WHERE {PUBLIC.replace('{}', 'table_name')}"
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new warehouse."""
    with connect(tmp_path / "w.duckdb") as connection:
        yield connection


def test_every_table_view_and_column_is_described(connection: duckdb.DuckDBPyConnection) -> None:
    assert [row for row in connection.execute(TABLES).fetchall() if not row[1]] == []
    assert [row for row in connection.execute(COLUMNS).fetchall() if not row[2]] == []


def test_descriptions_are_of_existing_columns_and_not_repeated(connection: duckdb.DuckDBPyConnection) -> None:
    texts = comments()
    there = {(table, column) for table, column, _ in connection.execute(COLUMNS).fetchall()}
    said = {
        (table, column) for table in texts if table not in ("tables", "views", "columns") for column in texts[table]
    }
    assert said <= there
    assert set(texts["columns"]) <= {column for table, column in there if (table, column) not in said}
    assert [(table, column) for table, column in said if texts["columns"].get(column) == texts[table][column]] == []
    assert {*texts["tables"], *texts["views"]} == {name for name, _ in connection.execute(TABLES).fetchall()}


def test_each_is_described_once(connection: duckdb.DuckDBPyConnection) -> None:
    rows = "SELECT table_name, column_name, count(*) FROM descriptions GROUP BY ALL HAVING count(*) > 1"
    assert connection.execute(rows).fetchall() == []


def test_descriptions_name_the_units(connection: duckdb.DuckDBPyConnection) -> None:
    units = {"_ns": ("ns", "nanosecond"), "_flops_per_s": ("FLOP/s",), "_hz": ("Hz",), "_w": (" W",)}
    for table, column, text in connection.execute(COLUMNS).fetchall():
        for ending, ways in units.items():
            assert not column.endswith(ending) or any(way in text for way in ways), (table, column, text)


def test_the_pages_are_current(connection: duckdb.DuckDBPyConnection) -> None:
    """If this fails: make pages."""
    assert SCHEMA_PAGE.read_text() == schema_page(connection)
    assert COOKBOOK_PAGE.read_text() == cookbook_page()
    assert list(template_path().parent.glob("empty-*.duckdb.gz")) == [template_path()]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Six captured runs, one with frames and memory, and three inserted by hand with the data that those lack."""
    path = tmp_path_factory.mktemp("cookbook") / "w.duckdb"
    frames = kineto.write(path.with_name("frames.json"), [*kineto.matmul_step(), *study.FRAMES_AND_MEMORY])
    results = analyze([DATA / "h200", DATA / "h200-counted", frames], path, allocations=True)
    assert {result.outcome for result in results} == {"loaded"}
    connection = connect(path)
    rich.fill(connection)
    connection.execute("UPDATE ceilings SET value = value / 1000 WHERE run_id = ?", [rich.OTHER])
    refresh(connection)
    connection.close()
    connection = connect(path, read_only=True)
    yield connection
    connection.close()


QUESTIONS = {one.path.stem.partition("_")[2]: one for one in cookbook()}


def answer(connection: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    cursor = connection.execute(QUESTIONS[name].sql)
    columns = [column[0] for column in cursor.description or []]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def test_questions_are_sentences_and_enough() -> None:
    assert len(QUESTIONS) >= 24
    for one in QUESTIONS.values():
        assert one.question.endswith("?")
        assert one.meaning.endswith(".")
    assert len({one.question for one in QUESTIONS.values()}) == len(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_an_answer(filled: duckdb.DuckDBPyConnection, name: str) -> None:
    rows = answer(filled, name)
    assert rows
    for column in rows[0]:
        if column not in ("joules_per_token", "expected_error"):  # of a second of telemetry, of calibrated replays
            assert any(row[column] is not None for row in rows), column


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_can_be_asked_of_spark(name: str) -> None:
    sqlglot.transpile(QUESTIONS[name].sql, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE)


@pytest.mark.parametrize("question", ["unattributed_time", "family_shares", "bound_shares", "slow_modules"])
def test_parts_sum_to_all_device_time(filled: duckdb.DuckDBPyConnection, question: str) -> None:
    total = "SELECT name, SUM(duration_ns) FROM kernels JOIN runs USING (run_id) GROUP BY name"
    summed: dict[str, float] = {}
    for row in answer(filled, question):
        if row.get("account") != "price":
            duration_ns = row["duration_ns"] if "duration_ns" in row else row["duration_ms"] * 1e6
            summed[row["name"]] = summed.get(row["name"], 0) + duration_ns
    assert summed == pytest.approx(dict(filled.execute(total).fetchall()))


def test_slow_operators_are_those_of_the_kernels(filled: duckdb.DuckDBPyConnection) -> None:
    expected = filled.execute(
        "SELECT SUM(k.duration_ns) / 1e6 AS ms FROM kernels k JOIN kernel_classes c USING (run_id, class_id)"
        " LEFT JOIN signatures s USING (signature_id) LEFT JOIN steps t USING (run_id, step_id)"
        " GROUP BY k.run_id, COALESCE(s.operator, c.attribution), c.family, t.phase ORDER BY ms DESC LIMIT 20"
    ).fetchall()
    assert [row["duration_ms"] for row in answer(filled, "slow_operators")] == [ms for (ms,) in expected]


def test_what_changed_sums_to_the_change_of_a_step(filled: duckdb.DuckDBPyConnection) -> None:
    a_step = (
        "SELECT kind, SUM(duration_ns) / COUNT(DISTINCT step_id) / 1e3 FROM placed_kernels"
        " WHERE name LIKE ? AND kind IS NOT NULL GROUP BY kind"
    )
    names = ("tiny-llada_dlm_block_dual_p256_%", "tiny-llada_dlm_block_dual_p64_%cuda_graph")
    base, other = (dict(filled.execute(a_step, [name]).fetchall()) for name in names)
    changes: dict[str, float] = {}
    for row in answer(filled, "what_changed"):
        changes[row["kind"]] = changes.get(row["kind"], 0) + row["change_us"]
    assert changes == pytest.approx({kind: other.get(kind, 0) - base.get(kind, 0) for kind in {*base, *other}})


def test_padding_by_hand(filled: duckdb.DuckDBPyConnection) -> None:
    """Matmuls of 1e8 FLOPs that executed 1.2e8."""
    rows = [row for row in answer(filled, "padded_kernels") if row["name"] == "rich_eager"]
    assert [(row["launches"], row["padding"]) for row in rows] == [(3, pytest.approx(1 - 1 / 1.2))]


def test_memory_and_throughput_are_those_of_the_runs(filled: duckdb.DuckDBPyConnection) -> None:
    stored = filled.execute("SELECT name, peak_memory_bytes / 1e9 FROM runs WHERE peak_memory_bytes > 0").fetchall()
    assert {(row["name"], row["peak_gb"]) for row in answer(filled, "memory_by_part")} == set(stored)
    rates = [row["tokens_per_s"] for row in answer(filled, "modes_compared") if row["tokens_per_s"]]
    assert rates == sorted(rates, reverse=True)


def test_gaps_are_the_longest(filled: duckdb.DuckDBPyConnection) -> None:
    stored = filled.execute(
        "SELECT SUM(duration_ns) FROM gaps GROUP BY run_id, rank, before_kernel_id ORDER BY 1 DESC LIMIT 20"
    ).fetchall()
    assert [row["us"] * 1e3 for row in answer(filled, "longest_gaps")] == pytest.approx([ns for (ns,) in stored])


def test_a_question_is_a_file_for_the_shell(
    filled: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ((path,),) = filled.execute(query).fetchall()
    run(Path(path), QUESTIONS["roofs_of_a_run"].path.read_text(), output_format="csv")
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(answer(filled, "roofs_of_a_run"))
