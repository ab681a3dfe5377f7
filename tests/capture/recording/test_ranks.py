"""The rank and the job of a process, by its launcher's environment and by torch.distributed."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed

from ridgeline.capture.recording import ranks
from ridgeline.capture.recording.ranks import place, rank_of_process
from ridgeline.capture.records import Job

TORCHRUN = {
    "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "1",
    "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "MASTER_ADDR": "secret-host",
    "MASTER_PORT": "29500",
}  # fmt: skip
TWO_HOSTS = {**TORCHRUN, "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2"}


def of(environment: dict[str, str]) -> Job:
    job = rank_of_process(environment)
    assert job is not None
    return job


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "-1", "WORLD_SIZE": "4"},
        {"RANK": "0"},
        # a batch script of eight tasks, which runs once
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"},
    ],
)
def test_a_process_alone_has_no_job(environment: dict[str, str]) -> None:
    assert rank_of_process(environment) is None


def test_launchers_say_rank_world_size_and_hosts() -> None:
    assert of(TORCHRUN) == Job(id=of(TORCHRUN).id, rank=1, world_size=4, local_rank=1, hosts=1)
    slurm = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_NODES": "2"}
    job = of({**slurm, "SLURM_NTASKS": "64"})
    assert (job.rank, job.world_size, job.local_rank, job.hosts) == (5, 8, 1, 2)
    mpi = {"RANK": "2", "SIZE": "3", "LOCAL_RANK": "2", "LOCAL_SIZE": "3"}
    job = of({f"OMPI_COMM_WORLD_{name}": value for name, value in mpi.items()})
    assert (job.rank, job.world_size, job.local_rank, job.hosts) == (2, 3, 2, 1)
    # torchrun inside a step of SLURM numbers the ranks
    assert of({**slurm, **TORCHRUN}).world_size == 4


def test_clocks_of_several_hosts_are_said_not_to_be_synchronized() -> None:
    assert of(TORCHRUN).note is None
    assert of(TWO_HOSTS).hosts == 2
    assert of(TWO_HOSTS).note == (
        "clocks of different hosts are not synchronized by Ridgeline: compare times of ranks on one host only"
    )


def test_ranks_of_a_job_share_its_id_and_jobs_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    first = of(TORCHRUN)
    assert len(first.id) == 16
    assert int(first.id, 16) >= 0
    assert "secret" not in str(first)
    assert of({**TORCHRUN, "RANK": "3", "LOCAL_RANK": "3"}).id == first.id
    # started again by the same agent
    assert of({**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"}).id != first.id
    # the next job has the same port, run id and address, but another agent
    monkeypatch.setattr(ranks, "launcher", lambda: ["boot", "4321", "99"])
    assert of(TORCHRUN).id != first.id
    # on several hosts the agents differ, and what all ranks see is the same
    two = of(TWO_HOSTS)
    monkeypatch.undo()
    assert of(TWO_HOSTS).id == two.id
    assert of({**TWO_HOSTS, "SLURM_JOB_ID": "8"}).id != of({**TWO_HOSTS, "SLURM_JOB_ID": "7"}).id


def test_the_launcher_is_the_nearest_ancestor_without_a_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(pid: int, parent: int, started: int, *variables: str) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir(exist_ok=True)
        before = " ".join("0" * 17)
        (folder / "stat").write_text(f"{pid} (a) b) S {parent} {before} {started} 0\n")
        (folder / "environ").write_bytes("\0".join(variables).encode())

    monkeypatch.setattr(ranks, "PROCESSES", tmp_path)
    parent = os.getppid()
    write(parent, 20, 300, "PATH=/bin", "LOCAL_RANK=1")  # a shell that torchrun started, and that started the program
    write(20, 10, 200, "PATH=/bin")
    write(10, 1, 100)
    assert ranks.launcher() == ["", "20", "200"]
    (tmp_path / "20" / "environ").unlink()  # of another user
    assert ranks.launcher() == ["", "20", "200"]
    write(parent, 20, 300, "PATH=/bin")
    assert ranks.launcher() == ["", str(parent), "300"]
    monkeypatch.setattr(ranks, "PROCESSES", tmp_path / "none")
    assert ranks.launcher() == ["", str(parent), ""]


def test_an_initialized_group_says_the_rank_and_its_store_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    store = torch.distributed.HashStore()

    def as_rank(rank: int, of_store: Any) -> None:
        group = SimpleNamespace(
            is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: rank, get_world_size=lambda: 2,
            distributed_c10d=SimpleNamespace(_get_default_store=lambda: of_store),
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "torch.distributed", group)

    as_rank(0, store)
    zero = of({})
    as_rank(1, store)
    one = of({})
    assert (zero.rank, one.rank, one.world_size, one.hosts) == (0, 1, 2, None)
    assert zero.id == one.id
    assert of(TORCHRUN).world_size == 2  # the group of a part of the launcher's ranks
    as_rank(1, torch.distributed.HashStore())
    assert of({}).id != zero.id
    as_rank(1, None)  # a store that is closed: the environment decides
    assert of({}).id == of({}).id


def test_a_rank_has_a_directory_and_a_name_of_its_own() -> None:
    job = Job(id="0" * 16, rank=3, world_size=8)
    assert place(Path("runs/tp"), "tp", job) == (Path("runs/tp/rank3"), "tp_rank3")
    assert place(Path("runs/tp"), "tp", None) == (Path("runs/tp"), "tp")
