"""A lake: the warehouse's tables as Parquet, a folder for each run, to which any number of machines write at once.

``LAKE/<table>/experiment=<E>/run_id=<R>/<generation>.parquet`` has a run's rows of a table, and
``LAKE/runs/experiment=<E>/run_id=<R>/run.parquet`` its row of ``runs``, written last: a run is in the lake when that
file is. It names the generation whose files are the run's, so that what a writer left that did not come to its end is
never read, and a reader sees the lake as it was when it was opened. The same rows have the same generation, and writing
them again changes nothing.

A lake is a path, or a URL of any file system that fsspec knows (``s3://bucket/lake``, ``memory://lake``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import duckdb
import fsspec
from fsspec.implementations.local import LocalFileSystem

from ridgeline.atomic_file import atomic_file
from ridgeline.warehouse import datasheets
from ridgeline.warehouse.database import IN_MEMORY, SCHEMA_VERSION, connect, view_files
from ridgeline.warehouse.documentation import describe
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.load import remove
from ridgeline.warehouse.rollups import refresh
from ridgeline.warehouse.tables import RUN_TABLES
from ridgeline.warehouse.transactions import transaction

COMMIT = "run.parquet"
NO_EXPERIMENT = "__HIVE_DEFAULT_PARTITION__"
SHARED_TABLE = "signatures"
"""Its rows belong to all runs; each run's folder has those that it refers to."""
DATASHEETS = "datasheet_ceilings"
"""A temporary table beside an open lake: its views ask for these rows many times."""
RUN_SIGNATURES = "SELECT signature_id FROM {} WHERE run_id = {}"

_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")
"""What Hive escapes in the name of a partition."""
_COMMIT_COLUMNS = {
    "lake_generation": "VARCHAR",
    "lake_schema_version": "INTEGER",
    "lake_rows": "VARCHAR",
    "lake_committed_at": "TIMESTAMP",
}
"""What a commit says besides its row of ``runs``: rows by table, as JSON, and when, UTC."""


_PARTITIONED = "hive_partitioning = true, hive_types = {run_id: VARCHAR, experiment: VARCHAR}"


class Commit(NamedTuple):
    """A run in the lake."""

    run_id: str
    name: str
    content_sha256: str
    rules_version: int
    generation: str
    rows: Mapping[str, int]
    """By table, of those that have any."""
    folder: str
    """``experiment=E/run_id=R``, under each table."""

    def file(self, table: str) -> str:
        """The path of a table's file under the lake."""
        return f"{table}/{self.folder}/{COMMIT if table == 'runs' else self.generation + '.parquet'}"


class Exported(NamedTuple):
    """What became of a run."""

    run_id: str
    name: str
    outcome: Literal["written", "unchanged"]
    rows: int
    bytes: int


@cache
def table_columns() -> dict[str, dict[str, str]]:
    """The columns of every table of a lake, with their DuckDB types, in the schema's order."""
    connection = duckdb.connect(":memory:")
    connection.execute(Path(__file__).with_name("schema.sql").read_text())
    rows = connection.execute("SELECT table_name, column_name, data_type FROM duckdb_columns()").fetchall()
    connection.close()
    columns: dict[str, dict[str, str]] = {table: {} for table in (*RUN_TABLES, SHARED_TABLE)}
    for table, column, data_type in rows:
        if table in columns:
            columns[table][column] = data_type
    return columns


