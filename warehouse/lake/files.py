"""The files of a lake: where they are, how they are named, and the SQL that reads and writes them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import duckdb
import fsspec
from fsspec.implementations.local import LocalFileSystem

from ridgeline.warehouse import schema
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.schema.tables import RUN_TABLES

COMMIT = "run.parquet"
UNFINISHED = ".unfinished"
"""The folder of a local lake in which files are written before they are renamed; no reader lists it."""
NO_EXPERIMENT = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for the partition of NULL."""

_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")
"""The characters that Hive escapes in the name of a partition."""


class Lake:
    """The place of a lake and its file system."""

    def __init__(self, location: str | Path) -> None:
        """Raises :class:`WarehouseError` for a URL of an unknown file system."""
        self.name = str(location).rstrip("/") or "/"
        try:
            self.files, root = fsspec.core.url_to_fs(str(location))
        except (ImportError, ValueError) as e:
            raise WarehouseError(f"{location}: {e}") from None
        self.root = str(root).rstrip("/")
        self.is_local = isinstance(self.files, LocalFileSystem)

    def address(self, file: str) -> str:
        """Return the path or URL of a file of the lake, as DuckDB reads it."""
        path = f"{self.root}/{file}"
        return path if self.is_local else str(self.files.unstrip_protocol(path))

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Register the lake's file system with the connection, unless it is the local one."""
        protocol = self.files.protocol if isinstance(self.files.protocol, str) else self.files.protocol[0]
        if not self.is_local and not connection.filesystem_is_registered(protocol):
            connection.register_filesystem(self.files)

    def commit_files(self, run_id: str | None = None) -> list[str]:
        """Return the commits of all runs, or of one, as paths under the lake; an empty list if there is no lake.

        A run has more than one while it moves to another experiment.
        """
        self.files.invalidate_cache()
        runs = f"{self.root}/runs"
        if run_id is None:
            paths = [path for path in self.files.find(runs) if path.endswith(f"/{COMMIT}")]
        else:
            # Look in each experiment instead of listing all runs: there are few experiments and many thousands of runs.
            try:
                experiments = self.files.ls(runs, detail=False)
            except FileNotFoundError:
                return []
            paths = [f"{experiment}/run_id={run_id}/{COMMIT}" for experiment in experiments]
            paths = [path for path in paths if self.files.exists(path)]
        return sorted(str(path).removeprefix(f"{self.root}/") for path in paths)

    def write(self, connection: duckdb.DuckDBPyConnection, query: str, file: str) -> int:
        """Write the rows of a query to a file, which appears complete or not at all; return its size in bytes."""
        # Version 2 has encodings that store times as differences: files are a third smaller. No query looks a row up by
        # a value that a Bloom filter would help with. Levels above 9 take much longer for 1 % of the size.
        options = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 9, WRITE_BLOOM_FILTER false"
        if not self.is_local:  # an object store publishes a complete object
            connection.execute(f"COPY ({query}) TO {literal(self.address(file))} ({options})")
            return int(self.files.size(f"{self.root}/{file}"))
        target = Path(self.root, file)
        # Not atomic_file, whose temporary is named by PID: machines that share the file system may have equal PIDs, and
        # Spark may run one task on two of them.
        temporary = Path(self.root, UNFINISHED, uuid.uuid4().hex)
        for folder in (target.parent, temporary.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            connection.execute(f"COPY ({query}) TO {literal(str(temporary))} ({options})")
            size = temporary.stat().st_size
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return size

    def remove(self, files: Iterable[str]) -> None:
        """Delete files, and the local folders that this leaves empty."""
        for file in files:
            with suppress(FileNotFoundError):
                self.files.rm_file(f"{self.root}/{file}")
            if self.is_local:
                with suppress(OSError):  # not empty: another writer's file is in it
                    Path(self.root, file).parent.rmdir()


@contextmanager
def one_line_errors(lake: Lake) -> Iterator[None]:
    """Raise what a file system or DuckDB raises in the block as a :class:`WarehouseError` of one line."""
    try:
        yield
    except (OSError, duckdb.Error) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e).splitlines()[0]
        raise WarehouseError(f"{lake.name}: {reason}") from None


def partition(experiment: str | None, run_id: str) -> str:
    """Return the folder of a run under each table, escaped as Hive does.

    >>> partition("a/../b", "0f"), partition(None, "0f")
    ('experiment=a%2F__%2Fb/run_id=0f', 'experiment=__HIVE_DEFAULT_PARTITION__/run_id=0f')
    """
    # DuckDB takes ".." in an allowed path for a way out of the folder.
    escaped = _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", (experiment or "").replace("..", "__"))
    return f"experiment={escaped or NO_EXPERIMENT}/run_id={run_id}"


@cache
def table_columns() -> dict[str, dict[str, str]]:
    """Return the columns of every table of a lake with their DuckDB types, in the order of ``schema.sql``."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(Path(schema.__file__).with_name("schema.sql").read_text())
        rows = connection.execute("SELECT table_name, column_name, data_type FROM duckdb_columns()").fetchall()
    columns: dict[str, dict[str, str]] = {table: {} for table in (*RUN_TABLES, "signatures")}
    for table, column, data_type in rows:
        if table in columns:
            columns[table][column] = data_type
    return columns


def names(columns: Iterable[str]) -> str:
    """Return quoted names of columns for a SELECT.

    >>> names(["run_id", "repeat"])
    '"run_id", "repeat"'
    """
    return ", ".join(f'"{column}"' for column in columns)


def literal(value: object) -> str:
    """Return a value as a SQL literal.

    >>> literal("it's"), literal(1.5), literal(None)
    ("'it''s'", '1.5', 'NULL')
    """
    if value is None:
        return "NULL"
    return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def parquet(columns: Mapping[str, str], files: Sequence[str]) -> str:
    """Return a query for the rows of Parquet files, with ``filename`` as the last column.

    ``columns`` are names and DuckDB types, whatever those in the files; columns that a file lacks are NULL.
    """
    if not files:
        empty = ", ".join(f'CAST(NULL AS {data_type}) AS "{column}"' for column, data_type in columns.items())
        return f"SELECT {empty}, CAST(NULL AS VARCHAR) AS filename WHERE false"
    fields = ", ".join(
        f"{literal(column)}: {{name: {literal(column)}, type: {literal(data_type)}, default_value: NULL}}"
        for column, data_type in columns.items()
    )
    # The run_id in the folder's name lets a query of one run open only that run's files. A table with a column
    # `experiment` has no partitions: the folder's escaped name would hide the column.
    options = "hive_partitioning = true, hive_types = {run_id: VARCHAR, experiment: VARCHAR}"
    if "experiment" in columns:
        options = "hive_partitioning = false"
    source = f"read_parquet([{', '.join(map(literal, files))}], schema = MAP {{{fields}}}, filename = true, {options})"
    return f"SELECT {names(columns)}, filename FROM {source}"
