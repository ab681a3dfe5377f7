"""Two ranks of a job recorded side by side: a directory each, one job, and comparable clocks."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse.verify import verify
from tests.analyze.loading import query

PROGRAM = """
import os, sys
import torch, torch._inductor.standalone_compile, torch.distributed as dist
import ridgeline

torch.set_num_threads(1)
children = []
for rank in range(2):  # one import of torch, and of what its profiler needs, for both
    if child := os.fork():
        children.append(child)
        continue
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    dist.init_process_group("gloo")
    net = torch.nn.Linear(16, 16).requires_grad_(False)
    with ridgeline.record("tp", modules=[net], timed=1, ceilings=False, mode="tp", batch=2) as rec:
        for _ in rec.generations():
            for _ in range(8):
                with rec.step("decode", tokens=1):
                    dist.all_reduce(net(torch.ones(2, 16)))
    dist.destroy_process_group()
    os._exit(0)
sys.exit(max(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.process
def test_ranks_of_one_host_share_a_job_and_a_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }.items():
        monkeypatch.setenv(name, str(value))
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    warehouse = tmp_path / "w.duckdb"
    results = analyze([tmp_path / "tp"], warehouse)
    assert [(result.name, result.outcome) for result in results] == [("tp_rank0", "loaded"), ("tp_rank1", "loaded")]
    assert [run.findings for run in verify(warehouse)[0]] == [[], []]
    assert query(warehouse, "SELECT world_size, ranks, hosts FROM jobs") == [(2, 2, 1)]
    columns = (
        "rank, mode, committed_tokens, (SELECT count(*) FROM steps s WHERE s.run_id = r.run_id AND s.rank = r.rank)"
    )
    assert query(warehouse, f"SELECT {columns} FROM runs r ORDER BY rank") == [(0, "tp", 16, 8), (1, "tp", 16, 8)]
    # No rank leaves an all-reduce before the other enters it, so their steps overlap. Some end at once on any machine.
    begins, ends = "host_start_ns + base_time_ns", "host_start_ns + host_duration_ns + base_time_ns"
    places = f"SELECT step, rank, {begins} AS begin_ns, {ends} AS end_ns FROM steps JOIN runs USING (run_id, rank)"
    pairs = "max(begin_ns) <= min(end_ns) AS overlap, max(end_ns) - min(end_ns) AS apart_ns"
    rows = query(warehouse, f"SELECT {pairs} FROM ({places}) GROUP BY step")
    assert [overlap for overlap, _ in rows] == [True] * 8
    assert min(apart_ns for _, apart_ns in rows) < 5_000_000
