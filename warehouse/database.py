"""Open a warehouse: make the schema where there is none, and the views of this version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import duckdb

from warehouse import datasheets
from warehouse.errors import WarehouseError

SCHEMA_VERSION = 3
_FOLDER = Path(__file__).parent


@cache
def view_files() -> tuple[Path, ...]:
    """The views' ``.sql`` files, in the order they build on each other."""
    return tuple(sorted((_FOLDER / "views").glob("*.sql")))


def connect(path: str | Path, *, read_only: bool = False, external_access: bool = False) -> duckdb.DuckDBPyConnection:
    """Open the warehouse at ``path``, created unless ``read_only``, with its views.

    The path ``:memory:`` makes one that lasts as long as its connection. A read-only connection cannot reach other
    files, unless it is given ``external_access``. Raises :class:`WarehouseError`.
    """
    path = Path(path)
    if read_only and not path.exists():
        raise WarehouseError(f"{path}: no such warehouse: make one with `ridgeline analyze PATH -w {path}`")
    # writers checkpoint at each commit, so that a load is written once and readers find no log to replay
    config: dict[str, str | bool | int | float | list[str]]
    config = {"enable_external_access": external_access} if read_only else {"checkpoint_threshold": "1KB"}
    try:
        connection = duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as e:
        raise WarehouseError(f"{path}: {_reason(path, e)}") from None
    try:
        _check_version(connection, path, create=not read_only)
        _add_views(connection, "TEMP VIEW" if read_only else "VIEW")
    except BaseException:
        connection.close()
        raise
    return connection


def _reason(path: Path, error: duckdb.Error) -> str:
    text = str(error)
    if "lock" in text.lower():
        holder = re.search(r"PID (\d+)", text)
        return (
            "another process"
            + (f" (PID {holder[1]})" if holder else "")
            + " is writing to it: try again when it is done"
        )
    if path.is_file() and path.stat().st_size and "not a valid" in text.lower():
        return "not a DuckDB file: name another with -w"
    return text.splitlines()[0]


def _check_version(connection: duckdb.DuckDBPyConnection, path: Path, *, create: bool) -> None:
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "schema_version" in tables:
        (version,) = connection.execute("SELECT max(version) FROM schema_version").fetchone() or (None,)
        if version != SCHEMA_VERSION:
            newer = "a newer" if version and version > SCHEMA_VERSION else "another"
            raise WarehouseError(
                f"{path}: schema {version} of {newer} ridgeline, this one reads {SCHEMA_VERSION}: "
                "analyze into a new file"
            )
        return
    if tables or not create:
        raise WarehouseError(f"{path}: a DuckDB file, but not a Ridgeline warehouse: name another with -w")
    _create(connection)


def _add_views(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Add views that came after the warehouse was made; for a reader they last as long as its connection."""
    known = {name for (name,) in connection.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    for file in view_files():
        text = file.read_text()
        if not known.issuperset(re.findall(r"CREATE OR REPLACE VIEW (\w+)", text)):
            connection.execute(text.replace("CREATE OR REPLACE VIEW", f"CREATE OR REPLACE {kind}"))


def hold(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Evaluate views once, for as long as the connection lasts: what asks them, views among it, finds their rows.

    For many questions of one warehouse that does not change meanwhile; the answers are the same.
    """
    for name, statement in _view_statements():
        connection.execute(statement.replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMP VIEW", 1))
        if name in names:
            connection.execute(f"CREATE TEMP TABLE held_{name} AS SELECT * FROM {name}")
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM held_{name}")


def _view_statements() -> Iterator[tuple[str, str]]:
    """Every view's name and statement, each after those it asks."""
    for file in view_files():
        for statement in re.split(r"(?=^CREATE OR REPLACE VIEW )", file.read_text(), flags=re.MULTILINE):
            if found := re.match(r"CREATE OR REPLACE VIEW (\w+)", statement):
                yield found[1], statement


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("BEGIN")
    connection.execute((_FOLDER / "schema.sql").read_text())
    for file in view_files():
        connection.execute(file.read_text())
    connection.execute(
        "INSERT INTO schema_version VALUES (?, ?)", [SCHEMA_VERSION, datetime.now(UTC).replace(tzinfo=None)]
    )
    rows = list(datasheets.ceiling_rows())
    placeholders = ", ".join("?" for _ in rows[0])
    connection.executemany(f"INSERT INTO ceilings VALUES ({placeholders})", rows)
    connection.execute("COMMIT")
