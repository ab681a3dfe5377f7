"""From an older schema to this one: ``N.sql`` changes the tables of schema N - 1 to those of N.

Steps know tables only. Views are dropped before the first and made anew after the last, then digests are; all of it is
one transaction, after a copy of the file.
"""

from __future__ import annotations

import subprocess
from itertools import count
from pathlib import Path

import duckdb

from ridgeline.atomic_file import atomic_file
from ridgeline.warehouse.errors import StorageError, WarehouseError


def steps(path: Path, version: int, wanted: int) -> list[Path]:
    """The files that bring ``path`` from a version to a later one; raises :class:`WarehouseError` if one is missing."""
    files = [Path(__file__).with_name(f"{step}.sql") for step in range(version + 1, wanted + 1)]
    if not all(file.is_file() for file in files):
        raise WarehouseError(f"{path}: schema {version} is too old to be brought to {wanted}: analyze into a new file")
    return files


def back_up(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> Path:
    """Copy a warehouse that is open for writing to ``path.vN.backup``, or a free name after it.

    Raises :class:`StorageError` where the copy cannot be written whole.
    """
    names = (path.with_name(f"{path.name}.v{version}.backup{f'.{n}' if n else ''}") for n in count())
    backup = next(name for name in names if not name.exists())
    connection.execute("CHECKPOINT")
    try:
        with atomic_file(backup) as temporary:
            # a process of its own: closing the file in this one would give up DuckDB's lock on it
            command = ["cp", "--", str(path), str(temporary)]
            subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as e:
        reason = e.strerror if isinstance(e, OSError) else e.stderr.strip()
        raise StorageError(f"{backup}: cannot be written, and without a copy nothing is changed: {reason}") from None
    return backup
