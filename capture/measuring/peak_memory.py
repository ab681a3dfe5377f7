"""Peak memory of a point, by part: the allocator's on CUDA, the process's resident set elsewhere."""

import gc
import resource
import sys
from pathlib import Path

import torch

from ridgeline.capture.records import Memory

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far, where the system lets us."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        try:
            _CLEAR.write_text("5")  # Linux: resets the resident set's high-water mark.
        except OSError:
            return


def peak(device: torch.device, *, weights_bytes: int, cache_bytes: int, logits_bytes: int) -> Memory:
    """The peak since `reset_peak`, by part."""
    on_cuda = device.type == "cuda"
    peak_bytes = torch.cuda.max_memory_allocated(device) if on_cuda else _peak_resident_bytes()
    other_bytes = max(0, peak_bytes - weights_bytes - cache_bytes)
    return Memory(
        peak_bytes=peak_bytes,
        weights_bytes=weights_bytes,
        cache_bytes=cache_bytes,
        other_bytes=other_bytes,
        logits_bytes=min(logits_bytes, other_bytes),
        activations_bytes=max(0, other_bytes - logits_bytes),
        source="allocator" if on_cuda else "resident_set",
    )


def release(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _peak_resident_bytes() -> int:
    """The resident set's high-water mark."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
