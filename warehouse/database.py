"""Open a warehouse: make the schema where there is none, and the views of this version."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from pathlib import Path

import duckdb

from ridgeline.atomic_file import atomic_directory
from ridgeline.warehouse import datasheets, template
from ridgeline.warehouse.digests import seal_all
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.rollups import KEPT, refresh
from ridgeline.warehouse.transactions import transaction

SCHEMA_VERSION = 5
"""Raised with every change of a table or view; ``migrations`` has a step to each."""

FIRST_DESCRIBED = 5
"""The first schema with ``descriptions``; before it, descriptions were the database's own comments."""

LOCK_WAIT_S = 2.0
_LOCKED = "Could not set lock on file"
_FOLDER = Path(__file__).parent
IN_MEMORY = Path(":memory:")


@cache
def view_files() -> tuple[Path, ...]:
    """The views' ``.sql`` files, in the order they build on each other."""
    return tuple(sorted((_FOLDER / "views").glob("*.sql")))


def connect(path: str | Path, *, read_only: bool = False, external_access: bool = False) -> duckdb.DuckDBPyConnection:
    """Open the warehouse at ``path``, created unless ``read_only``, with its views.

    The path ``:memory:`` makes one that lasts as long as its connection. A read-only connection cannot reach other
    files, unless it is given ``external_access``. One that writes brings a file of an older schema forward, with a
    copy of it kept beside it. Of a file that another process has open for writing, or where this one is to write, has
    open at all, it waits ``LOCK_WAIT_S`` seconds for that to end. Raises :class:`WarehouseError`.
    """
    path = Path(path)
    if not path.exists() and path != IN_MEMORY:
        if read_only:
            raise WarehouseError(f"{path}: no such warehouse: make one with `ridgeline analyze PATH -w {path}`")
        _make(path)
    connection = _open(path, read_only=read_only, external_access=external_access)
    try:
        _check_version(connection, path, read_only=read_only)
        _add_views(connection, "TEMP VIEW" if read_only else "VIEW")
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """Make an empty warehouse, which is there whole or not at all."""

    def publish(folder: Path, path: Path) -> None:
        with suppress(FileExistsError):  # another process was faster: its warehouse is as good
            os.link(folder / path.name, path)

    try:
        # a directory, since DuckDB writes a log beside the file and locks the file itself
        with atomic_directory(path, publish) as folder:
            part = folder / path.name
            if empty := template.content():
                part.write_bytes(empty)
            connection = _open(part, read_only=False)
            try:
                _adopt(connection) if empty else _create(connection)
            finally:
                connection.close()
    except OSError as e:
        raise WarehouseError(f"{path}: cannot be opened: {e.strerror}") from None
    except WarehouseError as e:
        raise type(e)(str(e).replace(str(part), str(path))) from None


def _open(path: Path, *, read_only: bool, external_access: bool = False) -> duckdb.DuckDBPyConnection:
    # writers checkpoint at each commit, so that a load is written once and readers find no log to replay
    config: dict[str, str | bool | int | float | list[str]]
    config = {"enable_external_access": external_access} if read_only else {"checkpoint_threshold": "1KB"}
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.Error as e:
            if _LOCKED not in str(e) or time.monotonic() > deadline:
                raise WarehouseError(f"{path}: {_reason(path, e)}") from None
        time.sleep(0.05)


def _reason(path: Path, error: duckdb.Error) -> str:
    text = str(error).splitlines()[0]
    if _LOCKED in text:
        holder = re.search(r"PID (\d+)", str(error))
        return f"another process{f' (PID {holder[1]})' if holder else ''} has it open: try again when it is done"
    if path.is_file() and path.stat().st_size and "not a valid" in text.lower():
        return "not a DuckDB file: name another with -w"
    return f"cannot be opened: {text}"


