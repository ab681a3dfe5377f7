"""Warehouses written by the releases that had the older schemas."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline.warehouse import SCHEMA_VERSION, StorageError, WarehouseError, connect, migrations
from ridgeline.warehouse.verify import verify
from tests.analyze.loading import query

STORED = Path(__file__).parents[2] / "data" / "warehouses"
LATER = ("schema_version", "digests", "descriptions")
REWORDED = ("kept_kernel_groups", '"diagnosis"')
"""A column whose texts later releases changed."""


RELEASES = sorted(path.name.partition(".")[0] for path in STORED.glob("*.duckdb.gz"))
one_release = pytest.mark.parametrize(
    "old", [RELEASES[0], *(pytest.param(each, marks=pytest.mark.exhaustive) for each in RELEASES[1:])], indirect=True
)
"""What fails before or in place of the steps of a migration fails alike for every release."""


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "w.duckdb"
    path.write_bytes(gzip.decompress((STORED / f"{request.param}.duckdb.gz").read_bytes()))
    return path


def rows(path: Path, columns: dict[str, list[str]] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of ``columns`` by table, read by DuckDB alone; by default of all columns."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return {
            table: connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY ALL").fetchall()
            for table, names in (columns or table_columns(path)).items()
        }


def table_columns(path: Path) -> dict[str, list[str]]:
    """Return the quoted columns of the tables that all versions have."""
    columns: dict[str, list[str]] = {}
    names = "SELECT table_name, '\"' || column_name || '\"' FROM duckdb_columns() WHERE NOT internal"
    for table, column in query(path, f"{names} AND table_name IN (SELECT table_name FROM duckdb_tables())"):
        if table not in LATER and (table, column) != REWORDED:
            columns.setdefault(table, []).append(column)
    return columns


def shape(path: Path) -> tuple[set[Any], set[Any], set[Any]]:
    columns = "SELECT table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns() WHERE NOT internal"
    constraints = "SELECT table_name, constraint_text FROM duckdb_constraints()"
    views = "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal"
    return set(query(path, columns)), set(query(path, constraints)), set(query(path, views))


@pytest.fixture(scope="module")
def new_shape(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[Any], set[Any], set[Any]]:
    path = tmp_path_factory.mktemp("new") / "w.duckdb"
    connect(path).close()
    return shape(path)


def test_a_writer_migrates_to_the_schema_of_a_new_one_and_keeps_a_copy(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], new_shape: tuple[set[Any], set[Any], set[Any]]
) -> None:
    columns = table_columns(old)
    as_it_was, before = old.read_bytes(), rows(old, columns)
    assert before["kernels"]
    connect(old).close()
    ((version,),) = query(old, "SELECT min(version) FROM schema_version")
    backup = tmp_path / f"w.duckdb.v{version}.backup"
    said = f"ridgeline: {old}: migrated from schema {version} to {SCHEMA_VERSION}; a copy of the old file is {backup}\n"
    assert capsys.readouterr() == ("", said)
    assert backup.read_bytes() == as_it_was
    assert rows(old, columns) == before
    assert shape(old) == new_shape
    found, remarks = verify(old)
    assert ([run.findings for run in found], remarks) == ([[]], [])
    connect(old).close()
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.duckdb", backup.name]


def test_a_reader_refuses_an_older_schema_and_changes_nothing(old: Path, tmp_path: Path) -> None:
    as_it_was = old.read_bytes()
    with pytest.raises(WarehouseError, match=r"of an older ridgeline, .*`ridgeline reprice -w .*` migrates it"):
        connect(old, read_only=True)
    assert ([path.name for path in tmp_path.iterdir()], old.read_bytes()) == (["w.duckdb"], as_it_was)


@one_release
def test_a_step_that_fails_changes_nothing(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(old)
    half = tmp_path / "half.sql"
    half.write_text("DELETE FROM kernels; CREATE TABLE more (a INTEGER); SELECT * FROM nowhere")
    monkeypatch.setattr(migrations, "files", lambda *_: [half])
    with pytest.raises(duckdb.CatalogException):
        connect(old)
    assert rows(old) == before
    monkeypatch.undo()
    connect(old).close()
    backups = sorted(path.name for path in tmp_path.glob("*.backup*"))
    assert len(backups) == 2
    assert backups[1] == backups[0] + ".1"


@one_release
def test_without_room_for_the_copy_nothing_is_changed(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(old)
    full = tmp_path / "bin" / "cp"
    full.parent.mkdir()
    full.write_text("#!/bin/sh\necho half > $3\necho 'No space left on device' >&2\nexit 1\n")
    full.chmod(0o755)
    monkeypatch.setenv("PATH", str(full.parent), prepend=":")
    with pytest.raises(StorageError, match="cannot be written, so nothing was migrated: No space left"):
        connect(old)
    assert rows(old) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "w.duckdb"]


def test_a_schema_that_is_too_old_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    connection = connect(path)
    connection.execute("UPDATE schema_version SET version = 1")
    connection.close()
    before = rows(path)
    with pytest.raises(WarehouseError, match=r"schema 1 is too old to be brought to \d+: analyze into a new file$"):
        connect(path)
    assert rows(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["w.duckdb"]


def test_a_newer_schema_is_refused_by_readers_and_writers(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    connection = connect(path)
    connection.execute(f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}")
    connection.close()
    as_it_was = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(WarehouseError, match=f"of a newer ridgeline, this one knows {SCHEMA_VERSION}: use"):
            connect(path, read_only=read_only)
    assert path.read_bytes() == as_it_was


def test_each_version_has_a_migration() -> None:
    found = sorted(int(path.stem) for path in Path(migrations.__file__).parent.glob("*.sql"))
    assert found == list(range(4, SCHEMA_VERSION + 1))
