"""The process that points run in: how it is asked, and what is said when it dies.

A Worker has the methods of a Bench and forwards them to one in a child process, which a crash, a kill or a hang may
take without taking the sweep; the next request starts a fresh child. They speak pickles over a socket: a Request down;
any number of Said, then Returned or Raised, up. When the socket closes, for whatever reason, the child ends at once and
takes the directory it was writing along.
"""

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import PickleError
from typing import IO, Any, cast

import msgspec

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.records import Record
from ridgeline.capture.sweep.bench import Place, Progress

BENCH = "ridgeline.capture.sweep.bench:Bench"
"""Where the class is found that does the work."""

COUNTERS_LIMIT_S = 120.0
"""Seconds that reading counters may say nothing, before it is taken to hang."""

LAST_WORDS_S = 2.0
"""Seconds that a child whose socket has closed may take to end, before it is killed."""


class Request(msgspec.Struct, frozen=True):
    """A method of the bench and its arguments but `progress`; `directory` is what a child left alone removes."""

    method: str
    arguments: tuple[Any, ...]
    directory: Path | None = None


class Said(msgspec.Struct, frozen=True):
    """What is under way."""

    text: str


class Returned(msgspec.Struct, frozen=True):
    """What the method returned."""

    value: Any


class Raised(msgspec.Struct, frozen=True):
    """What the method raised, as one of capture's own errors."""

    error: CaptureError


def told(error: Exception) -> str:
    """An exception in one line: capture's own are sentences, others need their type."""
    if isinstance(error, CaptureError):
        return str(error)
    if isinstance(error, ImportError):
        return f"{error.name or 'a library'} cannot be imported here ({error}); capture needs it: install it."
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def serve(descriptor: int, bench: str) -> None:
    """Answer requests until the socket closes: what the child runs."""
    os.set_inheritable(descriptor, False)  # Or a process of ours would keep the socket open.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), name="requests", daemon=True).start()
    made: Any = None
    while True:
        request = requests.get()
        try:
            made = made or _made(bench)
            answer: Returned | Raised = Returned(
                getattr(made, request.method)(*request.arguments, lambda text: connection.send(Said(text)))
            )
        except Exception as error:
            answer = Raised(error if isinstance(error, CaptureError) else CaptureError(told(error)))
            answer.error.__traceback__ = None  # It would keep alive what failed.
        with suppress(OSError):  # Nobody is left to hear it: the other thread is about to end us.
            connection.send(answer)


def _made(bench: str) -> Any:
    """The object of a class named `module:name`."""
    module, _, name = bench.partition(":")
    return getattr(import_module(module), name)()


def _listen(connection: Connection, requests: "queue.SimpleQueue[Request]") -> None:
    """Queue what is asked for; when nobody is left to ask, end this process and all it started, whatever they do."""
    directory = None
    try:
        while True:
            request = connection.recv()
            directory = request.directory
            requests.put(request)
    except Exception:  # The end of it, or what cannot be understood.
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        _kill_group(os.getpid())


def _kill_group(leader: int) -> None:
    """Kill a process that leads its group, and the group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


class _Child:
    """A running child and what connects us to it."""

    def __init__(self, bench: str) -> None:
        # What native libraries write goes to a file without a name: it must not garble the terminal.
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- It lives as long as the child.
        self._heard = 0
        self._connection, theirs = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; from ridgeline.capture.sweep.worker import serve"
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{code}; serve({theirs.fileno()}, {bench!r})"],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[theirs.fileno()],
            process_group=0,  # Of its own, so that Ctrl-C is ours to handle and what it starts ends with it.
        )
        theirs.close()

    def has_ended(self) -> bool:
        """Whether nobody is left to ask. The process stays a zombie, so that its number remains its own."""
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def send(self, request: Request) -> None:
        """Ask. Where nobody is left to ask, `receive` tells."""
        self._heard = self._written()
        with suppress(OSError):
            self._connection.send(request)

    def receive(self, doing: str, limit_s: float | None) -> Said | Returned | Raised:
        """The next message. Raises CaptureError when the child is dead, or silent for `limit_s`."""
        try:
            if self._connection.poll(limit_s):
                return cast(Said | Returned | Raised, self._connection.recv())
        except (EOFError, OSError, PickleError):
            raise CaptureError(self._obituary(doing)) from None
        raise CaptureError(f"the worker said nothing for {limit_s:g} s while {doing}")

    def end(self) -> None:
        """Kill it and all it started, and let go of what it wrote."""
        self._kill()
        self._connection.close()
        self._output.close()

    def _kill(self) -> int:
        """The exit status."""
        if self._process.returncode is None:
            _kill_group(self._process.pid)
        return self._process.wait()

    def _obituary(self, doing: str) -> str:
        """How it died, and the last it had to say."""
        deadline = time.monotonic() + LAST_WORDS_S
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.01)
        last = self._last_line()
        return f"the worker {_cause(self._kill())} while {doing}" + (f"; it wrote: {last}" if last else "")

    def _last_line(self) -> str | None:
        """The last line written since the request, without folders: these are the machine's own."""
        start = max(self._heard, self._written() - 4096)
        lines = os.pread(self._output.fileno(), 4096, start).decode(errors="replace").splitlines()
        written = [line.strip() for line in lines if line.strip()]
        return re.sub(r"(?:/[^\s/:'\"]+)+/", "", written[-1])[:300] if written else None

    def _written(self) -> int:
        """Bytes written so far."""
        return os.fstat(self._output.fileno()).st_size


def _cause(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"ended with exit code {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    hint = ", as the system does when host memory runs out," if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


class Worker:
    """A bench in a child process. Its methods raise CaptureError when the child dies or is silent for too long."""

    def __init__(self, bench: str = BENCH) -> None:
        self._bench = bench
        self._child: _Child | None = None

    def places(self, points: list[Point], progress: Progress) -> dict[str, Place]:
        """As of the bench."""
        return cast(dict[str, Place], self._ask(Request("places", (points,)), "starting", progress))

    def ceilings(self, point: Point, shared: Path, progress: Progress) -> dict[str, Any]:
        """As of the bench."""
        return cast(dict[str, Any], self._ask(Request("ceilings", (point, shared)), "measuring ceilings", progress))

    def record(self, point: Point, directory: Path, progress: Progress) -> Record:
        """As of the bench."""
        return cast(Record, self._ask(Request("record", (point, directory), directory), None, progress))

    def count(self, point: Point, directory: Path, method: str, progress: Progress) -> Record | None:
        """As of the bench, but silent for no longer than COUNTERS_LIMIT_S."""
        request = Request("count", (point, directory, method), directory)
        answer = self._ask(request, "reading counters", progress, limit_s=COUNTERS_LIMIT_S)
        return cast(Record | None, answer)

    def close(self) -> None:
        """End the child; another request starts a fresh one."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _ask(self, request: Request, doing: str | None, progress: Progress, *, limit_s: float | None = None) -> Any:
        """What the bench returned. `doing` says in an error what was under way; None for what it said last."""
        if self._child is None or self._child.has_ended():
            self.close()
            self._child = _Child(self._bench)
        child, said = self._child, "starting"
        try:
            child.send(request)
            while isinstance(message := child.receive(doing or said, limit_s), Said):
                said = message.text.partition(",")[0]
                progress(message.text)
        except BaseException:
            self.close()  # Dead, hanging or interrupted: in no state to be asked again.
            raise
        if isinstance(message, Raised):
            raise message.error
        return message.value
