"""A sweep under way: which points are there already, which cannot fit, which are run, and the ceilings beside them."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import msgspec

from ridgeline.capture import run_directory
from ridgeline.capture.ceilings import ceiling
from ridgeline.capture.configuration.points import Point
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.records import Record
from ridgeline.capture.sweep import memory_boundary as boundary
from ridgeline.capture.sweep.bench import Bench, Place
from ridgeline.capture.sweep.worker import Worker, told

STICKING = (
    "CUDA error",
    "CUDA driver error",
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "launch failure",
    "CUBLAS_STATUS",
    "CUDNN_STATUS",
    "cuDNN error",
    "cuDNN Frontend error",
    "AcceleratorError",
)
"""What an error's message has when the device's context may be lost with it, for every point to come."""


class Session:
    """Iterating runs the points in order: each a record, and whether it was there already.

    It raises DeviceError before anything is run when a device is missing or lacks what a point needs, and CaptureError
    for a directory of another configuration. What a point's process does, dying included, is that point's outcome.
    """

    def __init__(
        self,
        points: Sequence[Point],
        out: Path,
        progress: Callable[[str], None],
        *,
        counters: str,
        bench: Bench | Worker,
    ) -> None:
        self._points, self._out, self._progress = points, out, progress
        self._counters, self._bench = counters, bench
        self._places: dict[str, Place] = {}
        self._ceilings: dict[str, dict[str, Any]] = {}
        self._known: list[Record] = []

    def __iter__(self) -> Iterator[tuple[Record, bool]]:
        try:
            yield from self._results()
        finally:
            self._bench.close()

    def _results(self) -> Iterator[tuple[Record, bool]]:
        stored = [self._find(point) for point in self._points]
        self._prepare(stored)
        for number, (point, found) in enumerate(zip(self._points, stored, strict=True), 1):
            progress = self._prefixed(f"{number}/{len(stored)} {point.directory}: ")
            found = found or self._found_meanwhile(point)
            if found is not None:
                progress("is there already")
                yield found, True
            else:
                yield self._run(point, progress), False

    def _found_meanwhile(self, point: Point) -> Record | None:
        """What another process has put there since this one began."""
        found = self._find(point)
        if found is not None and point.device == "auto":
            self._check(found, point, self._places["auto"].environment.device_kind)
        return found

    def _prefixed(self, prefix: str) -> Callable[[str], None]:
        """Progress that says what it is about."""
        return lambda text: self._progress(prefix + text)

    def _find(self, point: Point) -> Record | None:
        """A point's earlier result, if it needs no second try. Raises CaptureError when its directory is another's."""
        directory = self._out / point.directory
        if not directory.exists():
            return None
        found = run_directory.read(directory)
        if found is None:
            raise CaptureError(f"{directory} holds no run.json of this format; remove it, or choose another folder.")
        if found.outcome in run_directory.RETRIED:
            return None
        # Nobody knows yet what `auto` is here, and finding out takes seconds: a folder that is complete stays so.
        self._check(found, point, found.environment.device_kind if point.device == "auto" else point.device)
        return found

    def _check(self, found: Record, point: Point, device_kind: str) -> None:
        """Raise CaptureError unless a stored run is the point's."""
        difference = run_directory.difference(found, point, device_kind)
        if difference is not None:
            raise CaptureError(
                f"{self._out / point.directory} holds another configuration ({difference}); remove it, choose another "
                "folder, or give this run a name."
            )

    def _prepare(self, stored: list[Record | None]) -> None:
        """Learn of the devices and the boundaries known, if anything is to be run; check all stored runs against it."""
        missing = [point for point, found in zip(self._points, stored, strict=True) if found is None]
        if not missing:
            return
        self._places = self._bench.places(missing, self._progress)
        for point, found in zip(self._points, stored, strict=True):
            if found is not None and point.device == "auto":
                self._check(found, point, self._places["auto"].environment.device_kind)
        self._known = [record for record in run_directory.stored(self._out) if record.outcome == "oom"]

    def _run(self, point: Point, progress: Callable[[str], None]) -> Record:
        """Run one point into its directory, or say there why not."""
        place = self._places[point.device]
        reason = boundary.refusal(point, place, self._known)
        pinned = msgspec.structs.replace(point, device=place.environment.device_kind)
        with run_directory.written(self._out / point.directory) as directory:
            if reason is None:
                self._measure_ceilings(pinned)
                result = self._record(pinned, place, directory, progress)
            else:
                progress(reason)
                result = run_directory.unfinished(point, place.environment, outcome="oom", message=reason)
                run_directory.write_record(directory, result)
            measured = self._ceilings.get(pinned.device)
            if measured:
                ceiling.save(directory / ceiling.FILE_NAME, measured)
        stored = run_directory.read(self._out / point.directory) or result  # another process may have been faster
        self._known.append(stored)
        return stored

    def _record(self, point: Point, place: Place, directory: Path, progress: Callable[[str], None]) -> Record:
        """Have a point recorded; its error, where that cannot be had."""
        try:
            result = self._bench.record(point, directory, progress)
        except Exception as error:
            result = run_directory.unfinished(point, place.environment, outcome="error", message=told(error))
            run_directory.empty(directory)
            run_directory.write_record(directory, result)
        if _sticks(result.message) or (result.scaled is not None and _sticks(result.scaled.message)):
            self._bench.close()
        if result.outcome == "ok" and self._counters != "off":
            result = self._count(point, result, directory, progress)
        return result

    def _count(self, point: Point, result: Record, directory: Path, progress: Callable[[str], None]) -> Record:
        """Have counters added to a recorded point. Whatever goes wrong, the point stays as recorded, and says so."""
        recorded = set(directory.iterdir())
        try:
            return self._bench.count(point, directory, self._counters, progress) or result
        except Exception as error:
            reason = told(error)
        run_directory.empty(directory, but=recorded)
        if _sticks(reason):
            self._bench.close()
        result = msgspec.structs.replace(result, counters={"outcome": "failed", "reason": reason})
        run_directory.write_record(directory, result)
        return result

    def _measure_ceilings(self, point: Point) -> None:
        """The device's ceilings, once. Without them a run is still worth having: datasheets take their place."""
        if point.device in self._ceilings:
            return
        try:
            found = self._bench.ceilings(point, self._out / ceiling.FILE_NAME, self._prefixed("ceilings: "))
        except Exception as error:
            self._progress(f"ceilings: not measured: {told(error)}")
            self._bench.close()
            found = {}
        self._ceilings[point.device] = found


def _sticks(message: str | None) -> bool:
    """Whether an error is of the kind that stays with the process."""
    return message is not None and any(words in message for words in STICKING)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """While the block runs, SIGTERM unwinds it, unless the program has other plans for that signal."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    """End as a shell would report it."""
    raise SystemExit(128 + number)
