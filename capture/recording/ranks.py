"""The rank of this process in a job of several: from its launcher's environment, else from torch.distributed.

Ranks write no common file. Each makes the same job id from what all of them see: on one host the process that launched
them, on several a key in the store of torch.distributed. Imports no torch.
"""

import hashlib
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ridgeline.capture.records import Job

LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"),
    "openmpi": (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "OMPI_MCA_orte_num_nodes",
    ),
    # A batch script has SLURM_PROCID and SLURM_NTASKS too, without srun; only steps have SLURM_STEP_NUM_TASKS.
    "slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE", "SLURM_STEP_NUM_NODES"),
}
"""The variables of each launcher: rank, world size, local rank, ranks on this host, hosts. torchrun may run inside the
others, so it comes first."""

SHARED = (
    "SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "PMIX_NAMESPACE",
    "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_hnp_uri", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
"""Variables with the same value in all ranks of a job. torchrun's port and run id may be those of another job too."""

KEY = "ridgeline/job"
"""The key of the job's id in the store of torch.distributed."""

PROCESSES = Path("/proc")


class _Place(NamedTuple):
    """What a launcher says of a process."""

    rank: int
    world_size: int
    local_rank: int | None = None
    hosts: int | None = None


def rank_of_process(environment: Mapping[str, str] = os.environ) -> Job | None:
    """Return the job that this process is a rank of; None for a process alone.

    An initialized torch.distributed knows rank and world size best. Call it in all ranks at the same point of the
    program, while their process group exists: ranks on several hosts may agree on their id by its store, with one
    request that waits for no other rank. Raises nothing.
    """
    launched, group = _launched(environment), _distributed()
    place = launched
    if group is not None:
        rank, world_size = group.get_rank(), group.get_world_size()
        place = launched if launched and launched[:2] == (rank, world_size) else _Place(rank, world_size)
    if place is None or place.world_size < 2:
        return None
    note = None
    if place.hosts is None or place.hosts > 1:
        note = "clocks of different hosts are not synchronized by Ridgeline: compare times of ranks on one host only"
    return Job(id=_id(environment, place, group), note=note, **place._asdict())


def place(path: Path, name: str, job: Job | None) -> tuple[Path, str]:
    """Return the run directory and the name of a recording into `path`: of a rank, PATH/rankN and NAME_rankN."""
    return (path / f"rank{job.rank}", f"{name}_rank{job.rank}") if job else (path, name)


def _launched(environment: Mapping[str, str]) -> _Place | None:
    """What the first launcher says that names a rank and a world size."""
    for names in LAUNCHERS.values():
        rank, world_size, local_rank, local_size, hosts = (_number(environment.get(name)) for name in names)
        if rank is None or world_size is None or not rank < world_size:
            continue
        if hosts is None and local_size:
            hosts = -(-world_size // local_size)
        return _Place(rank, world_size, local_rank, hosts)
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else None


def _distributed() -> Any:
    """torch.distributed where the program has initialized it, else None."""
    distributed = sys.modules.get("torch.distributed")
    with suppress(Exception):  # a torch built without it, or one that is being imported
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return distributed
    return None


def _id(environment: Mapping[str, str], place: _Place, group: Any) -> str:
    """A digest of what all ranks of the job see and no rank of another job does."""
    shared = [f"{name}={environment[name]}" for name in SHARED if name in environment]
    if place.hosts == 1:
        # torchrun starts all ranks anew from one process, which counts
        shared += [*launcher(), environment.get("TORCHELASTIC_RESTART_COUNT", "")]
    elif group is not None:
        with suppress(Exception):  # a store that is closed, or of another torch
            store = group.distributed_c10d._get_default_store()
            # The first rank's value stays, and all ranks receive it: none waits for another.
            shared = [store.compare_set(KEY, "", secrets.token_hex(8)).decode()]
    return hashlib.sha256("\n".join(shared).encode()).hexdigest()[:16]


def launcher() -> list[str]:
    """Return what identifies the process that launched the ranks of this host: boot, PID and time of start.

    It is the nearest ancestor without a rank of its own, since a rank may run under a shell or another program that
    inherited the variables. Without /proc it is the parent.
    """
    local_ranks = [names[2].encode() + b"=" for names in LAUNCHERS.values()]
    process, started = os.getppid(), ""
    with suppress(OSError, ValueError, IndexError):
        while process > 1:
            # the fields after the name, which may hold spaces and parentheses: 3 state, 4 parent, ..., 22 start
            fields = (PROCESSES / str(process) / "stat").read_text().rpartition(")")[2].split()
            started = fields[19]
            variables = (PROCESSES / str(process) / "environ").read_bytes().split(b"\0")
            if not any(variable.startswith(name) for variable in variables for name in local_ranks):
                break
            process = int(fields[1])
    boot = ""
    with suppress(OSError):
        boot = (PROCESSES / "sys/kernel/random/boot_id").read_text().strip()
    return [boot, str(process), started]
