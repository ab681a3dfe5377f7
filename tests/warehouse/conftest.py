from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ridgeline.warehouse import connect
from tests.warehouse import study
from tests.warehouse.rows import define, insert


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
    defined.execute("BEGIN")
    yield defined
    defined.execute("ROLLBACK")


@pytest.fixture
def run(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A device of 1 TB/s and 100 TFLOP/s (bf16, tensor), whose shortest kernel takes 1 us."""
    insert(
        connection,
        "runs",
        run_id="r",
        name="run",
        content_sha256="",
        source="kineto",
        device_kind="cuda",
        rank=0,
        outcome="ok",
        device_time_ns=0,
        rules_version=1,
    )
    insert(connection, "devices", run_id="r", rank=0, device_index=0, name="D", datasheet="NVIDIA H200")
    measured = {"run_id": "r", "device": "D", "source": "measured"}
    insert(connection, "ceilings", resource="bandwidth", level="dram", value=0.9e12, unit_of_value="byte/s", **measured)
    insert(connection, "ceilings", resource="bandwidth", level="dram", value=1e12, unit_of_value="byte/s", **measured)
    insert(
        connection,
        "ceilings",
        resource="compute",
        unit="tensor",
        precision="bf16",
        value=1e14,
        unit_of_value="FLOP/s",
        **measured,
    )
    insert(connection, "ceilings", resource="latency", value=1e-6, unit_of_value="s", **measured)
    return connection
