"""Insert rows into a warehouse by hand."""

from __future__ import annotations

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


def insert(connection: duckdb.DuckDBPyConnection, table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' for _ in values)})", list(values.values())
    )


def kernel(connection: duckdb.DuckDBPyConnection, kernel_id: int, duration_ns: int, **values: Any) -> None:
    """Insert a kernel with its own signature and class: a matmul in bf16, unless ``values`` say otherwise."""
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
    insert(connection, "kernel_classes", run_id="r", class_id=kernel_id, signature_id=signature_id, **kind)
    facts = {name: value for name, value in values.items() if name not in _SIGNATURE | _CLASS}
    insert(
        connection,
        "kernels",
        run_id="r",
        kernel_id=kernel_id,
        class_id=kernel_id,
        rank=0,
        **{"device_index": 0, "start_ns": 0, "duration_ns": duration_ns, "share": 1.0, **facts},
    )
