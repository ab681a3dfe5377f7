"""A warehouse in which every view has rows: captured runs of three modes, and a study inserted by hand."""

from __future__ import annotations

import warnings
from pathlib import Path

import duckdb

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import connect, refresh
from ridgeline.warehouse.lake.files import table_columns
from ridgeline.warehouse.views import view_files
from tests.analyze import kineto
from tests.reports import rich, sweep

DATA = Path(__file__).parents[1] / "data"
EMPTY = frozenset({"hta_temporal", "hta_idle", "hta_launch", "hta_critical_path", "warnings"})
"""Tables that have no rows."""
FRAMES_AND_MEMORY = [
    kineto.frame("nn.Module: Head_0", 59.0, 20.0),
    kineto.frame("/home/x/train.py(12): step", 0.0, 100.0),
    kineto.change(6.0, 2, 10),
    kineto.change(62.0, -1, 9),
]
COLLECTIVE = [
    kineto.operator(
        "record_param_comms", 90.0, 5.0, 90, [[[64]], *[[]] * 9], ["TensorList", *[""] * 9],
        ["", "3", "0", "0", "allreduce", "[]", "[]", "0", "1", "8"],
    ),
    kineto.kernel("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 95.0, 5.0, 90, **{"External id": 90}),
]  # fmt: skip


def make(folder: Path) -> Path:
    path = folder / "study.duckdb"
    bare = kineto.write(folder / "step.json", [*kineto.matmul_step(), *FRAMES_AND_MEMORY, *COLLECTIVE])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = analyze([DATA / "h200", bare], path, allocations=True)
    assert {result.outcome for result in results} == {"loaded"}
    connection = connect(path)
    sweep.fill(connection)
    rich.fill(connection)
    connection.execute("UPDATE runs SET experiment = 'a/../b {%} *?' WHERE run_id = 'l128'")
    connection.execute("UPDATE runs SET job_id = 'c0ffee', world_size = 2, hosts = 1 WHERE run_id = 'l128'")
    connection.execute("UPDATE kernels SET stream = 8 WHERE run_id = ? AND kernel_id % 2 = 0", [rich.RUN])
    refresh(connection)
    connection.close()
    return path


def view_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    assert view_files()
    names = {
        name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    }
    return sorted(names - table_columns().keys() - {"schema_version"})
