"""Ranks of one job: what run.json says of it, in the table runs and the view jobs."""

from __future__ import annotations

from pathlib import Path

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse.load import forget
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, query, run_directory


def test_ranks_of_a_job_are_runs_that_share_its_id(tmp_path: Path) -> None:
    for rank in range(2):
        job = {"id": "c0ffee", "rank": rank, "world_size": 4, "hosts": 2, "local_rank": 0, "note": "unsynchronized"}
        folder = tmp_path / "tp" / f"rank{rank}"
        run_directory(folder, {**RUN_JSON, "name": f"tp_rank{rank}", "job": job}, trace=False)
        # the program's process group is of some of the job's ranks
        header = {**kineto.HEADER, "distributedInfo": {"rank": 7, "world_size": 8}}
        events = [*kineto.matmul_step(), kineto.named(str(rank))]
        kineto.write(folder / "trace.json.gz", events, header=header)
    header = {"distributedInfo": {"backend": "nccl", "rank": 5, "world_size": 8}}
    foreign = kineto.write(tmp_path / "foreign.json", kineto.matmul_step(), header=header)
    warehouse = tmp_path / "w.duckdb"
    analyze([tmp_path / "tp", foreign], warehouse)
    columns = "name, job_id, rank, world_size, hosts, base_time_ns"
    assert query(warehouse, f"SELECT {columns} FROM runs ORDER BY name") == [
        ("foreign", None, 5, 8, None, None),
        ("tp_rank0", "c0ffee", 0, 4, 2, 1790857026000000000),
        ("tp_rank1", "c0ffee", 1, 4, 2, 1790857026000000000),
    ]
    for table in ("kernels", "steps", "operators", "devices", "gaps"):
        ranks = f"SELECT DISTINCT r.rank = t.rank FROM runs r JOIN {table} t USING (run_id)"
        assert query(warehouse, ranks) == [(True,)], table
    columns = "job_id, world_size, ranks, hosts, device_time_ns"
    assert query(warehouse, f"SELECT {columns} FROM jobs") == [("c0ffee", 4, 2, 2, 2 * 8_875)]
    forget(warehouse, ["tp_rank1"])
    assert query(warehouse, f"SELECT {columns} FROM jobs") == [("c0ffee", 4, 1, 2, 8_875)]