class Lake:
    """Where a lake is, and what file system it is on."""

    def __init__(self, location: str | Path) -> None:
        """Raises :class:`WarehouseError` for a URL that no file system here understands."""
        self.name = str(location).rstrip("/") or "/"
        try:
            self.files, root = fsspec.core.url_to_fs(str(location))
        except (ImportError, ValueError) as e:
            raise WarehouseError(f"{location}: {e}") from None
        self.root = str(root).rstrip("/")
        self.is_local = isinstance(self.files, LocalFileSystem)

    def address(self, file: str) -> str:
        """A file of the lake as DuckDB names it."""
        path = f"{self.root}/{file}"
        return path if self.is_local else str(self.files.unstrip_protocol(path))

    def reach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let the connection read and write the lake."""
        protocol = self.files.protocol if isinstance(self.files.protocol, str) else self.files.protocol[0]
        if not self.is_local and not connection.filesystem_is_registered(protocol):
            connection.register_filesystem(self.files)

    def commit_files(self) -> list[str]:
        """The commits of all runs, as paths under the lake; none where there is no such folder."""
        self.files.invalidate_cache()
        return sorted(self._under(path) for path in self.files.find(f"{self.root}/runs") if path.endswith(f"/{COMMIT}"))

    def commit_files_of(self, run_id: str) -> list[str]:
        """The commits of a run; more than one where it moved to another experiment just now."""
        self.files.invalidate_cache()
        try:
            experiments = self.files.ls(f"{self.root}/runs", detail=False)
        except FileNotFoundError:
            return []
        paths = (f"{self._under(experiment)}/run_id={run_id}/{COMMIT}" for experiment in sorted(experiments))
        return [path for path in paths if self.files.exists(f"{self.root}/{path}")]

    def _under(self, path: str) -> str:
        return str(path)[len(self.root) + 1 :] if str(path).startswith(self.root + "/") else str(path)

    def write(self, connection: duckdb.DuckDBPyConnection, query: str, file: str) -> int:
        """Write the rows of a query; the file is there when it is whole. Returns its size in bytes."""
        path = f"{self.root}/{file}"
        if not self.is_local:  # a store puts a file as one
            _copy(connection, query, self.address(file))
            return int(self.files.size(path))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(Path(path)) as temporary:
            _copy(connection, query, str(temporary))
            return temporary.stat().st_size

    def remove(self, files: Iterable[str]) -> None:
        """Delete files, and the local folders that this leaves empty."""
        for file in files:
            with suppress(FileNotFoundError):
                self.files.rm_file(f"{self.root}/{file}")
            if self.is_local:
                with suppress(OSError):  # another writer's file is in it
                    Path(f"{self.root}/{file}").parent.rmdir()


def commits(lake: Lake, run_id: str | None = None) -> list[Commit]:
    """The runs in a lake, or the one named, each by its newest commit. Raises :class:`WarehouseError`."""
    connection = duckdb.connect(":memory:")
    try:
        return _newest(_load_commits(connection, lake, run_id))
    finally:
        connection.close()


def export(
    connection: duckdb.DuckDBPyConnection,
    location: str | Path,
    run_ids: Sequence[str] | None = None,
    report: Callable[[Exported], None] = lambda _: None,
) -> list[Exported]:
    """Write runs of a warehouse, all by default, into a lake; ``report`` is told of each as it is done.

    Those that the lake has already with the same rows are left alone, older ones of the same runs replaced.
    Raises :class:`WarehouseError`.
    """
    lake = Lake(location)
    results = []
    with _plain_errors(lake):
        lake.reach(connection)
        if run_ids is None:
            run_ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs ORDER BY name").fetchall()]
        rows = _row_counts(connection, run_ids)
        for run_id in run_ids:
            results.append(_export_run(connection, lake, run_id, rows[run_id]))
            report(results[-1])
    return results


def move(connection: duckdb.DuckDBPyConnection, location: str | Path, run_id: str) -> None:
    """Write a run of a warehouse into a lake and take it out of the warehouse. Raises :class:`WarehouseError`."""
    try:
        export(connection, location, [run_id])
    finally:
        with transaction(connection):
            remove(connection, [run_id])


def open_lake(location: str | Path) -> duckdb.DuckDBPyConnection:
    """A connection with the warehouse's tables and views over the lake as it is now; it reaches no other files.

    Raises :class:`WarehouseError` if there is no lake.
    """
    lake = Lake(location)
    connection = duckdb.connect(":memory:")
    try:
        with _plain_errors(lake):
            found = snapshot(connection, lake)
            columns = {table: each for table, each in table_columns().items() if table != "runs"}
            files = {
                table: [lake.address(commit.file(table)) for commit in found if commit.rows.get(table)]
                for table in columns
            }
            _create_views(connection, columns)
            describe(connection)
            connection.execute(f"CREATE TEMP TABLE {DATASHEETS} AS {_datasheets(columns['ceilings'])}")
            for table, each in columns.items():
                connection.execute(f"DROP TABLE {table}")
                connection.execute(f"CREATE TEMP VIEW {table} AS {_table(table, each, files[table])}")
            allowed = ", ".join(_literal(file) for named in files.values() for file in named)
            connection.execute(f"SET allowed_paths = [{allowed}]")
            connection.execute("SET enable_external_access = false")
    except BaseException:
        connection.close()
        raise
    return connection


def _create_views(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Mapping[str, str]]) -> None:
    """Create the warehouse's views, over empty tables that the caller replaces.

    DuckDB binds a view's query when it is created, and again inside each view above it. Over Parquet every binding
    opens files: 40 views take ten times as long as over empty tables.
    """
    for table, each in columns.items():
        definitions = ", ".join(f'"{name}" {data_type}' for name, data_type in each.items())
        connection.execute(f"CREATE TEMP TABLE {table} ({definitions})")
    connection.execute(
        "CREATE TEMP VIEW schema_version AS"
        f" SELECT CAST({SCHEMA_VERSION} AS INTEGER) AS version, CAST(NULL AS TIMESTAMP) AS created_at"
    )
    connection.execute("CREATE TEMP TABLE descriptions (table_name VARCHAR, column_name VARCHAR, description VARCHAR)")
    for file in view_files():
        connection.execute(file.read_text().replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMP VIEW"))


def load_lake(location: str | Path) -> duckdb.DuckDBPyConnection:
    """A warehouse in memory with all rows of the lake as it is now, for many questions of all its runs.

    Raises :class:`WarehouseError` if there is no lake.
    """
    lake = Lake(location)
    connection = connect(IN_MEMORY)
    try:
        with _plain_errors(lake):
            lake.reach(connection)
            found = snapshot(connection, lake)
            with transaction(connection):
                connection.execute("INSERT INTO memory.main.runs SELECT * FROM temp.runs")
                for table, columns in table_columns().items():
                    files = [lake.address(commit.file(table)) for commit in found if commit.rows.get(table)]
                    if table != "runs" and files:
                        rows = parquet(columns, files)
                        rows = newest_signatures(f"({rows})") if table == SHARED_TABLE else rows
                        connection.execute(f"INSERT INTO memory.main.{table} {rows}")
            connection.execute("DROP TABLE temp.runs")
            refresh(connection)
            connection.execute("SET enable_external_access = false")
    except BaseException:
        connection.close()
        raise
    return connection


def snapshot(connection: duckdb.DuckDBPyConnection, lake: Lake) -> list[Commit]:
    """The runs in a lake, whose rows of ``runs`` become a temporary table. Raises :class:`WarehouseError`."""
    rows = _load_commits(connection, lake)
    found = _newest(rows)
    if not found:
        raise WarehouseError(
            f"{lake.name}: no runs in this lake: `ridgeline export {lake.name}` or `analyze PATH --lake {lake.name}`"
        )
    columns = ", ".join(f'"{column}"' for column in table_columns()["runs"])
    connection.execute("CREATE TEMP TABLE kept (filename VARCHAR)")
    connection.execute("INSERT INTO kept SELECT unnest(?)", [[lake.address(commit.file("runs")) for commit in found]])
    connection.execute(f"CREATE TEMP TABLE runs AS SELECT {columns} FROM commits SEMI JOIN kept USING (filename)")
    connection.execute("DROP TABLE kept")
    connection.execute("DROP TABLE commits")
    return found


def newest_signatures(table: str) -> str:
    """The signatures, each once: as the newest rules price it."""
    columns = table_columns()[SHARED_TABLE]
    ties = ", ".join(column for column in columns if column not in ("signature_id", "rules_version"))
    return (
        f"SELECT {', '.join(columns)} FROM (SELECT *, ROW_NUMBER() OVER"
        f" (PARTITION BY signature_id ORDER BY rules_version DESC, {ties}) AS place FROM {table}) WHERE place = 1"
    )


def partition(experiment: str | None, run_id: str) -> str:
    """The folder of a run under each table, its values escaped as Hive does; two dots look like a way out to DuckDB.

    >>> partition("a/../b", "0f"), partition(None, "0f")
    ('experiment=a%2F__%2Fb/run_id=0f', 'experiment=__HIVE_DEFAULT_PARTITION__/run_id=0f')
    """
    named = _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", (experiment or "").replace("..", "__"))
    named = named or NO_EXPERIMENT
    return f"experiment={named}/run_id={run_id}"


def _row_counts(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Rows by run and table, of the tables that have any."""
    counts: dict[str, dict[str, int]] = {run_id: {} for run_id in run_ids}
    query = "SELECT run_id, count(*) FROM {} WHERE list_contains(?, run_id) GROUP BY run_id"
    for table in RUN_TABLES:
        for run_id, rows in connection.execute(query.format(table), [list(run_ids)]).fetchall():
            counts[run_id][table] = rows
    return counts


