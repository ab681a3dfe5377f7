"""A new warehouse is a copy of a template, and equal to one created from SQL."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline.warehouse import connect, database
from ridgeline.warehouse.verify import verify

SHAPE = (
    "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE NOT internal ORDER BY ALL",
    "SELECT table_name, constraint_text FROM duckdb_constraints() ORDER BY ALL",
    "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
)


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return columns, constraints, views, and the rows of every table."""
    with connect(path, read_only=path != database.IN_MEMORY) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = {name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in tables}
        return rows | {sql: connection.execute(sql).fetchall() for sql in SHAPE}


@pytest.mark.usefixtures("made_warehouses")
def test_a_warehouse_in_memory_is_a_copy_or_made_where_no_file_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_in: list[Any] = []
    create = database._create_schema
    monkeypatch.setattr(database, "_create_schema", lambda connection: (made_in.append(connection), create(connection)))
    copied = content(database.IN_MEMORY)
    assert made_in == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    made = content(database.IN_MEMORY)
    assert len(made_in) == 1
    assert copied.pop("schema_version") != made.pop("schema_version")  # the times
    assert copied == made


@pytest.mark.usefixtures("made_warehouses")
def test_a_copy_of_the_template_is_what_sql_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database.template_path().exists()
    connect(tmp_path / "copied.duckdb").close()
    monkeypatch.setattr(database, "template_path", lambda: tmp_path / "none")
    connect(tmp_path / "made.duckdb").close()
    copied, made = (content(tmp_path / f"{name}.duckdb") for name in ("copied", "made"))
    assert copied.pop("schema_version") != made.pop("schema_version")  # the times
    assert copied == made
    assert made["ceilings"]
    assert made["descriptions"]


@pytest.mark.usefixtures("made_warehouses")
def test_a_copy_has_digests_by_the_hash_of_this_duckdb(tmp_path: Path) -> None:
    connect(tmp_path / "w.duckdb").close()
    assert verify(tmp_path / "w.duckdb") == ([], [])
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("UPDATE ceilings SET value = value + 1 WHERE device = (SELECT min(device) FROM ceilings)")
    ((found,), remarks) = verify(tmp_path / "w.duckdb")
    assert (found.findings, remarks) == (["ceilings: not what was stored (549 rows)"], [])


def test_a_template_of_other_sources_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current = database.template_path()
    for folder in ("schema", "views"):
        (tmp_path / folder).mkdir()
    for name in ("schema/schema.sql", "schema/comments.toml", "datasheets.json"):
        (tmp_path / name).write_bytes((current.parent / name).read_bytes())
    for view in (current.parent / "views").glob("*.sql"):
        (tmp_path / "views" / view.name).write_bytes(view.read_bytes())
    monkeypatch.setattr(database, "_FOLDER", tmp_path)
    assert database.template_path().name == current.name
    (tmp_path / "views" / "75_figures.sql").write_text("-- another\n")
    assert database.template_path().name != current.name
    assert not database.template_path().exists()


@pytest.mark.usefixtures("made_warehouses")
def test_a_new_file_has_small_blocks_and_an_older_one_keeps_its_own(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "older.duckdb")).close()
    for name, block_bytes in (("new", database.BLOCK_BYTES), ("older", 1 << 18)):
        with connect(tmp_path / f"{name}.duckdb") as connection:
            size = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()
        assert size == [(block_bytes,)]
