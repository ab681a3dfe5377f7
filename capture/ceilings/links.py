"""Ceilings of the links of a CUDA device: to the host, and to every other device that this process sees."""

from collections.abc import Callable

import torch

from ridgeline.capture.ceilings.ceiling import Ceiling
from ridgeline.capture.ceilings.cuda import REPEATS, median_s

_LARGE_BYTES = 2**30


def measure(device: torch.device, progress: Callable[[str], None]) -> list[Ceiling]:
    """Measure the rates of copies of 1 GiB in one direction, in a few seconds; none on a CPU.

    The host's memory is pinned. A copy to another device without peer access goes through the host, as its method says.
    """
    if device.type != "cuda":
        return []
    progress("link to the host")
    here = torch.empty(_LARGE_BYTES, dtype=torch.uint8, device=device)
    host = torch.empty(_LARGE_BYTES, dtype=torch.uint8, pin_memory=True)
    rows = [
        _row("host", lambda: here.copy_(host, non_blocking=True), "from pinned memory of the host"),
        _row("host", lambda: host.copy_(here, non_blocking=True), "to pinned memory of the host"),
    ]
    for other in range(torch.cuda.device_count()):
        if other == device.index:
            continue
        progress(f"link to device {other}")
        there = torch.empty(_LARGE_BYTES, dtype=torch.uint8, device=f"cuda:{other}")
        how = "" if torch.cuda.can_device_access_peer(device, other) else " through the host"
        rows.append(_row("device", lambda there=there: there.copy_(here), f"to device {other}{how}"))  # type: ignore[misc]
    return rows


def _row(end: str, copy: Callable[[], object], where: str) -> Ceiling:
    """The rate of a copy between this device and the ``end`` of the link: host or device."""
    value = round(_LARGE_BYTES / median_s(copy))
    method = f"copy of 1 GiB {where}, median of {REPEATS}"
    return Ceiling(resource="bandwidth", level="link", unit=end, value=value, unit_of_value="byte/s", method=method)
