"""Ceilings of a machine without an accelerator: its memory, its second-level cache, its matrix products."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ridgeline.capture.ceilings.measure import Ceiling

BUDGET_S = 0.5
"""Seconds spent on each ceiling, beyond the repeats that every one gets."""

_CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
_LARGE_BYTES = 256 * 2**20
_SMALLEST_L2_BYTES = 2**20
_PRODUCTS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
_PRODUCT_SIZE = 1024


def measure(device: torch.device, progress: Callable[[str], None]) -> list[Ceiling]:
    """All ceilings, in about five seconds on two cores."""
    del device
    rows: list[Ceiling] = []
    for what, measured in (("memory", _dram), ("second-level cache", _l2), ("matrix products", _products)):
        progress(what)
        rows += measured()
    progress("smallest operator")
    return [*rows, _latency()]


def _dram() -> Iterator[Ceiling]:
    """Reading and copying a set several times the last-level cache."""
    size = max(_LARGE_BYTES, 4 * _cache_bytes(3))
    data = torch.ones(size // 4)
    target = torch.empty_like(data)
    shown = f"{size // 2**20} MiB"
    yield _bandwidth("dram", size, _best_s(data.sum), f"sum over {shown} of float32")
    yield _bandwidth("dram", 2 * size, _best_s(lambda: target.copy_(data)), f"copy of {shown}, read plus written")


def _l2() -> Iterator[Ceiling]:
    """Reading, again and again, a set of which each thread's part is half of a core's second-level cache."""
    threads = torch.get_num_threads()
    size = max(_SMALLEST_L2_BYTES, _cache_bytes(2)) // 2 * threads
    data = torch.ones(size // 4)
    method = f"sum over {size // 2**10} KiB of float32 with {threads} threads, repeated"
    yield _bandwidth("l2", size, _best_s(data.sum), method)


def _products() -> Iterator[Ceiling]:
    """Matrix products of each precision; on a CPU they are vector work, whatever the instruction set adds."""
    size = _PRODUCT_SIZE
    for precision, dtype in _PRODUCTS.items():
        left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
        seconds = _best_s(lambda left=left, right=right: left @ right)  # type: ignore[misc]
        yield Ceiling(
            resource="compute",
            unit="vector",
            precision=precision,
            value=round(2 * size**3 / seconds),
            unit_of_value="FLOP/s",
            method=f"{size}^3 matrix product, best of repeats",
        )


def _latency() -> Ceiling:
    """The shortest time an operator takes, whatever it does."""
    data = torch.ones(1)
    return Ceiling(
        resource="latency",
        value=_best_s(lambda: data.add_(1.0)),
        unit_of_value="s",
        method="addition to one element in place, best of repeats",
    )


def _bandwidth(level: str, size: int, seconds: float, method: str) -> Ceiling:
    """A bandwidth from bytes and seconds."""
    return Ceiling(
        resource="bandwidth",
        level=level,
        value=round(size / seconds),
        unit_of_value="byte/s",
        method=f"{method}, best of repeats",
    )


def _best_s(work: Callable[[], object]) -> float:
    """The shortest of many repeats: on a shared machine, every disturbance makes one longer and none shorter."""
    work()
    best, ends = float("inf"), time.perf_counter() + BUDGET_S
    repeats = 0
    while repeats < 3 or time.perf_counter() < ends:
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
        repeats += 1
    return best


def _cache_bytes(level: int) -> int:
    """The size of the first core's data cache of a level, as Linux reports it; 0 where it does not."""
    for index in _CACHE.glob("index*"):
        try:
            found, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        match = re.fullmatch(r"(\d+)([KM])", size)
        if found == str(level) and kind != "Instruction" and match:
            return int(match[1]) * {"K": 2**10, "M": 2**20}[match[2]]
    return 0
