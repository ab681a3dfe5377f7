"""Migrations: ``N.sql`` changes the tables of schema N - 1 to those of schema N."""

from __future__ import annotations

import subprocess
from itertools import count
from pathlib import Path

import duckdb

from ridgeline.atomic_file import atomic_file
from ridgeline.warehouse.errors import StorageError, WarehouseError


def files(path: Path, version: int, target: int) -> list[Path]:
    """Return the files that migrate the warehouse at ``path`` from schema ``version`` to ``target``, in order.

    Raises :class:`WarehouseError` if one is missing.
    """
    steps = [Path(__file__).with_name(f"{step}.sql") for step in range(version + 1, target + 1)]
    if not all(step.is_file() for step in steps):
        raise WarehouseError(f"{path}: schema {version} is too old to be brought to {target}: analyze into a new file")
    return steps


def back_up(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> Path:
    """Copy the warehouse at ``path``, open for writing, to ``path.vN.backup`` or the first free name after it.

    Raises :class:`StorageError` if the copy cannot be written.
    """
    names = (path.with_name(f"{path.name}.v{version}.backup{f'.{n}' if n else ''}") for n in count())
    backup = next(name for name in names if not name.exists())
    connection.execute("CHECKPOINT")
    try:
        with atomic_file(backup) as temporary:
            # A process of its own: if this process opened and closed the file, it would give up DuckDB's lock (POSIX).
            command = ["cp", "--", str(path), str(temporary)]
            subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as e:
        reason = e.strerror if isinstance(e, OSError) else e.stderr.strip()
        raise StorageError(f"{backup}: cannot be written, so nothing was migrated: {reason}") from None
    return backup


def remove_comments(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the database's own comments on tables and columns, which the table ``descriptions`` replaces."""
    statements = connection.execute(
        """SELECT format('COMMENT ON COLUMN "{}"."{}" IS NULL', table_name, column_name) FROM duckdb_columns()"""
        """ WHERE NOT internal AND comment IS NOT NULL UNION ALL"""
        """ SELECT format('COMMENT ON TABLE "{}" IS NULL', table_name) FROM duckdb_tables() WHERE comment IS NOT NULL"""
    )
    for (statement,) in statements.fetchall():
        connection.execute(statement)
