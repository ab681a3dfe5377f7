"""Open a warehouse: create the file, migrate an older schema, and give each connection the views of this version."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from ridgeline.atomic_file import atomic_directory
from ridgeline.warehouse import datasheets, migrations
from ridgeline.warehouse.digests import PROBE, store_digests
from ridgeline.warehouse.errors import StorageError, WarehouseError
from ridgeline.warehouse.rollups import KEPT, account_prices, refresh
from ridgeline.warehouse.schema.comments import describe
from ridgeline.warehouse.views import add_missing_views, create_views

SCHEMA_VERSION = 9
"""Raised with every change of a table or view; ``migrations`` has a file for each."""

FIRST_DESCRIBED = 5
"""The first schema with the table ``descriptions``; older ones have comments of the database itself."""

BLOCK_BYTES = 1 << 16
"""Size of the blocks of new files. DuckDB's own, four times as large, triples the file of a small run."""

SLOW_OPTIMIZERS = "partial_aggregate_pushdown,projection_pullup"
"""Optimizers that make no view faster, of a hundred kernels or of 170,000. With the first, planning a sum of kernels by
their diagnosis takes three times as long; the second takes a twentieth of the time of a view of few rows."""

LOCK_WAIT_S = 2.0
IN_MEMORY = Path(":memory:")
_LOCKED = "Could not set lock on file"
_FOLDER = Path(__file__).parent


def connect(path: str | Path, *, read_only: bool = False, external_access: bool = False) -> duckdb.DuckDBPyConnection:
    """Return a connection to the warehouse at ``path`` with all views.

    A missing file is created unless ``read_only``; ``:memory:`` is a warehouse that lasts as long as its connection.
    A writer migrates a file of an older schema and leaves a copy of it beside it. A reader cannot reach other files
    unless ``external_access``. If another process holds the file's lock, waits up to ``LOCK_WAIT_S`` seconds.

    Raises :class:`WarehouseError` if the file stays locked, is no warehouse, or has a schema that this version cannot
    read.
    """
    path = Path(path)
    is_new = not path.exists() and path != IN_MEMORY
    if is_new:
        if read_only:
            raise WarehouseError(f"{path}: no such warehouse: make one with `ridgeline analyze PATH -w {path}`")
        make(path)
    with closed_on_error(_open(path, read_only=read_only, external_access=external_access)) as connection:
        if path == IN_MEMORY:
            _fill(connection)
        is_current = is_new or path == IN_MEMORY
        if is_current:
            _date(connection)
        _check_schema(connection, path, read_only=read_only)
        if not is_current:
            add_missing_views(connection, temporary=read_only)
        if not read_only:
            # A checkpoint at each commit: a load is written once, and readers have no log to replay.
            connection.execute("SET checkpoint_threshold = '1KB'")
    return connection


