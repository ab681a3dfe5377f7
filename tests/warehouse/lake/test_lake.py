"""A lake gives the same answers as the exported warehouse, and holds each run once, whoever wrote it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import QueryError, WarehouseError, connect
from ridgeline.warehouse.lake.commits import commits
from ridgeline.warehouse.lake.export import export
from ridgeline.warehouse.lake.files import NO_EXPERIMENT, Lake, partition, table_columns
from ridgeline.warehouse.lake.reading import load_lake, open_lake
from ridgeline.warehouse.query import run
from ridgeline.warehouse.rollups import stale
from tests import sampling
from tests.analyze import kineto
from tests.warehouse import study
from tests.warehouse.agreement import differences

COUNTED = Path(__file__).parents[2] / "data/h200-counted/tiny-llama_ar_p64_g32_b1_bf16_eager"


@pytest.fixture(scope="module")
def tables(studied: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(studied, read_only=True, external_access=True)
    yield connection
    connection.close()


@pytest.fixture(scope="module", params=["folder", pytest.param("memory", marks=pytest.mark.exhaustive)])
def lake(
    request: pytest.FixtureRequest, tables: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A lake on the local file system, and one on a file system of fsspec."""
    place = str(tmp_path_factory.mktemp("la ke") / "lake") if request.param == "folder" else "memory://a/lake"
    done = export(tables, place)
    assert {each.outcome for each in done} == {"written"}
    return place


@pytest.fixture(scope="module")
def opened(lake: str) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = open_lake(lake)
    yield connection
    connection.close()


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {table}").fetchall()


def columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """The names and types of the last answer."""
    return [(name, str(kind)) for name, kind, *_ in connection.description or []]


def test_every_table_and_view_answers_as_in_the_warehouse(
    tables: duckdb.DuckDBPyConnection, opened: duckdb.DuckDBPyConnection, lake: str
) -> None:
    """Every table of both lakes, and every view of one of them, or of both in an exhaustive run."""
    views = study.view_names(opened)
    assert len(views) > 30
    if not sampling.exhaustive:
        views = views["memory" in lake :: 2]
    for name in (*table_columns(), *views):
        found, expected = rows(opened, name), rows(tables, name)
        assert columns(opened) == columns(tables) != [], name
        assert bool(expected) == (name not in study.EMPTY), name
        assert differences(found, expected) == [], name


def test_the_lake_has_descriptions(opened: duckdb.DuckDBPyConnection) -> None:
    described = "SELECT column_name, description FROM descriptions WHERE table_name = 'kernel_roofline'"
    found = dict(opened.execute(described).fetchall())
    assert found.keys() == {None, *(row[0] for row in opened.execute("DESCRIBE kernel_roofline").fetchall())}
    assert all(found.values())


def test_a_lake_loaded_into_memory_answers_the_same_and_has_rollups(
    tables: duckdb.DuckDBPyConnection, lake: str
) -> None:
    loaded = load_lake(lake)
    assert stale(loaded) == []
    for table in (*table_columns(), "mode_summary", "kernel_roofline", "figure_gap", "ledger_summary"):
        assert differences(rows(loaded, table), rows(tables, table)) == [], table
    with pytest.raises(duckdb.Error, match="disabled by configuration"):
        loaded.execute("SELECT * FROM read_csv('/etc/passwd')")
    loaded.close()


def test_exporting_again_leaves_the_lake_alone(tables: duckdb.DuckDBPyConnection, lake: str) -> None:
    before = _contents(lake)
    assert {(each.outcome, each.bytes) for each in export(tables, lake)} == {("unchanged", 0)}
    assert _contents(lake) == before


def _contents(place: str) -> dict[str, bytes]:
    files = Lake(place).files
    return {path: files.cat_file(path) for path in files.find(Lake(place).root)}


def test_partitions_are_escaped_as_hive_does(lake: str) -> None:
    folders = {commit.run_id: commit.folder for commit in commits(Lake(lake))}
    assert folders["l128"] == "experiment=a%2F__%2Fb %7B%25} %2A%3F/run_id=l128"
    assert partition(None, "r") == partition("", "r") == f"experiment={NO_EXPERIMENT}/run_id=r"
    assert partition("..", "r") == "experiment=__/run_id=r"