def _export_run(connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str, rows: Mapping[str, int]) -> Exported:
    run = connection.execute(
        "SELECT name, content_sha256, rules_version, experiment FROM runs WHERE run_id = ?", [run_id]
    ).fetchone()
    if run is None:
        raise WarehouseError(f"{run_id}: no such run in the warehouse")
    name, content, rules_version, experiment = run
    signatures = connection.execute(f"SELECT count(*) FROM ({_of_run(SHARED_TABLE, run_id)})").fetchone()
    rows = {**rows, SHARED_TABLE: signatures[0] if signatures else 0}
    rows = {table: count for table, count in sorted(rows.items()) if count}
    generation = hashlib.sha256(json.dumps([content, rules_version, SCHEMA_VERSION, rows]).encode()).hexdigest()[:16]
    commit = Commit(run_id, name, content, rules_version, generation, rows, partition(experiment, run_id))
    before = _all_commits(lake, run_id)
    if [(old.name, old.generation, old.folder) for old in before] == [(name, generation, commit.folder)]:
        return Exported(run_id, name, "unchanged", sum(rows.values()), 0)
    written = sum(
        lake.write(connection, _of_run(table, run_id), commit.file(table)) for table in rows if table != "runs"
    )
    written += lake.write(connection, _commit_row(commit), commit.file("runs"))
    _remove_replaced(lake, commit, before)
    return Exported(run_id, name, "written", sum(rows.values()), written)


