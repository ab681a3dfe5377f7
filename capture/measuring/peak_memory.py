"""Peak memory of a point, by part: from the caching allocator on CUDA, from the process's RSS elsewhere."""

import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from ridgeline.capture.records import Memory

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak(device: torch.device) -> None:
    """Reset the peak, where the system permits it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        with suppress(OSError):
            _CLEAR.write_text("5")  # Linux resets VmHWM for this value.


def peak(device: torch.device, *, weights_bytes: int, cache_bytes: int, logits_bytes: int) -> Memory:
    """The peak since `reset_peak`, by part."""
    if device.type == "cuda":
        peak_bytes, source = torch.cuda.max_memory_allocated(device), "allocator"
    else:
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak_bytes, source = largest if sys.platform == "darwin" else largest * 1024, "resident_set"
        # getrusage keeps the peak of the process's whole life; VmHWM is the one that reset_peak resets.
        for line in _STATUS.read_text().splitlines() if _STATUS.exists() else ():
            if line.startswith("VmHWM:"):
                peak_bytes = int(line.split()[1]) * 1024
    other_bytes = max(0, peak_bytes - weights_bytes - cache_bytes)
    return Memory(
        peak_bytes=peak_bytes,
        weights_bytes=weights_bytes,
        cache_bytes=cache_bytes,
        other_bytes=other_bytes,
        logits_bytes=min(logits_bytes, other_bytes),
        activations_bytes=max(0, other_bytes - logits_bytes),
        source=source,
    )


def release(device: torch.device) -> None:
    """Free unreferenced objects and return cached memory to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
