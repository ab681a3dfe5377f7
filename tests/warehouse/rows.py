"""Insert rows into a warehouse by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from ridgeline.warehouse.rollups import KEPT

_SIGNATURE = {
    "operator": "aten::mm",
    "family": "matmul",
    "confidence": "high",
    "flops": None,
    "shapes": None,
    "link_bytes": None,
}
_CLASS = {
    "kernel": "k",
    "category": "kernel",
    "family": "matmul",
    "attribution": "external_id",
    "unit": "tensor",
    "precision": "bf16",
    "module": None,
    "replayed": None,
    **dict.fromkeys(
        ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "registers", "shared_bytes", "occupancy")
    ),
}


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Let views read definitions instead of kept rows, so that rows inserted by hand show in every view."""
    for view in KEPT:
        connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM defined_{view}")


@contextmanager
def rolled_back(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """A transaction of rows that do not stay."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


def insert(connection: duckdb.DuckDBPyConnection, table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' for _ in values)})", list(values.values())
    )


def device(connection: duckdb.DuckDBPyConnection, run_id: str = "r", name: str = "D") -> None:
    """Insert a run on a device of 1 TB/s and 100 TFLOP/s (bf16, tensor), whose shortest kernel takes 1 us."""
    insert(
        connection,
        "runs",
        run_id=run_id,
        name="run",
        content_sha256="",
        source="kineto",
        device_kind="cuda",
        rank=0,
        outcome="ok",
        device_time_ns=0,
        rules_version=1,
    )
    insert(connection, "devices", run_id=run_id, rank=0, device_index=0, name=name, datasheet="NVIDIA H200")
    measured = {"run_id": run_id, "device": name, "source": "measured"}
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


def kernel(connection: duckdb.DuckDBPyConnection, kernel_id: int, duration_ns: int, **values: Any) -> None:
    """Insert a kernel with its own signature and class: a matmul in bf16, unless ``values`` say otherwise.

    Its number may not be that of another run's kernel.
    """
    run_id = values.pop("run_id", "r")
    signature = {name: values.get(name, default) for name, default in _SIGNATURE.items()}
    insert(
        connection,
        "signatures",
        signature_id=f"s{kernel_id}",
        composite=False,
        method="meta",
        rules_version=1,
        read_bytes=values.pop("bytes", None),
        write_bytes=0,
        **signature,
    )
    kind = {name: values.get(name, default) for name, default in _CLASS.items()}
    signature_id = values.pop("signature_id", f"s{kernel_id}")
    insert(connection, "kernel_classes", run_id=run_id, class_id=kernel_id, signature_id=signature_id, **kind)
    facts = {name: value for name, value in values.items() if name not in _SIGNATURE | _CLASS}
    insert(
        connection,
        "kernels",
        run_id=run_id,
        kernel_id=kernel_id,
        class_id=kernel_id,
        rank=0,
        **{"device_index": 0, "start_ns": 0, "duration_ns": duration_ns, "share": 1.0, **facts},
    )