def _remove_replaced(lake: Lake, commit: Commit, before: Iterable[Commit]) -> None:
    """Delete what earlier commits of the run named, each commit before its files.

    What no commit names stays: it may be what another writer is about to commit, and nobody reads it.
    """
    for old in before:
        if old.folder != commit.folder:
            lake.remove([old.file("runs")])
        if (old.folder, old.generation) != (commit.folder, commit.generation):
            lake.remove(old.file(table) for table in old.rows if table != "runs")


def _of_run(table: str, run_id: str) -> str:
    """The rows of a table that go with a run."""
    columns = ", ".join(f'"{column}"' for column in table_columns()[table])
    run = _literal(run_id)
    if table != SHARED_TABLE:
        return f"SELECT {columns} FROM {table} WHERE run_id = {run}"
    referred = " UNION ".join(RUN_SIGNATURES.format(user, run) for user in ("kernel_classes", "operators"))
    return f"SELECT {columns} FROM {table} WHERE signature_id IN ({referred})"


def _commit_row(commit: Commit) -> str:
    values = (
        commit.generation, SCHEMA_VERSION, json.dumps(commit.rows), datetime.now(UTC).replace(tzinfo=None).isoformat(),
    )  # fmt: skip
    said = ", ".join(
        f"CAST({_literal(str(value))} AS {data_type}) AS {column}"
        for value, (column, data_type) in zip(values, _COMMIT_COLUMNS.items(), strict=True)
    )
    columns = ", ".join(f'"{column}"' for column in table_columns()["runs"])
    return f"SELECT {columns}, {said} FROM runs WHERE run_id = {_literal(commit.run_id)}"


def _load_commits(
    connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str | None = None
) -> list[tuple[Any, ...]]:
    """Read the commits into a temporary table ``commits``; its rows, the newest last."""
    with _plain_errors(lake):
        lake.reach(connection)
        files = lake.commit_files_of(run_id) if run_id else lake.commit_files()
        columns = table_columns()["runs"] | _COMMIT_COLUMNS
        source = parquet(columns, [lake.address(file) for file in files], named=True)
        connection.execute(f"CREATE TEMP TABLE commits AS {source}")
        rows = connection.execute(
            "SELECT filename, run_id, name, content_sha256, rules_version, lake_schema_version, lake_generation,"
            " lake_rows FROM commits ORDER BY lake_committed_at, lake_generation, filename"
        ).fetchall()
    by_address = {lake.address(file): file for file in files}
    return [(by_address[address], *row) for address, *row in rows]


