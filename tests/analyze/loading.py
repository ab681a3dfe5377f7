"""Load hand-written traces and look at what the warehouse has of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analyze.ingest import Result, analyze
from tests.analyze import kineto
from warehouse import connect
from warehouse.rollups import KEPT_TABLES


def load(warehouse: Path, *paths: Path) -> list[tuple[str, str]]:
    return [(result.name, result.outcome) for result in analyze(paths, warehouse)]


def query(warehouse: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = connect(warehouse, read_only=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def dump(warehouse: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; sums of rollups to nine digits, for they depend on the order of summation."""
    connection = connect(warehouse, read_only=True)
    try:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        rows = {table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for (table,) in tables}
    finally:
        connection.close()
    return rows | {table: [tuple(map(_summed, row)) for row in rows[table]] for table in rows if table in KEPT_TABLES}


def _summed(value: Any) -> Any:
    return float(f"{value:.9g}") if isinstance(value, float) else value


RUN_JSON = {
    "format": 1, "name": "x", "experiment": "e", "outcome": "ok", "message": None,
    "config": {
        "model": "tiny", "mode": "ar", "execution": "eager", "dtype": "bf16",
        "batch": 2, "prompt_tokens": 8, "generated_tokens": 4,
    },
    "model": {"parameters": 1000},
    "environment": {"device": "NVIDIA H200", "device_kind": "cuda", "torch": "2.11.0", "user": "somebody"},
    "timings": [
        {"metric": "step", "phase": "decode", "kind": "decode", "step": 1, "repeat": 0, "value_ns": 100},
        {"metric": "step", "phase": "decode", "kind": "decode", "step": 1, "repeat": 1, "value_ns": 300},
        {"metric": "step", "phase": "decode", "kind": "decode", "step": 1, "repeat": 2, "value_ns": 200},
        {"metric": "end_to_end", "repeat": 0, "value_ns": 1_000_000},
        {"metric": "ttft", "repeat": 0, "value_ns": 400_000},
    ],
    "tokens": {"committed": 8}, "memory": {"peak_bytes": 77},
}  # fmt: skip


def run_directory(folder: Path, run_json: dict[str, Any], *, trace: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run_json))
    if trace:
        kineto.write(folder / "trace.json.gz", kineto.matmul_step())
    return folder


def failures(results: list[Result]) -> list[str]:
    return [str(result.error) for result in results if result.error]