def _check_version(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
    """See that the schema is this one's; an older one is brought forward where writing is allowed."""
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables and not read_only:  # an empty database, whoever made it
        return _create(connection)
    if "schema_version" not in tables:
        raise WarehouseError(f"{path}: a DuckDB file, but not a Ridgeline warehouse: name another with -w")
    ((version,),) = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    if version == SCHEMA_VERSION:
        return None
    if version > SCHEMA_VERSION:
        raise WarehouseError(
            f"{path}: schema {version} of a newer ridgeline, this one knows {SCHEMA_VERSION}: use the newer one, or "
            "analyze into a new file"
        )
    if read_only:
        raise WarehouseError(
            f"{path}: schema {version} of an older ridgeline, this one reads {SCHEMA_VERSION}: "
            f"`ridgeline reprice -w {path}` brings it forward, and keeps a copy"
        )
    return _bring_forward(connection, path, version)


def _bring_forward(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> None:
    from ridgeline.warehouse import migrations
    from ridgeline.warehouse.documentation import describe

    steps = migrations.steps(path, version, SCHEMA_VERSION)
    backup = migrations.back_up(connection, path, version)
    with transaction(connection):
        for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            connection.execute(f'DROP VIEW "{view}"')
        for step in steps:
            connection.execute(step.read_text())
        if version < FIRST_DESCRIBED:
            _remove_comments(connection)
        make_views(connection)
        describe(connection)
        refresh(connection)
        _sign(connection)
        seal_all(connection)
    print(f"ridgeline: {path}: brought from schema {version} to {SCHEMA_VERSION}, as it was: {backup}", file=sys.stderr)


def _remove_comments(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the database's own comments on tables and columns: they would grow old beside ``descriptions``."""
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NOT NULL"
    for table, column in connection.execute(columns).fetchall():
        connection.execute(f'COMMENT ON COLUMN "{table}"."{column}" IS NULL')
    tables = "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND comment IS NOT NULL"
    for (table,) in connection.execute(tables).fetchall():
        connection.execute(f'COMMENT ON TABLE "{table}" IS NULL')


def _add_views(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Add views that came after the warehouse was made; for a reader they last as long as its connection."""
    known = {name for (name,) in connection.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    for name, statement in _statements():
        if name not in known:
            connection.execute(_as(kind, statement))


def make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make every view as this version defines it, and the tables of kept rows that are not there yet, empty."""
    for name, statement in _statements():
        if name in KEPT:
            connection.execute(f"CREATE TABLE IF NOT EXISTS kept_{name} AS SELECT * FROM defined_{name} LIMIT 0")
        connection.execute(statement)


def hold(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Evaluate views once, for as long as the connection lasts: what asks them, views among it, finds their rows.

    For many questions of one warehouse that does not change meanwhile; the answers are the same.
    """
    for name, statement in _statements():
        connection.execute(_as("TEMP VIEW", statement))
        if name in names:
            connection.execute(f"CREATE TEMP TABLE held_{name} AS SELECT * FROM {name}")
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM held_{name}")


def compute(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Compute the views named, and those they ask, from the facts alone, for as long as the connection lasts."""
    missing = set(names)
    for name, statement in _definitions():  # each after those it asks
        connection.execute(_as("TEMP VIEW", statement))
        missing.discard(name)
        if not missing:
            return


def _as(kind: str, statement: str) -> str:
    return statement.replace("CREATE OR REPLACE VIEW", f"CREATE OR REPLACE {kind}", 1)


def _statements() -> Iterator[tuple[str, str]]:
    """Every view of a file and its statement, each after those it asks; one that is kept after its definition."""
    for name, statement in _definitions():
        if name in KEPT:
            yield f"defined_{name}", statement.replace(f"VIEW {name} AS", f"VIEW defined_{name} AS", 1)
            yield name, f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM kept_{name}"
        else:
            yield name, statement


@cache
def _definitions() -> tuple[tuple[str, str], ...]:
    """Every view's name and statement, each after those it asks."""
    texts = (file.read_text() for file in view_files())
    statements = (
        each for text in texts for each in re.split(r"(?=^CREATE OR REPLACE VIEW )", text, flags=re.MULTILINE)
    )
    found = ((re.match(r"CREATE OR REPLACE VIEW (\w+)", each), each) for each in statements)
    return tuple((match[1], each) for match, each in found if match)


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    from ridgeline.warehouse.documentation import describe

    with transaction(connection):
        connection.execute((_FOLDER / "schema.sql").read_text())
        make_views(connection)
        describe(connection)
        rows = list(datasheets.ceiling_rows())
        values = ", ".join(f"({', '.join('?' for _ in row)})" for row in rows)  # one statement takes a tenth of many
        connection.execute(f"INSERT INTO ceilings VALUES {values}", list(chain.from_iterable(rows)))
        _sign(connection)
        seal_all(connection)


def _adopt(connection: duckdb.DuckDBPyConnection) -> None:
    """Make a copy of the template a warehouse of now, with digests by the hash of this DuckDB."""
    with transaction(connection):
        connection.execute("DELETE FROM schema_version")
        _sign(connection)
        seal_all(connection)


def _sign(connection: duckdb.DuckDBPyConnection) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    connection.execute("INSERT INTO schema_version VALUES (?, ?)", [SCHEMA_VERSION, now])