@contextmanager
def closed_on_error(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield ``connection``, and close it if the block raises."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit every change of the block, or none if it raises.

    Raises :class:`StorageError` if the file cannot be written; what was committed before stays.
    """
    query = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ((path,),) = connection.execute(query).fetchall()
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException as e:
        with suppress(duckdb.Error):  # a failed COMMIT has rolled back already
            connection.execute("ROLLBACK")
        # DuckDB raises one of these three for a full disk or an unwritable file.
        if isinstance(e, duckdb.IOException | duckdb.FatalException | duckdb.TransactionException):
            reason = str(e).splitlines()[0]
            raise StorageError(f"{path}: cannot be written, committed rows are kept: {reason}") from e
        raise


def template_path() -> Path:
    """Return the path of the empty warehouse made from the present sources, whether it exists or not.

    ``make pages`` writes it. SQL takes half a second to make an empty warehouse, a copy of this file 0.05 s. Its name
    has the digest of the sources, so a template of other sources is never used.
    """
    digest = hashlib.sha256(" ".join(KEPT).encode())
    sources = ("schema/schema.sql", "schema/comments.toml", "datasheets.json")
    for source in (*(_FOLDER / name for name in sources), *sorted((_FOLDER / "views").glob("*.sql"))):
        digest.update(source.read_bytes())
    return _FOLDER / f"empty-{digest.hexdigest()[:16]}.duckdb.gz"


def make(path: Path) -> None:
    """Create an empty warehouse at ``path``, complete or not at all.

    Raises :class:`WarehouseError` if the folder cannot be written.
    """

    def publish(folder: Path, path: Path) -> None:
        # A link, not a rename: if another process created the same warehouse meanwhile, its rows must not be lost.
        with suppress(FileExistsError):
            os.link(folder / path.name, path)

    template = template_path()
    try:
        # A directory, since DuckDB locks the file itself and writes a log beside it.
        with atomic_directory(path, publish) as folder:
            temporary = folder / path.name
            if template.exists():
                temporary.write_bytes(gzip.decompress(template.read_bytes()))
            else:
                with _open(temporary, read_only=False) as connection:
                    _create_schema(connection)
    except OSError as e:
        raise WarehouseError(f"{path}: cannot be opened: {e.strerror}") from None
    except WarehouseError as e:
        raise type(e)(str(e).replace(str(temporary), str(path))) from None


def _fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Copy an empty warehouse into the database in memory: 0.03 s, where SQL takes 0.35 s to make it."""
    try:
        with TemporaryDirectory() as folder:
            empty = Path(folder) / "empty.duckdb"
            make(empty)
            quoted = str(empty).replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS empty (READ_ONLY)")
            connection.execute("COPY FROM DATABASE empty TO memory")
            connection.execute("DETACH empty")
    except (OSError, WarehouseError):  # no room for temporary files
        _create_schema(connection)


def _open(path: Path, *, read_only: bool, external_access: bool = False) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {"disabled_optimizers": SLOW_OPTIMIZERS}
    config |= {"enable_external_access": external_access} if read_only else {"default_block_size": BLOCK_BYTES}
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.Error as e:
            text = str(e).splitlines()[0]
            if _LOCKED in text and time.monotonic() <= deadline:
                time.sleep(0.05)
                continue
            if _LOCKED in text:
                holder = re.search(r"PID (\d+)", str(e))
                pid = f" (PID {holder[1]})" if holder else ""
                reason = f"another process{pid} has it open: try again when it is done"
            elif path.is_file() and path.stat().st_size and "not a valid" in text.lower():
                reason = "not a DuckDB file: name another with -w"
            else:
                reason = f"cannot be opened: {text}"
            raise WarehouseError(f"{path}: {reason}") from None


def _check_schema(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
    """Create the schema in an empty database and migrate an older one, unless ``read_only``.

    Raises :class:`WarehouseError` if the file is no warehouse or its schema cannot be read.
    """
    try:
        ((version,),) = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    except duckdb.CatalogException:
        # Only now, since listing the tables takes 10 ms.
        if read_only or connection.execute("SELECT 1 FROM duckdb_tables() LIMIT 1").fetchall():
            message = f"{path}: a DuckDB file, but not a Ridgeline warehouse: name another with -w"
            raise WarehouseError(message) from None
        _create_schema(connection)
        return
    if version > SCHEMA_VERSION:
        raise WarehouseError(
            f"{path}: schema {version} of a newer ridgeline, this one knows {SCHEMA_VERSION}: use the newer one, or "
            "analyze into a new file"
        )
    if version < SCHEMA_VERSION and read_only:
        raise WarehouseError(
            f"{path}: schema {version} of an older ridgeline, this one reads {SCHEMA_VERSION}: "
            f"`ridgeline reprice -w {path}` migrates it and keeps a copy"
        )
    if version < SCHEMA_VERSION:
        _migrate(connection, path, version)


def _create_schema(connection: duckdb.DuckDBPyConnection) -> None:
    with transaction(connection):
        connection.execute((_FOLDER / "schema" / "schema.sql").read_text())
        create_views(connection)
        describe(connection)
        rows = list(datasheets.ceiling_rows())
        values = ", ".join(f"({', '.join('?' for _ in row)})" for row in rows)  # one statement: a tenth of the time
        connection.execute(f"INSERT INTO ceilings VALUES {values}", list(chain.from_iterable(rows)))
        _finish_schema(connection)


def _date(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a new warehouse, a copy of the template, the present date, and digests by the hash of this DuckDB.

    Before the connection's checkpoints begin: one of its own would take 6 ms.
    """
    connection.execute("UPDATE schema_version SET created_at = ?", [datetime.now(UTC).replace(tzinfo=None)])
    if connection.execute(f"SELECT 1 FROM digests WHERE probe <> {PROBE} LIMIT 1").fetchone():
        store_digests(connection)


def _finish_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Record the schema's version and digests of all rows, inside the caller's transaction."""
    now = datetime.now(UTC).replace(tzinfo=None)
    connection.execute("INSERT INTO schema_version VALUES (?, ?)", [SCHEMA_VERSION, now])
    store_digests(connection)


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> None:
    """Migrate the schema from ``version`` to the present one in one transaction, after a copy of the file."""
    files = migrations.files(path, version, SCHEMA_VERSION)
    backup = migrations.back_up(connection, path, version)
    with transaction(connection):
        # Migrations know tables only: views could forbid a change, and are created anew afterwards.
        for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            connection.execute(f'DROP VIEW "{view}"')
        for file in files:
            connection.execute(file.read_text())
        if version < FIRST_DESCRIBED:
            migrations.remove_comments(connection)
        create_views(connection)
        describe(connection)
        refresh(connection)
        account_prices(connection)
        _finish_schema(connection)
    message = f"migrated from schema {version} to {SCHEMA_VERSION}; a copy of the old file is {backup}"
    print(f"ridgeline: {path}: {message}", file=sys.stderr)
