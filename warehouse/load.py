"""Load a run's rows in one transaction, replacing what the warehouse had of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import polars as pl

RUN_TABLES = ("runs", "devices", "ceilings", "operators", "steps", "kernels", "counters", "timings", "telemetry", "ledger")
"""Every table with rows of a run; ``signatures`` belong to all."""


@dataclass
class Facts:
    """A large table in two parts: one row per fact, with ``class_id``; and the columns of strings, one row per class.

    Kernels come in a few hundred kinds: strings cross into DuckDB once per kind, not once per kernel.
    """

    rows: pl.DataFrame
    classes: pl.DataFrame


@dataclass
class RunRows:
    """All rows of one run, by table. ``records`` are small tables as dictionaries, ``facts`` large ones as frames."""

    run_id: str
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    signatures: list[dict[str, Any]] = field(default_factory=list)
    """Newly priced ones."""


def load(connection: duckdb.DuckDBPyConnection, run: RunRows) -> None:
    """Replace the run and close its ledger's price account, all or nothing."""
    connection.execute("BEGIN")
    try:
        remove(connection, [run.run_id])
        if run.signatures:
            _insert_records(connection, "signatures", run.signatures, "INSERT OR REPLACE")
        for table, facts in run.facts.items():
            _insert_facts(connection, table, facts, run.run_id)
        for table, records in run.records.items():
            _insert_records(connection, table, records)
        connection.execute(
            "INSERT INTO ledger SELECT run_id, 'price', dram_bytes_source, count(*), sum(duration_ns)"
            " FROM placed_kernels WHERE run_id = ? GROUP BY ALL",
            [run.run_id],
        )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def remove(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> None:
    """Delete every row of the runs, inside the caller's transaction."""
    for table in RUN_TABLES:
        connection.execute(f"DELETE FROM {table} WHERE list_contains(?, run_id)", [list(run_ids)])


def _insert_records(
    connection: duckdb.DuckDBPyConnection, table: str, records: Iterable[dict[str, Any]], verb: str = "INSERT"
) -> None:
    """Rows of plain values; absent columns are NULL."""
    for columns, group in _by_columns(records).items():
        names = ", ".join(f'"{column}"' for column in columns)
        placeholders = ", ".join("?" for _ in columns)
        connection.executemany(f"{verb} INTO {table} ({names}) VALUES ({placeholders})", group)


def _by_columns(records: Iterable[dict[str, Any]]) -> dict[tuple[str, ...], list[list[Any]]]:
    groups: dict[tuple[str, ...], list[list[Any]]] = {}
    for record in records:
        groups.setdefault(tuple(record), []).append(list(record.values()))
    return groups


def _insert_facts(connection: duckdb.DuckDBPyConnection, table: str, facts: Facts, run_id: str) -> None:
    if facts.rows.is_empty():
        return
    columns = [*facts.rows.columns, *facts.classes.columns]
    names = ", ".join(f'"{c}"' for c in dict.fromkeys(columns) if c != "class_id")
    connection.register("new_facts", _arrays(facts.rows))
    connection.register("new_classes", _arrays(facts.classes))
    connection.execute(
        f"INSERT INTO {table} (run_id, {names}) SELECT ?, {names} FROM new_facts JOIN new_classes USING (class_id)", [run_id]
    )
    connection.unregister("new_facts")
    connection.unregister("new_classes")


def _arrays(frame: pl.DataFrame) -> dict[str, Any]:
    """Columns as numpy arrays, masked where null: DuckDB reads those in place."""
    return {series.name: _array(series) for series in frame}


def _array(series: pl.Series) -> Any:
    if series.dtype == pl.String:
        return np.array(series.to_list(), dtype=object)
    if not series.null_count():
        return series.to_numpy()
    return np.ma.masked_array(series.fill_null(0).to_numpy(), mask=series.is_null().to_numpy())  # type: ignore[no-untyped-call]
