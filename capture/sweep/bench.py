"""Where points run: a device, the decoder kept on it from point to point, and its ceilings.

Importing this does not import torch, making a Bench does; a process that only looks after a sweep makes a Worker.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import msgspec

from ridgeline.capture import runtime
from ridgeline.capture.configuration.constraints import unsupported
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.errors import DeviceError
from ridgeline.capture.records import Environment, Record

Progress = Callable[[str], None]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A device that points run on; `memory_bytes` is all it has, None where nobody tells."""

    environment: Environment
    memory_bytes: int | None


class Bench:
    """The work itself, in this process. It keeps the decoder from point to point."""

    def __init__(self) -> None:
        runtime.prepare()  # Before torch is loaded, which reads these settings.
        self._recording: Any = import_module("ridgeline.capture.sweep.recording")
        self._workshop = self._recording.Workshop()
        self._last: Any = None

    def places(self, points: list[Point], progress: Progress) -> dict[str, Place]:
        """Each device the points name, and `auto`. Raises DeviceError when one is missing or lacks what a point needs.

        Points of the other methods name a device's kind, never `auto`: a device that vanishes must not become another.
        """
        del progress
        found = {name: self._device(name) for name in ("auto", *(point.device for point in points))}
        for point in points:
            problem = unsupported(point, _capability(found[point.device]))
            if problem is not None:
                raise DeviceError(f"{point.directory}: {problem}")
        return {name: _place(device) for name, device in found.items()}

    def ceilings(self, point: Point, shared: Path, progress: Progress) -> dict[str, Any]:
        """The ceilings of a point's device: those in `shared` if they are its own, else measured into it."""
        from ridgeline.capture.ceilings import ceiling
        from ridgeline.capture.ceilings.measure import measure

        device = self._device(point.device)
        found = ceiling.stored(shared, device)
        if found is None:
            self._workshop.clear(device)
            found = measure(device.type, progress=progress)
            ceiling.save(shared, found)
        return found

    def record(self, point: Point, directory: Path, progress: Progress) -> Record:
        """Run a point and write its files, run.json last; the record written."""
        device = self._device(point.device)
        return cast(Record, self._recording.record(point, device, directory, self._workshop, progress))

    def count(self, point: Point, directory: Path, method: str, progress: Progress) -> Record | None:
        """Add hardware counters to a recorded point; the record as written again, None where nothing was added."""
        count = getattr(self._recording, "count", None)
        if count is None:
            return None
        device = self._device(point.device)
        return cast(Record | None, count(point, device, directory, self._workshop, progress, method))

    def close(self) -> None:
        """Let go of the device, and of whatever state may be broken; another request starts afresh."""
        with suppress(RuntimeError):  # A broken device cannot even be asked to give back its memory.
            if self._last is not None:
                self._workshop.clear(self._last)

    def _device(self, name: str) -> Any:
        from ridgeline.capture import environment

        self._last = environment.resolve(name)
        return self._last


def _capability(device: Any) -> tuple[int, int] | None:
    """The compute capability of a CUDA device; None for a CPU."""
    import torch

    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


def _place(device: Any) -> Place:
    """A torch device as the sweep needs to know it."""
    import torch

    from ridgeline.capture import environment

    if device.type == "cuda":
        memory_bytes = int(torch.cuda.mem_get_info(device)[1])
    else:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Place(environment=environment.describe(device), memory_bytes=memory_bytes)
