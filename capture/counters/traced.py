"""What the traced steps of a program say about counting them: how many kernels, and why counting may not work."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ridgeline.capture.counters.cupti import join
from ridgeline.capture.counters.cupti.join import Event

COMMUNICATION = re.compile(r"nccl|rccl|nvshmem", re.IGNORECASE)
"""Kernels that wait for their like on other devices, and for nothing on their own."""

NEVER_WAITING = re.compile(
    r"at::(native|cuda)|2at(6native|4cuda)|at_cuda_detail|c10::|thrust::|cub::|nvjet|cublas|cutlass_\d|_xmma_|gemv|gemmk|splitK|cudnn|cask"
    r"|(ampere|hopper|volta|turing|sm\d\d)_\w*(gemm|conv|s\d+)|elementwise_kernel|reduce_kernel|multi_tensor_apply|softmax_warp|fft"
    r"|flash::|flash_(fwd|bwd)|fmha|\btriton_(poi|per|red|tem|mm|bmm|for|convolution|flex)_|LSTM|RNN",
)
"""Kernels of PyTorch, its compiler and NVIDIA's libraries. None waits for a kernel that is launched after it."""

FLAG_BYTES = 256
"""Larger copies and fills carry data. Smaller ones may set a flag that a kernel polls."""

_GRAPH_LAUNCH = re.compile(r"cu(da)?GraphLaunch")
_LAUNCHES = ("cuda_runtime", "cuda_driver")
_COPIES = ("gpu_memcpy", "gpu_memset")


class Traced(NamedTuple):
    """The largest number of kernels of a step, and lines that say why counting the steps cannot work or may hang.

    `risk` is a kernel that may wait for one launched after it: while ranges are counted, kernels run one at a time in
    the order of their launches, and the wait would never end.
    """

    kernels: int
    impossible: str | None
    risk: str | None


class _Activity(NamedTuple):
    name: str
    launched_ns: int
    start_ns: int
    end_ns: int
    stream: int | str | None
    device: int | str | None
    waits: bool
    """Whether it may poll a flag that something launched after it sets."""
    signals: bool
    """Whether it may set such a flag."""


def look(trace: bytes, labels: Sequence[str], device: int) -> Traced:
    """Judge the steps that `labels` annotate in a Kineto trace, on `device`, a number.

    Raises JoinError for a trace that cannot be read or does not have exactly one annotation of each label.
    """
    events = join.events(trace)
    step_at = join.steps(events, labels)
    launched_ns = join.launches(events)
    graphs = sum(
        event.cat in _LAUNCHES and bool(_GRAPH_LAUNCH.match(event.name)) and step_at(join.ns(event.ts)) is not None
        for event in events
    )
    activities = []
    counts = [0] * len(labels)
    for event in events:
        if event.ph != "X" or event.cat not in ("kernel", *_COPIES):
            continue
        activity = _activity(event, launched_ns)
        if activity.device not in (device, None):
            continue
        step = step_at(activity.launched_ns)
        # What the steps wait for may be launched between them; what waits there is not counted.
        activities.append(activity if step is not None else activity._replace(waits=False))
        if step is not None:
            counts[step] += event.cat == "kernel"
    most = max(counts, default=0)
    return Traced(most, _impossible(most, graphs, device), _risk(activities))


def _activity(event: Event, launched_ns: dict[int | str | None, int]) -> _Activity:
    start_ns = join.ns(event.ts)
    communicates = bool(COMMUNICATION.search(event.name))
    copies = event.cat in _COPIES
    carries_data = isinstance(event.args.bytes, int | float) and event.args.bytes > FLAG_BYTES
    return _Activity(
        event.name,
        launched_ns.get(event.args.correlation, start_ns),
        start_ns,
        start_ns + join.ns(event.dur),
        event.args.stream,
        event.args.device,
        waits=not (copies or communicates or NEVER_WAITING.search(event.name)),
        signals=not (carries_data if copies else communicates),
    )


def _impossible(kernels: int, graphs: int, device: int) -> str | None:
    """Return why no kernel of the steps can be counted, None if they can."""
    if graphs:
        return (
            f"the steps replay CUDA graphs ({graphs} launches), whose kernels CUPTI does not count one by one: "
            "record an eager twin (twin=True), or run the program without graphs"
        )
    if not kernels:
        return f"the steps launch no kernel on device {device}"
    return None


def _risk(activities: Iterable[_Activity]) -> str | None:
    """Return which kernel may wait for something launched after it on another stream, None if none may."""
    # Whatever a kernel waits for has started before the kernel ends. So from the last launch to the first: which
    # kernel ends after something that was launched after it, on another stream, has started?
    earliest: dict[int | str | None, _Activity] = {}
    for activity in sorted(activities, key=lambda each: -each.launched_ns):
        if activity.waits:
            later = [each for stream, each in earliest.items() if stream != activity.stream]
            first = min(later, key=lambda each: each.start_ns, default=None)
            if first and first.start_ns < activity.end_ns:
                return (
                    f"{activity.name[:60]!r} on stream {activity.stream} runs together with {first.name[:60]!r}, which "
                    f"was launched after it on stream {first.stream}, and may wait for it; counting runs kernels one "
                    "at a time and would hang then: --counters cupti counts nevertheless, with a time limit"
                )
        before = earliest.get(activity.stream)
        if activity.signals and (before is None or activity.start_ns < before.start_ns):
            earliest[activity.stream] = activity
    return None
