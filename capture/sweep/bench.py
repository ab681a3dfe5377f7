"""Runs points: resolves their devices, keeps the decoder from point to point, and measures ceilings.

Importing this module does not import torch; making a Bench does. A process that only supervises a sweep makes a Worker.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import msgspec

from ridgeline.capture import environment
from ridgeline.capture.configuration.constraints import unsupported
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.errors import DeviceError
from ridgeline.capture.records import Environment, Record

Progress = Callable[[str], None]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A device that points run on. `memory_bytes` is its whole memory, None if that is unknown."""

    environment: Environment
    memory_bytes: int | None


class Bench:
    """Runs points in this process. It keeps the decoder from point to point."""

    def __init__(self) -> None:
        environment.prepare()  # before torch is loaded, which reads these settings once
        self._recording: Any = import_module("ridgeline.capture.sweep.recording")
        self._workshop = self._recording.Workshop()
        self._last_device: Any = None

    def places(self, points: list[Point], progress: Progress) -> dict[str, Place]:
        """Return the places of all devices that the points name, and of `auto`.

        Raises DeviceError if a device is missing or lacks what a point needs, and ConfigError if a mode of one's own
        cannot be loaded. The points of the other methods name a
        kind of device, never `auto`: if a GPU vanishes during a sweep, its points must not run on the CPU.
        """
        import torch

        del progress
        devices = {name: self._device(name) for name in ("auto", *(point.device for point in points))}
        for point in points:
            device = devices[point.device]
            capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
            if message := unsupported(point, capability):
                raise DeviceError(f"{point.directory}: {message}")
            if not point.built_in:
                import_module("ridgeline.capture.modes.own").load(point.mode, point.folder)
        places: dict[str, Place] = {}
        for name, device in devices.items():
            if device.type == "cuda":
                memory_bytes = int(torch.cuda.mem_get_info(device)[1])
            else:
                memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            places[name] = Place(environment=environment.describe(device), memory_bytes=memory_bytes)
        return places

    def ceilings(self, point: Point, shared: Path, progress: Progress) -> dict[str, Any]:
        """Return the ceilings of a point's device: those in the file `shared`, else measured and written to it."""
        from ridgeline.capture.ceilings import ceiling
        from ridgeline.capture.ceilings.measure import kept

        device = self._device(point.device)
        if ceiling.stored(shared, device) is None:
            self._workshop.clear(device)  # the buffers of bandwidth measurements are large
        return kept(shared, device, progress=progress)

    def record(self, point: Point, directory: Path, progress: Progress) -> Record:
        """Run a point, write its files into `directory`, run.json last, and return the record."""
        device = self._device(point.device)
        return cast(Record, self._recording.record(point, device, directory, self._workshop, progress))

    def count(self, point: Point, directory: Path, method: str, progress: Progress) -> Record | None:
        """Add hardware counters to a recorded point. Returns the new record, None if nothing was counted."""
        device = self._device(point.device)
        return cast(Record | None, self._recording.count(point, device, directory, self._workshop, progress, method))

    def close(self) -> None:
        """Free the decoder and its device memory. The next request starts again."""
        with suppress(RuntimeError):  # a broken CUDA context cannot even free its memory
            if self._last_device is not None:
                self._workshop.clear(self._last_device)

    def _device(self, name: str) -> Any:

        self._last_device = environment.resolve(name)
        return self._last_device
