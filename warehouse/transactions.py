"""All or nothing: one place where changes of a warehouse begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb

from ridgeline.warehouse.errors import StorageError

_STORAGE = (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException)
"""What DuckDB raises where a disk is full or a file cannot be written."""


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what is done inside, or nothing of it.

    Raises :class:`StorageError` if it cannot be written; what was committed before is there all the same.
    """
    query = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ((path,),) = connection.execute(query).fetchall()
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException as e:
        with suppress(duckdb.Error):  # a commit that failed has rolled back already
            connection.execute("ROLLBACK")
        if isinstance(e, _STORAGE):
            raise StorageError(f"{path}: cannot be written, what it held before stays: {str(e).splitlines()[0]}") from e
        raise
