"""A sweep in progress: which points are captured already, which cannot fit, and running the others."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ridgeline.capture.ceilings import ceiling
from ridgeline.capture.configuration.points import Point
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.recording import run_directory
from ridgeline.capture.records import Record
from ridgeline.capture.sweep import memory_boundary
from ridgeline.capture.sweep.bench import Bench, Place, Progress
from ridgeline.capture.sweep.worker import Worker, describe_error

CONTEXT_ERRORS = (
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
"""Parts of error messages after which the device's context may be broken for every later point."""


class Session:
    """Iterating runs the points in order and yields a record for each, and whether it was captured before.

    Raises DeviceError before anything runs if a device is missing or lacks what a point needs, and CaptureError for a
    directory with another configuration. If the process of a point dies, that is the outcome of the point.
    """

    def __init__(
        self, points: Sequence[Point], out: Path, progress: Progress, *, counters: str, bench: Bench | Worker
    ) -> None:
        self._points, self._out, self._progress = points, out, progress
        self._counters, self._bench = counters, bench
        self._places: dict[str, Place] = {}
        self._ceilings: dict[str, dict[str, Any]] = {}
        self._out_of_memory: list[Record] = []

    def __iter__(self) -> Iterator[tuple[Record, bool]]:
        try:
            stored = [self._stored(point) for point in self._points]
            missing = [point for point, record in zip(self._points, stored, strict=True) if record is None]
            if missing:
                self._places = self._bench.places(missing, self._progress)
                self._out_of_memory = [each for each in run_directory.stored(self._out) if each.outcome == "oom"]
                for point, record in zip(self._points, stored, strict=True):
                    self._check_auto(record, point)
            for number, (point, record) in enumerate(zip(self._points, stored, strict=True), 1):
                progress = self._prefixed(f"{number}/{len(stored)} {point.directory}: ")
                if record is None:  # another process may have captured it since
                    record = self._stored(point)
                    self._check_auto(record, point)
                if record is not None:
                    progress("captured before")
                    yield record, True
                else:
                    yield self._run(point, progress), False
        finally:
            self._bench.close()

    def _prefixed(self, prefix: str) -> Progress:
        """Return a progress function that writes `prefix` before each text."""
        return lambda text: self._progress(prefix + text)

    def _stored(self, point: Point) -> Record | None:
        """Return a point's earlier result, None if there is none or it is to be tried again.

        Raises CaptureError if the point's directory is no run, or has another configuration.
        """
        directory = self._out / point.directory
        if not directory.exists():
            return None
        record = run_directory.read(directory)
        if record is None:
            raise CaptureError(
                f"{directory} has no run.json of this format; expected a run: remove the directory, or choose another "
                "--out."
            )
        if record.outcome in run_directory.RETRIED:
            return None
        # To resolve `auto` takes seconds, as torch must be loaded. If all points are captured, it is never resolved.
        self._check(record, point, record.environment.device_kind if point.device == "auto" else point.device)
        return record

    def _check_auto(self, record: Record | None, point: Point) -> None:
        """Raise CaptureError if a stored run of a point on `auto` ran on another kind of device than `auto` is here."""
        if record is not None and point.device == "auto":
            self._check(record, point, self._places["auto"].environment.device_kind)

    def _check(self, record: Record, point: Point, device_kind: str) -> None:
        """Raise CaptureError if a stored run has another configuration than the point."""
        difference = run_directory.difference(record, point, device_kind)
        if difference is not None:
            raise CaptureError(
                f"{self._out / point.directory} holds another configuration ({difference}); remove it, choose another "
                "--out, or give this run a name."
            )

    def _run(self, point: Point, progress: Progress) -> Record:
        """Run a point into its directory, or write there why it was not run."""
        place = self._places[point.device]
        refusal = memory_boundary.refusal(point, place, self._out_of_memory)
        # A point on `auto` is stored under the device that it ran on.
        pinned = msgspec.structs.replace(point, device=place.environment.device_kind)
        with run_directory.written(self._out / point.directory) as directory:
            if refusal is None:
                if pinned.device not in self._ceilings:
                    self._ceilings[pinned.device] = self._measure_ceilings(pinned)
                result = self._record(pinned, place, directory, progress)
            else:
                progress(refusal)
                result = run_directory.unfinished(point, place.environment, outcome="oom", message=refusal)
                run_directory.write_record(directory, result)
            if measured := self._ceilings.get(pinned.device):
                ceiling.save(directory / ceiling.FILE_NAME, measured)
        # If another process captured the point meanwhile, its run was kept.
        stored = run_directory.read(self._out / point.directory) or result
        if stored.outcome == "oom":
            self._out_of_memory.append(stored)
        return stored

    def _measure_ceilings(self, point: Point) -> dict[str, Any]:
        """Return the ceilings of a point's device; none if they cannot be measured, as datasheets can replace them."""
        try:
            return self._bench.ceilings(point, self._out / ceiling.FILE_NAME, self._prefixed("ceilings: "))
        except Exception as error:
            self._progress(f"ceilings: not measured: {describe_error(error)}")
            self._bench.close()
            return {}

    def _record(self, point: Point, place: Place, directory: Path, progress: Progress) -> Record:
        """Record a point and its counters. An exception or a dead process becomes the outcome `error`."""
        try:
            result = self._bench.record(point, directory, progress)
        except Exception as error:
            result = run_directory.unfinished(point, place.environment, outcome="error", message=describe_error(error))
            run_directory.empty(directory)
            run_directory.write_record(directory, result)
        # An exception may leave the CUDA context broken: the next point gets a fresh process.
        if _breaks_context(result.message) or (result.scaled is not None and _breaks_context(result.scaled.message)):
            self._bench.close()
        if result.outcome != "ok" or self._counters == "off":
            return result
        # Whatever fails while counting, the point stays as recorded.
        recorded = set(directory.iterdir())
        try:
            return self._bench.count(point, directory, self._counters, progress) or result
        except Exception as error:
            reason = describe_error(error)
        run_directory.empty(directory, but=recorded)
        if _breaks_context(reason):
            self._bench.close()
        result = msgspec.structs.replace(result, counters={"outcome": "failed", "reason": reason})
        run_directory.write_record(directory, result)
        return result


def _breaks_context(message: str | None) -> bool:
    """Whether an error message means that the device's context may be broken, and the process must be replaced."""
    return message is not None and any(words in message for words in CONTEXT_ERRORS)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM unwind the block, with the exit code that a shell reports, unless the program handles SIGTERM."""
    # Only the main thread may set handlers.
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