def test_a_connection_reaches_only_the_lake(opened: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    for statement in (
        f"SELECT * FROM read_csv('{tmp_path}/x.csv')",
        f"COPY (SELECT 1) TO '{tmp_path}/y.csv'",
        f"ATTACH '{tmp_path}/z.duckdb'",
        "SET enable_external_access = true",
        f"SET allowed_directories = ['{tmp_path}']",
    ):
        with pytest.raises(duckdb.Error):
            opened.execute(statement)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("form", ["COPY runs TO '{}'", "EXPLAIN ANALYZE COPY runs TO '{}'", "ATTACH '{}'"])
def test_no_statement_writes_into_the_lake(tables: duckdb.DuckDBPyConnection, tmp_path: Path, form: str) -> None:
    lake = tmp_path / "lake"
    export(tables, lake, ["ar"])
    before = _contents(str(lake))
    with pytest.raises(QueryError, match="only read"):
        run(tmp_path, form.format(lake / "new"), lake=str(lake))
    assert _contents(str(lake)) == before


def test_a_family_named_copy_may_be_asked_for(
    tables: duckdb.DuckDBPyConnection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(tables, tmp_path / "lake", ["ar"])
    run(tmp_path, "SELECT 'copy' AS \"export\"", output_format="csv", lake=str(tmp_path / "lake"))
    assert capsys.readouterr().out == "export\ncopy\n"


# A run of its own, and what becomes of it.


def trace(folder: Path, name: str = "a", shift_us: float = 0.0) -> Path:
    events = kineto.matmul_step()
    for event in events:
        event["ts"] = event.get("ts", 0.0) + shift_us
    return kineto.write(folder / f"{name}.json", events)


def test_analyzing_into_a_lake_equals_exporting(tmp_path: Path) -> None:
    """One run has counters: its ledger's price account has the entry counter."""
    paths = [trace(tmp_path), COUNTED]
    analyze(paths, tmp_path / "w.duckdb")
    results = analyze(paths, tmp_path / "none.duckdb", lake=str(tmp_path / "direct"))
    assert [result.outcome for result in results] == ["loaded", "loaded"]
    assert not (tmp_path / "none.duckdb").exists()
    connection = connect(tmp_path / "w.duckdb", read_only=True, external_access=True)
    export(connection, tmp_path / "exported")
    direct, exported = open_lake(tmp_path / "direct"), open_lake(tmp_path / "exported")
    for table in table_columns():
        assert differences(rows(direct, table), rows(exported, table)) == [], table
    assert [commit.file("kernels") for commit in commits(Lake(tmp_path / "direct"))] == [
        commit.file("kernels") for commit in commits(Lake(tmp_path / "exported"))
    ]
    assert direct.execute("SELECT COUNT(*) FROM ledger WHERE entry = 'counter'").fetchone() == (1,)
    for each in (connection, direct, exported):
        each.close()


def test_unchanged_runs_stay_and_changed_runs_are_replaced(tmp_path: Path) -> None:
    path, lake = trace(tmp_path), str(tmp_path / "lake")
    assert _outcomes(tmp_path, lake) == ["loaded"]
    before = _contents(lake)
    assert _outcomes(tmp_path, lake) == ["unchanged"]
    assert _contents(lake) == before
    shutil.copy(study.DATA / "h200" / "ceilings.json", tmp_path)  # a companion makes another content of the same run
    assert _outcomes(tmp_path, lake) == ["replaced"]
    (commit,) = commits(Lake(lake))
    files = {Path(file).name for file in _contents(lake)}
    assert files == {"run.parquet", f"{commit.generation}.parquet"}
    shutil.copy(path, tmp_path / "b.json")
    assert _outcomes(tmp_path, lake) == ["unchanged", "unchanged"]  # the same trace by another name


def _outcomes(folder: Path, lake: str) -> list[str]:
    return [result.outcome for result in analyze([folder], folder / "none.duckdb", lake=lake)]


def test_a_bad_trace_keeps_no_other_from_the_lake(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    results = analyze([bad, trace(tmp_path)], tmp_path / "none.duckdb", lake=str(tmp_path / "lake"))
    assert [result.outcome for result in results] == ["failed", "loaded"]
    assert [commit.name for commit in commits(Lake(tmp_path / "lake"))] == ["a"]


def test_files_without_a_commit_are_not_read(tables: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    export(tables, lake, ["ar", "l512"])
    next((lake / "runs").rglob("*run_id=ar*")).joinpath("run.parquet").unlink()
    (lake / "timings" / "experiment=e" / "run_id=l512" / "0.parquet").write_bytes(b"half a file")
    connection = open_lake(lake)
    assert connection.execute("SELECT DISTINCT run_id FROM timings").fetchall() == [("l512",)]
    connection.close()
    assert [each.outcome for each in export(tables, lake, ["ar", "l512"])] == ["written", "unchanged"]


def test_a_run_that_moves_to_another_experiment_is_there_once(studied: Path, tmp_path: Path) -> None:
    shutil.copy(studied, tmp_path / "w.duckdb")
    lake = tmp_path / "lake"
    connection = connect(tmp_path / "w.duckdb")
    export(connection, lake, ["ar"])
    connection.execute("UPDATE runs SET experiment = 'other' WHERE run_id = 'ar'")
    export(connection, lake, ["ar"])
    connection.close()
    (commit,) = commits(Lake(lake))
    assert commit.folder == "experiment=other/run_id=ar"
    assert {path.parts[-3] for path in lake.rglob("*.parquet")} == {"experiment=other"}


def test_both_commits_of_a_moving_run_are_read_as_the_newer(studied: Path, tmp_path: Path) -> None:
    shutil.copy(studied, tmp_path / "w.duckdb")
    connection = connect(tmp_path / "w.duckdb")
    export(connection, tmp_path / "lake", ["ar"])
    connection.execute("UPDATE runs SET experiment = 'other', name = 'moved' WHERE run_id = 'ar'")
    export(connection, tmp_path / "new", ["ar"])
    connection.close()
    shutil.copytree(tmp_path / "new", tmp_path / "lake", dirs_exist_ok=True)  # as if killed before it cleaned up
    opened = open_lake(tmp_path / "lake")
    assert opened.execute("SELECT name, experiment FROM runs").fetchall() == [("moved", "other")]
    assert opened.execute("SELECT count(*) FROM timings").fetchone() == (6,)
    opened.close()


def test_a_reader_sees_the_lake_as_it_was_when_opened(tables: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    export(tables, tmp_path / "lake", ["ar"])
    opened = open_lake(tmp_path / "lake")
    export(tables, tmp_path / "lake", ["l128"])
    assert opened.execute("SELECT run_id FROM runs").fetchall() == [("ar",)]
    assert opened.execute("SELECT DISTINCT run_id FROM timings").fetchall() == [("ar",)]
    opened.close()


def test_columns_that_a_file_lacks_are_null_and_types_are_the_schemas(
    tables: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    export(tables, tmp_path / "lake", ["ar"])
    (file,) = (tmp_path / "lake" / "timings").rglob("*.parquet")
    older = f"SELECT run_id, metric, CAST(value_ns AS INTEGER) AS value_ns FROM '{file}'"
    duckdb.execute(f"COPY ({older}) TO '{tmp_path / 'older.parquet'}'")
    shutil.move(tmp_path / "older.parquet", file)
    opened = open_lake(tmp_path / "lake")
    found = opened.sql("SELECT DISTINCT phase, typeof(phase), typeof(value_ns) FROM timings").fetchall()
    assert found == [(None, "VARCHAR", "BIGINT")]
    opened.close()


@pytest.mark.parametrize(
    ("place", "message"),
    [("missing", "no runs in this lake"), ("nosuch://lake", "nosuch"), ("damaged", "damaged")],
)
def test_a_missing_or_damaged_lake_is_one_line(tmp_path: Path, place: str, message: str) -> None:
    folder = tmp_path / "damaged" / "runs" / "experiment=e" / "run_id=r"
    folder.mkdir(parents=True)
    (folder / "run.parquet").write_bytes(b"not Parquet")
    with pytest.raises(WarehouseError, match=message) as caught:
        open_lake(place if "://" in place else tmp_path / place)
    assert "\n" not in str(caught.value)


def test_the_other_file_system_is_not_the_local_one() -> None:
    assert not isinstance(fsspec.filesystem("memory"), type(fsspec.filesystem("file")))
