"""Nsight Compute, the second source of counters: its command line, its raw CSV, and its agreement with CUPTI.

It runs the program as its child and takes about 40 ms per kernel. These metrics fit one pass, so no kernel is replayed.
"""

import gzip
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import msgspec

from ridgeline.capture.counters import ncu_csv
from ridgeline.capture.counters.cupti.join import Row
from ridgeline.capture.counters.ncu_csv import NcuKernel, NsightError, own_name

METRICS = (
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "lts__t_bytes.sum",
    "l1tex__t_bytes.sum",
    "sm__ops_path_tensor_src_bf16_dst_fp32.sum",
    "gpu__time_duration.sum",
)
"""Metrics that one pass counts on GH100."""

_DRAM = METRICS[:2]
_PLACES = ("/usr/local/cuda*/bin/ncu", "/opt/nvidia/nsight-compute/*/ncu")


class Pair(msgspec.Struct, frozen=True):
    """The DRAM bytes of a kernel, read and written, as CUPTI and as Nsight Compute counted them."""

    launch_index: int
    kernel: str
    dram_bytes: float
    ncu_dram_bytes: float


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """One step counted by CUPTI and by Nsight Compute: numbers of kernels, and bytes of DRAM read and written.

    `names_agree` is the share of launches with equal function names, of the longer of the two lists.
    `relative_difference` is CUPTI's total over ncu's, less 1; None if ncu's total is 0. `worst` are the kernels with
    the largest differences in bytes.
    """

    kernels: int
    ncu_kernels: int
    names_agree: float
    dram_bytes: float
    ncu_dram_bytes: float
    relative_difference: float | None
    worst: list[Pair]


def find() -> Path | None:
    """Return the path of `ncu`: the one in PATH, else the newest in the folders where NVIDIA installs it, else None."""
    if in_path := shutil.which("ncu"):
        return Path(in_path)
    installed = [path for pattern in _PLACES for path in Path("/").glob(pattern[1:]) if path.is_file()]
    # The numbers in the path of an installation are its version.
    return max(installed, key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))], default=None)


def command(
    child: Sequence[str], output: Path, *, ncu: Path | str = "ncu", metrics: Sequence[str] = METRICS
) -> list[str]:
    """Return the command line that runs `child` and writes the raw CSV of its profiled range to `output`.

    Caches and clocks stay under the program's control: a kernel reads from L2 what earlier kernels left there.
    """
    # "base" units are bytes, nanoseconds and counts; --profile-from-start off skips the warm-up.
    options = {
        "--page": "raw",
        "--print-units": "base",
        "--clock-control": "none",
        "--cache-control": "none",
        "--profile-from-start": "off",
        "--target-processes": "all",
        "--metrics": ",".join(metrics),
        "--log-file": str(output),
    }
    return [str(ncu), "--csv", *(word for option in options.items() for word in option), *child]


@contextmanager
def profiled_range() -> Iterator[None]:
    """Mark the block that `ncu --profile-from-start off` profiles, in its child."""
    import torch

    cudart = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    cudart.cudaProfilerStart()
    try:
        yield
        torch.cuda.synchronize()
    finally:
        cudart.cudaProfilerStop()


def read(path: Path) -> list[NcuKernel]:
    """Return the kernels of a raw CSV, plain or gzipped, in launch order. Raises NsightError for another file."""
    data = path.read_bytes()
    try:
        return ncu_csv.parse((gzip.decompress(data) if path.suffix == ".gz" else data).decode())
    except NsightError as error:
        raise NsightError(f"{path.name}: {error}") from None


def agree(rows: Iterable[Row], ncu_kernels: Sequence[NcuKernel], *, worst: int = 5) -> Agreement:
    """Compare CUPTI's rows of one step with ncu's kernels, launch by launch. Raises NsightError for rows of two steps.

    A launch that only one of them has counts as one of 0 bytes of the other.
    """
    names: dict[int, str] = {}
    dram: dict[tuple[int, str], float] = {}
    steps = set()
    for row in rows:
        steps.add(row.step)
        names[row.launch_index] = row.kernel
        if row.metric in _DRAM:
            dram[row.launch_index, row.metric] = row.value
    if len(steps) > 1:
        raise NsightError(f"the rows are of {len(steps)} steps; expected one, since ncu's file holds one")
    # CUPTI's rows come by metric; order them by launch, as ncu's kernels are.
    launches = [
        (name, sum(dram.get((index, metric), 0.0) for metric in _DRAM)) for index, name in sorted(names.items())
    ]
    ncu_launches = [(kernel.name, sum(kernel.metrics.get(metric, 0.0) for metric in _DRAM)) for kernel in ncu_kernels]
    pairs = [
        Pair(index, name or ncu_name, dram_bytes, ncu_bytes)
        for index, ((name, dram_bytes), (ncu_name, ncu_bytes)) in enumerate(
            zip_longest(launches, ncu_launches, fillvalue=("", 0.0))
        )
    ]
    # Nsight Compute shortens template arguments, so only the functions' own names are comparable.
    same = sum(
        own_name(name) == own_name(ncu_name) for (name, _), (ncu_name, _) in zip(launches, ncu_launches, strict=False)
    )
    total, ncu_total = sum(pair.dram_bytes for pair in pairs), sum(pair.ncu_dram_bytes for pair in pairs)
    return Agreement(
        kernels=len(launches),
        ncu_kernels=len(ncu_launches),
        names_agree=same / len(pairs) if pairs else 0.0,
        dram_bytes=total,
        ncu_dram_bytes=ncu_total,
        relative_difference=total / ncu_total - 1 if ncu_total else None,
        worst=sorted(pairs, key=lambda pair: -abs(pair.dram_bytes - pair.ncu_dram_bytes))[:worst],
    )
