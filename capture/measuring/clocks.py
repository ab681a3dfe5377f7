"""Time marks along the work of a device: CUDA events on CUDA, the host's clock elsewhere."""

import time

import torch

# Read once: time_ns() jumps when the system's clock is set, perf_counter_ns() never does.
_EPOCH_NS = time.time_ns() - time.perf_counter_ns()


def now_ns() -> int:
    """Nanoseconds since 1970 by a monotonic clock, which ignores later corrections of the system's clock."""
    return _EPOCH_NS + time.perf_counter_ns()


class HostClock:
    """A clock for devices whose work is done when a call returns."""

    def __init__(self) -> None:
        self._marks: list[int] = []

    def mark(self) -> int:
        """Mark the moment at which all work issued so far is done, without waiting for it. Returns its number."""
        self._marks.append(time.perf_counter_ns())
        return len(self._marks) - 1

    def between_ns(self, first: int, last: int) -> int:
        """Nanoseconds between two marks, by their numbers. Waits for the device."""
        return self._marks[last] - self._marks[first]

    def elapsed_ns(self) -> list[int]:
        """Nanoseconds from the first mark to each of the others. Waits for the device."""
        return [self.between_ns(0, number) for number in range(1, len(self._marks))]


class CudaClock(HostClock):
    """As HostClock, by CUDA events on the current stream. `capacity` of them are created in advance, so that a mark
    costs one call.
    """

    def __init__(self, capacity: int) -> None:
        self._unused = [event() for _ in range(capacity)]
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> int:
        self._events.append(self._unused.pop() if self._unused else event())
        self._events[-1].record()
        return len(self._events) - 1

    def between_ns(self, first: int, last: int) -> int:
        self._events[last].synchronize()
        milliseconds: float = self._events[first].elapsed_time(self._events[last])
        return round(milliseconds * 1e6)

    def elapsed_ns(self) -> list[int]:
        self._events[-1].synchronize()
        return [self.between_ns(0, number) for number in range(1, len(self._events))]


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
