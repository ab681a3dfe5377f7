"""The process that points run in: the requests it answers, and the message when it dies.

A Worker has the methods of a Bench and forwards them to one in a child process. A crash, a kill or a hang ends the
child but not the sweep; the next request starts a fresh child. A Request goes down; any number of Said, then an Answer,
come back. A child whose parent died removes the directory it was writing.
"""

import shutil
import signal
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import msgspec

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.records import Record
from ridgeline.capture.sweep.bench import Place, Progress
from ridgeline.child_process import Child, ChildEnded, Parent
from ridgeline.errors import needed

BENCH = "ridgeline.capture.sweep.bench:Bench"
"""The class that does the work, as `module:name`."""

COUNTERS_LIMIT_S = 120.0
"""Time limit between two messages while counters are read; a longer silence is a hang."""


class Request(msgspec.Struct, frozen=True):
    """A method of the bench and its arguments but `progress`; an orphaned child removes `directory`."""

    method: str
    arguments: tuple[Any, ...]
    directory: Path | None = None


class Said(msgspec.Struct, frozen=True):
    """A line of progress."""

    text: str


class Answer(msgspec.Struct, frozen=True):
    """The method's return value, or its exception as one of capture's own errors."""

    value: Any = None
    error: CaptureError | None = None


def describe_error(error: Exception) -> str:
    """Return an exception in one line. Capture's own are sentences; others are prefixed with their type."""
    if isinstance(error, CaptureError):
        return str(error)
    if isinstance(error, ImportError):
        return needed(error)
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def serve(bench: str) -> None:
    """Answer requests with an object of the class named `bench`, in the child, until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which kills this process
    parent = Parent(orphaned=_remove_directory)
    module, _, name = bench.partition(":")
    instance: Any = None
    while True:
        request = parent.receive()
        try:
            instance = instance or getattr(import_module(module), name)()
            method = getattr(instance, request.method)
            answer = Answer(method(*request.arguments, lambda text: parent.send(Said(text))))
        except Exception as error:
            raised = error if isinstance(error, CaptureError) else CaptureError(describe_error(error))
            raised.__traceback__ = None  # its frames would keep the failed point's tensors alive
            answer = Answer(error=raised)
        parent.send(answer)


def _remove_directory(request: Request | None) -> None:
    if request and request.directory:
        shutil.rmtree(request.directory, ignore_errors=True)


class Worker:
    """A bench in a child process. Its methods raise CaptureError if the child dies or exceeds a time limit."""

    def __init__(self, bench: str = BENCH) -> None:
        self._bench = bench
        self._child: Child | None = None

    def places(self, points: list[Point], progress: Progress) -> dict[str, Place]:
        """As Bench.places."""
        return cast(dict[str, Place], self._ask(Request("places", (points,)), "starting", progress))

    def ceilings(self, point: Point, shared: Path, progress: Progress) -> dict[str, Any]:
        """As Bench.ceilings."""
        return cast(dict[str, Any], self._ask(Request("ceilings", (point, shared)), "measuring ceilings", progress))

    def record(self, point: Point, directory: Path, progress: Progress) -> Record:
        """As Bench.record."""
        return cast(Record, self._ask(Request("record", (point, directory), directory), None, progress))

    def count(self, point: Point, directory: Path, method: str, progress: Progress) -> Record | None:
        """As Bench.count, with the time limit COUNTERS_LIMIT_S between two messages."""
        request = Request("count", (point, directory, method), directory)
        answer = self._ask(request, "reading counters", progress, limit_s=COUNTERS_LIMIT_S)
        return cast(Record | None, answer)

    def close(self) -> None:
        """Kill the child; the next request starts a fresh one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _ask(self, request: Request, doing: str | None, progress: Progress, *, limit_s: float | None = None) -> Any:
        """Return what the bench returned. Errors name what was `doing`, or else the last line of progress."""
        if self._child is None or self._child.has_exited():
            self.close()
            code = f"from ridgeline.capture.sweep.worker import serve; serve({self._bench!r})"
            self._child = Child(code)
        child, said = self._child, "starting"
        try:
            child.send(request)
            while isinstance(message := child.receive(limit_s), Said):
                said = message.text.partition(",")[0]  # "timing, repeat 1 of 3" was doing "timing"
                progress(message.text)
        except ChildEnded as error:
            printed = child.last_line()
            self.close()
            ending = f"the worker {error} while {doing or said}"
            raise CaptureError(f"{ending}; it wrote: {printed}" if printed else ending) from None
        except BaseException:
            self.close()  # an interrupted child is in no state to be asked again
            raise
        if message.error is not None:
            raise message.error
        return message.value
