from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ridgeline.warehouse import connect
from tests.warehouse import study
from tests.warehouse.rows import define, device, rolled_back


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse in which every view has rows. Tests must not write to the file."""
    return study.make(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def defined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse whose views show rows inserted by hand at once; used through `connection`."""
    connection = connect(tmp_path_factory.mktemp("defined") / "w.duckdb")
    define(connection)
    yield connection
    connection.close()


@pytest.fixture
def connection(defined: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The empty warehouse in a transaction: rows of a test are rolled back, and a test that commits fails."""
    with rolled_back(defined):
        yield defined


@pytest.fixture
def run(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A device of 1 TB/s and 100 TFLOP/s (bf16, tensor), whose shortest kernel takes 1 us."""
    device(connection)
    return connection
