"""Ceilings of a CPU: DRAM, second-level cache, matrix products and the shortest operator."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ridgeline.capture.ceilings.ceiling import Ceiling, bandwidth, product

BUDGET_S = 0.5
"""Seconds of repeats for each ceiling, after the first three repeats."""

_CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
_LARGE_BYTES = 256 * 2**20
_SMALLEST_L2_BYTES = 2**20
_PRODUCTS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
_PRODUCT_SIZE = 1024


def measure(device: torch.device, progress: Callable[[str], None]) -> list[Ceiling]:
    """Measure all ceilings of this machine, in about five seconds on two cores."""
    del device
    progress("memory")
    size = max(_LARGE_BYTES, 4 * _cache_bytes(3))  # four last-level caches, so that few reads hit
    data = torch.ones(size // 4)
    target = torch.empty_like(data)
    text = f"{size // 2**20} MiB"
    copied = f"copy of {text}, read plus written, best of repeats"
    rows = [
        bandwidth("dram", size, _best_s(data.sum), f"sum over {text} of float32, best of repeats"),
        bandwidth("dram", 2 * size, _best_s(lambda: target.copy_(data)), copied),
    ]

    data = target = torch.ones(1)  # frees up to gigabytes

    progress("second-level cache")
    threads = torch.get_num_threads()
    # Each thread's part fills half of its core's cache, so that it stays there from repeat to repeat.
    size = max(_SMALLEST_L2_BYTES, _cache_bytes(2)) // 2 * threads
    method = f"sum over {size // 2**10} KiB of float32 with {threads} threads, repeated, best of repeats"
    rows.append(bandwidth("l2", size, _best_s(torch.ones(size // 4).sum), method))

    progress("matrix products")
    size = _PRODUCT_SIZE
    for precision, dtype in _PRODUCTS.items():
        left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
        seconds = _best_s(lambda left=left, right=right: left @ right)  # type: ignore[misc]
        # On a CPU the unit is "vector", whatever matrix instructions it has.
        rows.append(product("vector", precision, size, seconds, f"{size}^3 matrix product, best of repeats"))

    progress("smallest operator")
    method = "addition to one element in place, best of repeats"
    rows.append(Ceiling(resource="latency", value=_best_s(lambda: data.add_(1.0)), unit_of_value="s", method=method))
    return rows


def _best_s(work: Callable[[], object]) -> float:
    """The shortest duration of many repeats of `work`, in seconds."""
    work()
    durations: list[float] = []
    ends = time.perf_counter() + BUDGET_S
    # Other load on the machine makes repeats longer and never shorter, so the best one is the least disturbed.
    while len(durations) < 3 or time.perf_counter() < ends:
        started = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started)
    return min(durations)


def _cache_bytes(level: int) -> int:
    """Bytes of the first core's data cache of `level` as Linux reports it, 0 where it reports none."""
    for index in _CACHE.glob("index*"):
        try:
            reported, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        # Linux writes sizes as 2048K or 32M.
        match = re.fullmatch(r"(\d+)([KM])", size)
        if reported == str(level) and kind != "Instruction" and match:
            return int(match[1]) * {"K": 2**10, "M": 2**20}[match[2]]
    return 0
