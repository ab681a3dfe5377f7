"""Nsight Compute, the second way to counters: its command line, its raw CSV, and how far it agrees with ours.

It replays nothing for these metrics but takes some 40 ms a kernel, and runs the program as its child.
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
"""What one pass counts on GH100."""

_DRAM = METRICS[:2]
_PLACES = ("/usr/local/cuda*/bin/ncu", "/opt/nvidia/nsight-compute/*/ncu")


class Pair(msgspec.Struct, frozen=True):
    """A kernel's DRAM bytes, read and written, counted in both ways."""

    launch_index: int
    kernel: str
    dram_bytes: float
    ncu_dram_bytes: float


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """One step counted in both ways. Counts, and totals in bytes of DRAM read and written.

    `names_agree` is the share of launches whose function's own name is the same, of the longer of the two lists;
    `relative_difference` is ours over ncu's, less 1, and None where ncu's total is 0; `worst` are the kernels furthest
    apart in bytes.
    """

    kernels: int
    ncu_kernels: int
    names_agree: float
    dram_bytes: float
    ncu_dram_bytes: float
    relative_difference: float | None
    worst: list[Pair]


def find() -> Path | None:
    """The `ncu` to use: the one in PATH, else the newest in the places NVIDIA installs it to."""
    if found := shutil.which("ncu"):
        return Path(found)
    places = (place for pattern in _PLACES for place in Path("/").glob(pattern[1:]))
    return max((place for place in places if place.is_file()), key=_version, default=None)


def _version(path: Path) -> list[int]:
    """The numbers in a path, which for NVIDIA's folders are the version."""
    return [int(number) for number in re.findall(r"\d+", str(path))]


def command(
    child: Sequence[str], output: Path, *, ncu: Path | str = "ncu", metrics: Sequence[str] = METRICS
) -> list[str]:
    """The command line that runs `child` and writes the raw CSV of its profiled range to `output`.

    Caches and clocks stay as the program has them, so that a kernel finds in L2 what the one before left there.
    """
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
    """The part of the child that `ncu --profile-from-start off` profiles."""
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


def agree(ours: Iterable[Row], theirs: Sequence[NcuKernel], *, worst: int = 5) -> Agreement:
    """Compare our rows of one step with ncu's kernels, launch by launch. Raises NsightError for rows of two steps."""
    names, bytes_ = _launches(ours)
    pairs = [
        Pair(index, name or (other.name if other else ""), own or 0.0, _dram(other) if other else 0.0)
        for index, (name, own, other) in enumerate(zip_longest(names, bytes_, theirs))
    ]
    same = sum(own_name(name) == own_name(other.name) for name, other in zip(names, theirs, strict=False))
    total, ncu_total = sum(pair.dram_bytes for pair in pairs), sum(pair.ncu_dram_bytes for pair in pairs)
    return Agreement(
        kernels=len(names),
        ncu_kernels=len(theirs),
        names_agree=same / len(pairs) if pairs else 0.0,
        dram_bytes=total,
        ncu_dram_bytes=ncu_total,
        relative_difference=total / ncu_total - 1 if ncu_total else None,
        worst=sorted(pairs, key=lambda pair: -abs(pair.dram_bytes - pair.ncu_dram_bytes))[:worst],
    )


def _launches(rows: Iterable[Row]) -> tuple[list[str], list[float]]:
    """The names and the DRAM bytes of a step's launches, in order."""
    names: dict[int, str] = {}
    dram: dict[tuple[int, str], float] = {}
    steps = set()
    for row in rows:
        steps.add(row.step)
        names[row.launch_index] = row.kernel
        if row.metric in _DRAM:
            dram[row.launch_index, row.metric] = row.value
    if len(steps) > 1:
        raise NsightError(f"the rows are of {len(steps)} steps; expected one, which is what ncu's file holds")
    order = sorted(names)
    return [names[index] for index in order], [
        sum(dram.get((index, metric), 0.0) for metric in _DRAM) for index in order
    ]


def _dram(kernel: NcuKernel) -> float:
    return sum(kernel.metrics.get(metric, 0.0) for metric in _DRAM)