def _commit(row: tuple[Any, ...]) -> Commit:
    file, run_id, name, content, rules_version, schema_version, generation, rows = row
    if generation is None or schema_version is None or schema_version > SCHEMA_VERSION:
        found = f"schema {schema_version} of a newer ridgeline" if generation else "not a commit of a run"
        raise WarehouseError(f"{file}: {found}: this one reads lakes up to schema {SCHEMA_VERSION}")
    folder = file.removeprefix("runs/").removesuffix(f"/{COMMIT}")
    return Commit(run_id, name, content, rules_version, generation, json.loads(rows), folder)


def _all_commits(lake: Lake, run_id: str) -> list[Commit]:
    if not lake.commit_files_of(run_id):
        return []
    connection = duckdb.connect(":memory:")
    try:
        return [_commit(row) for row in _load_commits(connection, lake, run_id)]
    finally:
        connection.close()


def _newest(rows: Iterable[tuple[Any, ...]]) -> list[Commit]:
    """One commit of each run: a run that moved to another experiment has two for a moment."""
    newest = {commit.run_id: commit for commit in map(_commit, rows)}
    return sorted(newest.values(), key=lambda commit: commit.folder)


def _table(table: str, columns: Mapping[str, str], files: Sequence[str]) -> str:
    """The rows of a table over the whole lake."""
    rows = parquet(columns, files)
    if table == SHARED_TABLE:
        return newest_signatures(f"({rows})")
    if table == "ceilings":
        return f"{rows} UNION ALL FROM {DATASHEETS}"
    return rows


def _datasheets(columns: Mapping[str, str]) -> str:
    rows = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in datasheets.ceiling_rows())
    cast = ", ".join(f'CAST("{column}" AS {data_type}) AS "{column}"' for column, data_type in columns.items())
    names = ", ".join(f'"{column}"' for column in columns)
    return f"SELECT {cast} FROM (VALUES {rows}) AS sheets ({names})"


def parquet(columns: Mapping[str, str], files: Sequence[str], *, named: bool = False) -> str:
    """SQL for the rows of files, with these columns and types whatever the files have; absent columns are NULL.

    ``named`` adds each row's file as ``filename``.
    """
    selected = ", ".join([f'"{column}"' for column in columns] + ["filename"] * named)
    if not files:
        nothing = ", ".join(f'CAST(NULL AS {data_type}) AS "{column}"' for column, data_type in columns.items())
        return f"SELECT {selected} FROM (SELECT {nothing}, CAST(NULL AS VARCHAR) AS filename) WHERE false"
    fields = ", ".join(
        f"{_literal(column)}: {{name: {_literal(column)}, type: {_literal(data_type)}, default_value: NULL}}"
        for column, data_type in columns.items()
    )
    listed = ", ".join(map(_literal, files))
    # the folder's run_id lets a query of one run open only that run's files; its experiment must not hide the column
    options = "hive_partitioning = false" if "experiment" in columns else _PARTITIONED
    return f"SELECT {selected} FROM read_parquet([{listed}], schema = MAP {{{fields}}}, filename = true, {options})"


def _copy(connection: duckdb.DuckDBPyConnection, query: str, address: str) -> None:
    # The encodings of the second version take a third off: they store times as differences. Nobody looks rows up by a
    # value that a Bloom filter would tell of, and higher levels take much longer for one part in a hundred.
    options = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 9, WRITE_BLOOM_FILTER false"
    options += ", USE_TMP_FILE false"  # the file is a temporary already, and replacing it would lose its lock
    connection.execute(f"COPY ({query}) TO {_literal(address)} ({options})")


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


@contextmanager
def _plain_errors(lake: Lake) -> Iterator[None]:
    """What a file system or DuckDB says of a lake, in one line."""
    try:
        yield
    except (OSError, duckdb.Error) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e).splitlines()[0]
        raise WarehouseError(f"{lake.name}: {reason}") from None


__all__ = ["Commit", "Exported", "Lake", "commits", "export", "load_lake", "move", "open_lake", "partition", "snapshot"]
