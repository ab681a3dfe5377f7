"""Time marks along the work of a device: CUDA events on CUDA, the host's clock elsewhere."""

import time
from typing import Any

import torch

Moment = Any
"""A moment of a clock: nanoseconds of the host, or a CUDA event."""

# Read once: time_ns() jumps when the system's clock is set, perf_counter_ns() never does.
_EPOCH_NS = time.time_ns() - time.perf_counter_ns()


def now_ns() -> int:
    """Nanoseconds since 1970 by a monotonic clock, which ignores later corrections of the system's clock."""
    return _EPOCH_NS + time.perf_counter_ns()


class HostClock:
    """A clock for devices whose work is done when a call returns."""

    def __init__(self) -> None:
        self._marks: list[Moment] = []

    # The function itself: a call of another would be a part of every step that is timed.
    moment = staticmethod(time.perf_counter_ns)
    """Return the moment at which all work issued so far is done, without waiting for it."""

    def between_ns(self, first: Moment, last: Moment) -> int:
        """Nanoseconds between two moments. Waits for the device."""
        nanoseconds: int = last - first
        return nanoseconds

    def mark(self) -> None:
        """Keep the moment at which all work issued so far is done, without waiting for it."""
        self._marks.append(self.moment())

    def elapsed_ns(self) -> list[int]:
        """Nanoseconds from the first mark to each of the others. Waits for the device."""
        return [self.between_ns(self._marks[0], mark) for mark in self._marks[1:]]


class CudaClock(HostClock):
    """As HostClock, by CUDA events on the current stream. `capacity` of them are created in advance, so that a
    moment costs one call.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._unused = [event() for _ in range(capacity)]

    def moment(self) -> Moment:
        recorded = self._unused.pop() if self._unused else event()
        recorded.record()
        return recorded

    def between_ns(self, first: Moment, last: Moment) -> int:
        last.synchronize()
        milliseconds: float = first.elapsed_time(last)
        return round(milliseconds * 1e6)


def event() -> torch.cuda.Event:
    """A CUDA event with timing enabled."""
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def clock(device: torch.device, marks: int) -> HostClock | CudaClock:
    """A clock of `device` for up to `marks` marks."""
    return CudaClock(marks) if device.type == "cuda" else HostClock()


def synchronize(device: torch.device) -> None:
    """Wait until `device` has done all work issued to it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
