"""A sweep under way: which points are there already, which are run, and the ceilings beside them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from capture import ceilings, environment, run_directory
from capture.config import Point
from capture.errors import CaptureError
from capture.recording import Workshop, record
from capture.records import Record


class Session:
    """Iterating runs the points in order: each a record, and whether it was there already."""

    def __init__(self, points: Sequence[Point], out: Path, progress: Callable[[str], None]) -> None:
        """Raises DeviceError for a missing device and CaptureError for a directory of another configuration."""
        self._out, self._progress = out, progress
        self._work = [(point, environment.resolve(point.device)) for point in points]
        self._ceilings: dict[str, dict[str, object]] = {}
        self._workshop = Workshop()
        self._stored = [self._find(point, device) for point, device in self._work]

    def __iter__(self) -> Iterator[tuple[Record, bool]]:
        for number, ((point, device), stored) in enumerate(zip(self._work, self._stored, strict=True), 1):
            prefix = f"{number}/{len(self._work)} {point.directory}: "
            if stored is not None:
                self._progress(f"{prefix}is there already")
                yield stored, True
            else:
                yield self._run(point, device, prefix), False
        if self._work:
            self._workshop.clear(self._work[-1][1])

    def _run(self, point: Point, device: torch.device, prefix: str) -> Record:
        """Run one point into its directory."""
        measured = self._ceilings_of(device)
        with run_directory.written(self._out / point.directory) as directory:
            result = record(point, device, directory, self._workshop, lambda text: self._progress(prefix + text))
            ceilings.save(directory / ceilings.FILE_NAME, measured)
        return result

    def _ceilings_of(self, device: torch.device) -> dict[str, object]:
        """The device's ceilings: measured once, then kept in the folder for the next sweep on the same device."""
        if device.type not in self._ceilings:
            shared = self._out / ceilings.FILE_NAME
            found = ceilings.stored(shared, device)
            if found is None:
                self._workshop.clear(device)
                found = ceilings.measure(device.type, progress=lambda text: self._progress(f"ceilings: {text}"))
                ceilings.save(shared, found)
            self._ceilings[device.type] = found
        return self._ceilings[device.type]

    def _find(self, point: Point, device: torch.device) -> Record | None:
        """A point's earlier result, if it needs no second try. Raises CaptureError when its directory is another's."""
        directory = self._out / point.directory
        if not directory.exists():
            return None
        found = run_directory.read(directory)
        if found is None:
            raise CaptureError(f"{directory} holds no run.json of this format; remove it, or choose another folder.")
        if found.outcome in run_directory.RETRIED:
            return None
        difference = run_directory.difference(found, point, device.type)
        if difference is not None:
            raise CaptureError(
                f"{directory} holds another configuration ({difference}); remove it, choose another folder, "
                "or give this run a name."
            )
        return found
