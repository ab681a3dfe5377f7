"""The categories of events that Ridgeline reads, by what their events are, and those that it knows and does not need.

The names are those of Kineto's ``ActivityType``, and of PyTorch 1.8 to 1.10, which wrote ``Kernel`` for ``kernel``.
"""

from __future__ import annotations

DEVICE_CATEGORIES = ("kernel", "gpu_memcpy", "gpu_memset", "cuda_profiler_range")
"""The codes of device activities in the column ``category``."""
KERNEL, _MEMCPY, _MEMSET, RANGE = range(4)
DEVICE = {
    "kernel": KERNEL,
    "gpu_memcpy": _MEMCPY,
    "gpu_memset": _MEMSET,
    "cuda_profiler_range": RANGE,
    "mtia_ccp_events": KERNEL,
    "Kernel": KERNEL,
    "Memcpy": _MEMCPY,
    "Memset": _MEMSET,
}
LAUNCH = (
    "cuda_runtime", "cuda_driver", "xpu_runtime", "xpu_driver", "mtia_runtime", "privateuse1_runtime",
    "privateuse1_driver", "glow_runtime", "Runtime",
)  # fmt: skip
OPERATOR, OLD_OPERATOR = "cpu_op", "Operator"
ANNOTATION, FRAME = "user_annotation", "python_function"
OLD = frozenset(("Kernel", "Memcpy", "Memset", "Runtime", OLD_OPERATOR))
HOST_ONLY = frozenset((
    "overhead", "Trace", "cpu_instant_event", "gpu_user_annotation", "ac2g", "async_cpu_to_gpu", "fwdbwd",
    "forward_backward", "cuda_sync", "cuda_event", "xpu_sync", "external_correlation", "hardware_counters",
    "mtia_counters", "collective_comm",
))  # fmt: skip
"""Categories whose events hold no work of a device and no operator, such as the profiler's own."""
KNOWN = frozenset((*DEVICE, *LAUNCH, OPERATOR, OLD_OPERATOR, ANNOTATION, FRAME, *HOST_ONLY))
OTHERS, NO_CATEGORY = "(others)", "(none)"
MOST_CATEGORIES = 1000
"""Categories that are counted by name: a damaged or hostile trace may name one for each event."""
