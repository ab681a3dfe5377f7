"""A CUPTI that answers as told, for tests of what counts with it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from ridgeline.capture.counters import by_cupti, counting, watchdog
from ridgeline.capture.counters.cupti import rounds, structures
from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.steps import Step


def steps(*kinds: Any) -> list[Step]:
    return [
        Step(phase="decode", index=index, kind=kind, query=1, context=index + 1, tokens=1)
        for index, kind in enumerate(kinds, start=5)
    ]


class Machine(Library):
    """A device and its CUPTI: it launches kernels when told to run, and each round counts what was launched in it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.log: list[str] = []
        self.failing = ""
        self.lose: set[int] = set()
        self.value: Callable[[int], float] = float
        self.capturing = False
        self.broken: Exception | None = None
        self._launches = self._correlation = 0
        self._events: list[dict[str, Any]] = []
        self._first = 0
        self._most = 0

    def launch(self, *names: str, device: int = 0) -> None:
        """Launch kernels. Those of other devices than 0 are traced and not counted."""
        for name in names:
            self._event("cuda_runtime", "cudaLaunchKernel", device)
            self._event("kernel", "WaitNs", device)
            self._event("kernel", name, device, dur=2.0)
            self._correlation += 1
            self._launches += device == 0

    def reverse(self) -> None:
        """Let the last two kernels start in the opposite order of their launches, on two streams."""
        one, other = [event for event in self._events if event["cat"] == "kernel" and event["name"] != "WaitNs"][-2:]
        one["ts"], other["ts"] = other["ts"], one["ts"]

    def lose_trace(self) -> None:
        """Lose the kernels from the trace, as where another profiler receives them."""
        self._events = [event for event in self._events if event["cat"] == "user_annotation"]

    def _event(self, cat: str, name: str, device: int, dur: float = 0.5) -> None:
        args = {"correlation": self._correlation, "device": device}
        self._events.append(
            {"ph": "X", "cat": cat, "name": name, "ts": len(self._events) * 1.0, "dur": dur, "args": args}
        )

    def start(self) -> None:
        """With `label` and `stop`: in place of Kineto."""
        if self.broken:
            raise self.broken
        self._events = []

    @contextmanager
    def label(self, name: str) -> Iterator[None]:
        start = len(self._events)
        yield
        span = {"ph": "X", "cat": "user_annotation", "name": name}
        self._events.append({**span, "ts": start - 0.5, "dur": len(self._events) - start + 0.0})

    def stop(self) -> bytes:
        return json.dumps({"traceEvents": self._events}).encode()

    def call(self, call: str, about: str = "", **fields: Any) -> Any:
        structures.block(call)(**fields)
        self.calls.append(call)
        if call == self.failing:
            raise CuptiError(call, 1, "CUPTI_ERROR_UNKNOWN", about)
        if call == "cuptiRangeProfilerStart":
            self._first = self._launches
        if call == "cuptiRangeProfilerSetConfig":
            self._most = 2 * fields["ranges_per_pass"]  # As on an H200, where the pass then ends silently.
        numbers = [number for number in range(self._first, self._launches) if number not in self.lose][: self._most]
        name = b""
        if call == "cuptiProfilerHostEvaluateToGpuValues":
            values = (ctypes.c_double * fields["metric_count"]).from_address(fields["values"])
            values[:] = [self.value(10 * numbers[fields["index"]] + position) for position in range(len(values))]
        elif "index" in fields:
            name = str(numbers[fields["index"]]).encode()
        answers = {"object": 7, "config_size": 8, "data_size": 16, "passes": 1, "ranges": len(numbers), "name": name}
        return SimpleNamespace(**answers)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    for module in (by_cupti, counting):
        monkeypatch.setattr(module, "opened", lambda device: (machine, "GH100"))
    monkeypatch.setattr(rounds, "Kineto", lambda: machine)
    monkeypatch.setattr(rounds, "context", lambda device: 1)
    for module in (rounds, watchdog):
        monkeypatch.setattr(module, "synchronize", lambda device: None)
    monkeypatch.setattr(counting, "capturing", lambda: machine.capturing)
    return machine
