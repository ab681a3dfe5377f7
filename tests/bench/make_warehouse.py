"""A warehouse of a million kernel launches, from a real one: every run again, later and under a new id.

    python -m tests.bench.make_warehouse ridgeline.duckdb million.duckdb --launches 1000000

Everything of a run is repeated: steps, gaps, counters, telemetry and the ledger.
"""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path

import duckdb

from ridgeline.warehouse.rollups import KEPT_TABLES, refresh

SHIFTED = {"kernels": ("start_ns", "launch_ns"), "gaps": ("start_ns",), "steps": ("start_ns", "end_ns")}
"""The times on a trace's clock that move with a copy."""
HOUR_NS = 3_600_000_000_000


def multiply(source: Path, target: Path, launches: int) -> int:
    """Write ``target``, the runs of ``source`` until there are ``launches`` kernels, and return how many there are."""
    shutil.copyfile(source, target)
    connection = duckdb.connect(str(target))
    copies = math.ceil(launches / max(_kernels(connection), 1)) - 1
    for table in _tables(connection):
        connection.execute(f"CREATE TEMP TABLE original AS SELECT * FROM {table} WHERE run_id IS NOT NULL")
        for copy in range(1, copies + 1):
            connection.execute(f"INSERT INTO {table} SELECT * REPLACE ({_changed(table, copy)}) FROM original")
        connection.execute("DROP TABLE original")
    refresh(connection)
    kernels = _kernels(connection)
    connection.close()
    return kernels


def _changed(table: str, copy: int) -> str:
    changed = [f"substr(md5(run_id || '{copy}'), 1, 16) AS run_id"]
    if table == "runs":
        changed.append(f"name || '_{copy}' AS name")
    changed += [f"{column} + {copy * HOUR_NS} AS {column}" for column in SHIFTED.get(table, ())]
    return ", ".join(changed)


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables of facts about runs."""
    found = connection.execute(
        "SELECT table_name FROM duckdb_columns() JOIN duckdb_tables() USING (schema_name, table_name) "
        "WHERE column_name = 'run_id' ORDER BY table_name"
    )
    return [str(name) for (name,) in found.fetchall() if name not in KEPT_TABLES]


def _kernels(connection: duckdb.DuckDBPyConnection) -> int:
    ((kernels,),) = connection.execute("SELECT COUNT(*) FROM kernels").fetchall()
    return int(kernels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--launches", type=int, default=1_000_000)
    given = parser.parse_args()
    print(f"{multiply(given.source, given.target, given.launches):,} launches in {given.target}")
