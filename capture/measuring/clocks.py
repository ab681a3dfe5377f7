"""Marks in time along a run of the device: CUDA events where there is a device, the host's clock elsewhere."""

import time
from typing import Protocol

import torch

_EPOCH_NS = time.time_ns() - time.perf_counter_ns()


def now_ns() -> int:
    """Nanoseconds since 1970 by a clock that only goes forward: a step of the system's clock is no time passing."""
    return _EPOCH_NS + time.perf_counter_ns()


class Clock(Protocol):
    """Takes marks, of which `elapsed_ns` tells the distances from the first once everything is done."""

    def mark(self) -> None:
        """Mark the moment all work issued so far is done, without waiting for it."""

    def elapsed_ns(self) -> list[int]:
        """Nanoseconds from the first mark to each of the others. Waits for the device."""


class HostClock:
    """For devices that have done their work when a call returns."""

    def __init__(self) -> None:
        self._marks: list[int] = []

    def mark(self) -> None:
        self._marks.append(time.perf_counter_ns())

    def elapsed_ns(self) -> list[int]:
        return [mark - self._marks[0] for mark in self._marks[1:]]


class CudaClock:
    """CUDA events on the current stream, made beforehand so that a mark costs one call."""

    def __init__(self, capacity: int) -> None:
        self._events = [event() for _ in range(capacity)]
        self._used = 0

    def mark(self) -> None:
        self._events[self._used].record()
        self._used += 1

    def elapsed_ns(self) -> list[int]:
        used = self._events[: self._used]
        used[-1].synchronize()
        return [round(used[0].elapsed_time(event) * 1e6) for event in used[1:]]


def event() -> torch.cuda.Event:
    """A CUDA event that can time."""
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def clock(device: torch.device, marks: int) -> Clock:
    """A clock of `device` that can take so many marks."""
    return CudaClock(marks) if device.type == "cuda" else HostClock()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
