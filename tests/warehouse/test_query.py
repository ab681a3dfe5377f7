from __future__ import annotations

import csv
import io
import json
import os
import shutil
import threading
from pathlib import Path

import polars as pl
import pytest

from ridgeline.warehouse import QueryError, WarehouseError, connect
from ridgeline.warehouse.query import run

SQL = (
    "SELECT 1234567 AS n, 0.5 AS x, 'a\u001b[31m' AS t, NULL AS nothing"
    " UNION ALL SELECT 2, 'nan'::DOUBLE, 'b, \"c\"', NULL ORDER BY 1 DESC"
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "w.duckdb"
    connect(path).close()
    return path


@pytest.fixture
def warehouse(empty: Path, tmp_path: Path) -> Path:
    """A copy of an empty warehouse."""
    return Path(shutil.copy(empty, tmp_path))


def test_table(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(warehouse, SQL)
    assert capsys.readouterr().out.splitlines() == [
        "        n    x  t       nothing",
        "─────────  ───  ──────  ───────",
        "1,234,567  0.5  a�[31m        ·",
        '        2  nan  b, "c"        ·',
    ]


def test_lines(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(warehouse, SQL, output_format="lines")
    assert capsys.readouterr().out.splitlines() == [
        *("n: 1,234,567", "x: 0.5", "t: a�[31m", "nothing: ·", ""),
        *("n: 2", "x: nan", 't: b, "c"', "nothing: ·"),
    ]
    run(warehouse, f"SELECT '{'x' * 100}\ny' AS t", output_format="lines")
    assert capsys.readouterr().out == f"t: {'x' * 100}�y\n"
    run(warehouse, "SELECT 1 AS a WHERE false", output_format="lines")
    assert capsys.readouterr().out == ""


def test_csv(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(warehouse, SQL, output_format="csv")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["n", "x", "t", "nothing"], ["1234567", "0.5", "a\x1b[31m", ""], ["2", "nan", 'b, "c"', ""]]


def test_json(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(warehouse, SQL, output_format="json")
    assert json.loads(capsys.readouterr().out) == [
        {"n": 1234567, "x": 0.5, "t": "a\x1b[31m", "nothing": None},
        {"n": 2, "x": None, "t": 'b, "c"', "nothing": None},
    ]
    run(warehouse, "SELECT 1 AS a WHERE false", output_format="json")
    assert json.loads(capsys.readouterr().out) == []


def test_parquet(warehouse: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    run(warehouse, SQL, output_format="parquet", out=out)
    assert pl.read_parquet(out).select("n", "t").rows() == [(1234567, "a\x1b[31m"), (2, 'b, "c"')]
    with pytest.raises(QueryError, match="name one with -o"):
        run(warehouse, SQL, output_format="parquet")


def test_a_failed_query_leaves_the_file_as_it_was(warehouse: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("before")
    with pytest.raises(QueryError):
        run(warehouse, "SELECT CAST(t AS INTEGER) FROM (VALUES ('1'), ('x')) v(t)", output_format="csv", out=out)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == ["out.csv"]
    assert out.read_text() == "before"


@pytest.mark.parametrize("output_format", ["table", "lines", "csv", "json", "parquet"])
def test_a_pipe_is_written_and_stays_a_pipe(warehouse: Path, tmp_path: Path, output_format: str) -> None:
    run(warehouse, SQL, output_format=output_format, out=tmp_path / "file")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    run(warehouse, SQL, output_format=output_format, out=pipe)
    reader.join(10)
    assert (pipe.is_fifo(), read) == (True, [(tmp_path / "file").read_bytes()])


def test_a_device_is_written_and_a_folder_refused(warehouse: Path, tmp_path: Path) -> None:
    run(warehouse, SQL, out=Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    with pytest.raises(QueryError, match="a folder: name a file with -o"):
        run(warehouse, SQL, out=tmp_path)


def test_columns_of_one_name_are_numbered(warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a"
    expected = {"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}
    run(warehouse, sql, output_format="json")
    assert json.loads(capsys.readouterr().out) == [expected]
    run(warehouse, sql, output_format="parquet", out=tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").to_dicts() == [expected]
    run(warehouse, sql, output_format="csv")
    assert capsys.readouterr().out == "a,a,a_1,a\n1,2,3,4\n"


@pytest.mark.parametrize("sql", ["", " \n", ";", "-- a comment", "/* a */ ;;"])
def test_sql_without_a_statement_is_an_error(warehouse: Path, sql: str) -> None:
    with pytest.raises(QueryError, match=r"^no statement: "):
        run(warehouse, sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("DELETE FROM runs", "read-only"),
        ("SELECT * FROM read_text('/etc/hostname')", "disabled"),
    ],
)
def test_errors_are_one_line(warehouse: Path, sql: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        run(warehouse, sql)
    assert message in str(caught.value)
    assert not {"\n", "^"} & set(str(caught.value))


REFUSED = {
    "DELETE FROM runs": "read-only",
    "UPDATE kernels SET duration_ns = 0": "read-only",
    "INSERT INTO warnings VALUES ('r', 's', 'm')": "read-only",
    "DROP TABLE kernels": "read-only",
    "CREATE TABLE mine (a INTEGER)": "read-only",
    "CREATE OR REPLACE VIEW runs AS SELECT 1": "read-only",
    "COPY runs TO '{folder}/stolen.csv'": "disabled",
    "EXPORT DATABASE '{folder}/stolen'": "disabled",
    "ATTACH '{folder}/stolen.duckdb'": "disabled",
    "SELECT * FROM read_csv('/etc/passwd')": "disabled",
    "SELECT * FROM read_text('/etc/passwd')": "disabled",
    "SELECT * FROM '/etc/passwd'": "does not exist",
    "SELECT * FROM glob('/etc/*')": "disabled",
    "CREATE TEMP TABLE mine (a VARCHAR); COPY mine FROM '/etc/passwd'": "disabled",
    "INSTALL httpfs": "disabled",
    "LOAD '{folder}/evil.duckdb_extension'": "disabled",
    "SET enable_external_access = true": "Cannot",
    "RESET enable_external_access": "Cannot",
    "SET temp_directory = '{folder}/stolen'": "disabled",
    "SELECT getenv('HOME')": "getenv",
    "PRAGMA enable_profiling; PRAGMA profiling_output = '{folder}/stolen'; SELECT 1": "",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_statements_that_do_more_than_read_the_warehouse_are_refused(warehouse: Path, tmp_path: Path, sql: str) -> None:
    there = sorted(tmp_path.iterdir())
    as_it_was = warehouse.read_bytes()
    with pytest.raises(QueryError) as caught:
        run(warehouse, sql.format(folder=tmp_path))
    assert REFUSED[sql] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (sorted(tmp_path.iterdir()), warehouse.read_bytes()) == (there, as_it_was)


def test_answers_are_frames(warehouse: Path) -> None:
    connection = connect(warehouse, read_only=True)
    answer = connection.sql("SELECT 1 AS n, 'a' AS t UNION ALL SELECT 2, NULL ORDER BY n")
    assert pl.DataFrame(answer).rows() == [(1, "a"), (2, None)]
    connection.close()


def test_answers_are_arrow_tables_where_there_is_pyarrow(warehouse: Path) -> None:
    pytest.importorskip("pyarrow")
    connection = connect(warehouse, read_only=True)
    answer = connection.sql("SELECT 1 AS n, 'a' AS t")
    assert answer.pl().rows() == [(1, "a")]
    assert answer.to_arrow_table().to_pylist() == [{"n": 1, "t": "a"}]
    connection.close()


def test_a_file_that_is_no_warehouse_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="no such warehouse"):
        connect(tmp_path / "none.duckdb", read_only=True)
    text = tmp_path / "text.duckdb"
    text.write_text("hello " * 1000)
    with pytest.raises(WarehouseError, match="not a DuckDB file"):
        connect(text)
    import duckdb

    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    with pytest.raises(WarehouseError, match="not a Ridgeline warehouse"):
        connect(other)


def test_a_newer_schema_is_refused(warehouse: Path) -> None:
    connection = connect(warehouse)
    connection.execute("UPDATE schema_version SET version = 999")
    connection.close()
    with pytest.raises(WarehouseError, match="schema 999 of a newer ridgeline"):
        connect(warehouse)


def test_long_text_is_cut_in_a_table_only(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(warehouse, "SELECT repeat('k', 200) AS kernel")
    assert capsys.readouterr().out.splitlines()[2] == "k" * 79 + "…"
    run(warehouse, "SELECT repeat('k', 200) AS kernel", output_format="csv")
    assert capsys.readouterr().out == "kernel\n" + "k" * 200 + "\n"
