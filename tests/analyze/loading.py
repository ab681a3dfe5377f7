"""Load hand-written traces and look at what the warehouse has of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from ridgeline.analyze.ingest import Result, analyze
from ridgeline.warehouse import connect
from ridgeline.warehouse.database import SLOW_OPTIMIZERS
from ridgeline.warehouse.rollups import KEPT_TABLES
from tests.analyze import kineto


def load(warehouse: Path, *paths: Path) -> list[tuple[str, str]]:
    return [(result.name, result.outcome) for result in analyze(paths, warehouse)]


@cache
def _instance() -> duckdb.DuckDBPyConnection:
    """One DuckDB for all questions, which plans as that of `connect`: to start one takes 20 ms, to attach a file 5."""
    return duckdb.connect(config={"disabled_optimizers": SLOW_OPTIMIZERS})


@contextmanager
def opened(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse to read; the file is closed after it, so that it may be written to or moved."""
    connection = _instance()
    try:
        path = str(warehouse).replace("'", "''")
        connection.execute(f"ATTACH '{path}' AS asked (READ_ONLY); USE asked")
    except duckdb.Error:  # as users open it: it may wait for a lock, or say what is wrong
        with connect(warehouse, read_only=True) as connection:
            yield connection
        return
    try:
        yield connection
    finally:
        connection.execute("USE memory; DETACH asked")


def query(warehouse: Path, sql: str) -> list[tuple[Any, ...]]:
    with opened(warehouse) as connection:
        return connection.execute(sql).fetchall()


def dump(warehouse: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; sums of rollups to nine digits, for they depend on the order of summation."""
    with opened(warehouse) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        rows = {table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for (table,) in tables}
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
