"""Child processes: each runs Ridgeline's own Python, exchanges messages with its parent, and dies with it.

Parent and child send pickles over two pipes. The parent has a :class:`Child`; the code that the child runs makes a
:class:`Parent`. When the parent ends, however it ends, its ends of the pipes close: a thread of the child sees that and
kills the child's process group, whatever the child is doing then.

The children are plain processes, not forks: they are safe whatever threads the parent has, and start with few imports.
"""

from __future__ import annotations

import os
import pickle
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, Any

from ridgeline import IMPORT_ROOT

EXIT_LIMIT_S = 2.0
"""Seconds that a child may take to exit after it closed its pipe."""
_LAST_LINE_BYTES = 4096


class ChildEnded(Exception):
    """The child exited, was silent past its time limit, or closed its pipe.

    The message is a predicate, such as ``crashed with SIGSEGV``. ``exit_code`` is None if the child did not exit by
    itself, and negative after a signal, as in :mod:`subprocess`.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Channel:
    """One side of the pipes: pickles, each after its length. :mod:`multiprocessing` has the same and takes 10 ms."""

    def __init__(self, read_end: int, write_end: int) -> None:
        self._ends = read_end, write_end

    def send(self, message: object) -> None:
        """Send a message. Raises ``OSError`` if the other side is gone."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        for part in (len(data).to_bytes(8, "little"), data):
            left = memoryview(part)
            while left:
                left = left[os.write(self._ends[1], left) :]

    def receive(self) -> Any:
        """Return the next message. Raises ``EOFError`` if the other side is gone, and whatever unpickling raises."""
        return pickle.loads(self._read(int.from_bytes(self._read(8), "little")))

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            read = os.readv(self._ends[0], [left])
            if not read:
                raise EOFError
            left = left[read:]
        return data

    def poll(self, limit_s: float | None) -> bool:
        """Wait up to ``limit_s`` seconds; return True if :meth:`receive` has something to return or to raise."""
        poll = select.poll()
        poll.register(self._ends[0], select.POLLIN)
        return bool(poll.poll(None if limit_s is None else 1000 * limit_s))

    def close(self) -> None:
        """Close both ends. Afterwards every method raises ``OSError`` or ``ValueError``."""
        ends, self._ends = self._ends, (-1, -1)  # their numbers may soon be those of other files
        for end in ends:
            with suppress(OSError):
                os.close(end)


class Child:
    """A running child process. Leaving its context, or :meth:`kill`, ends it and the processes it started.

    ``program`` is the Python code that the child runs; it must make a :class:`Parent` to receive messages. Standard
    output and standard error of the child go to an unnamed file, so libraries cannot garble the terminal. A child
    ``without_site`` starts sooner: it takes over this process's ``sys.path``, and runs no ``.pth`` file.
    """

    def __init__(
        self, program: str, environment: Mapping[str, str] | None = None, *, without_site: bool = False
    ) -> None:
        import subprocess  # most commands and all children start none

        self._output_start = 0
        inherited = sys.path[not sys.flags.safe_path :] if without_site else [os.environ.get("PYTHONPATH")]
        path = os.pathsep.join(filter(None, [str(IMPORT_ROOT), *inherited]))
        (requests, to_child), (from_child, answers) = os.pipe(), os.pipe()
        self._channel = Channel(from_child, to_child)
        self._output = _unnamed_file()
        try:
            self._process = subprocess.Popen(
                # -P: a module in the current folder must not shadow a library
                [sys.executable, *["-S"][:without_site], "-P", "-c", program, str(requests), str(answers)],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[requests, answers],
                env={**os.environ, **(environment or {}), "PYTHONPATH": path},
                process_group=0,  # the terminal sends Ctrl-C to the parent alone, and kill reaches grandchildren
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            Channel(requests, answers).close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id; it is also the id of the child's process group."""
        return self._process.pid

    def has_exited(self) -> bool:
        """Return True if the process exited. It stays a zombie, so that no other process gets its group's id."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # already waited for
            return True

    def send(self, message: object) -> None:
        """Send a message. If the child is gone, :meth:`receive` raises."""
        self._output_start = os.fstat(self._output.fileno()).st_size
        with suppress(OSError):
            self._channel.send(message)

    def poll(self, limit_s: float | None) -> bool:
        """Wait up to ``limit_s`` seconds; return True if :meth:`receive` has a message or an end to report."""
        try:
            return self._channel.poll(limit_s)
        except (OSError, ValueError):  # the child was killed
            return True

    def receive(self, limit_s: float | None = None) -> Any:
        """Return the next message. Raises :class:`ChildEnded` if none starts within ``limit_s`` seconds."""
        if not self.poll(limit_s):
            raise ChildEnded(f"said nothing for {limit_s:g} seconds")
        try:
            return self._channel.receive()
        except (EOFError, OSError, pickle.PickleError):
            pass
        # the pipe closes before the exit code can be read
        latest_s = time.monotonic() + EXIT_LIMIT_S
        while not self.has_exited():
            if time.monotonic() > latest_s:
                raise ChildEnded("closed its pipe")
            time.sleep(0.01)
        code = self._reap()
        raise ChildEnded(describe(code), code)

    def last_line(self) -> str | None:
        """Return the last line that the child printed since the last request, without the names of folders."""
        return last_line(self._output, self._output_start)

    def stop(self) -> None:
        """Kill the child and every process of its group without waiting for their end."""
        if self._process.returncode is None:  # else the group's id may belong to another process by now
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the child and every process of its group."""
        self._reap()
        self._channel.close()
        self._output.close()

    def _reap(self) -> int:
        """Kill the group, wait for the child and return its exit code."""
        self.stop()
        return self._process.wait()


class Parent:
    """The parent, as the code in the child sees it: :meth:`receive` requests from it and :meth:`send` it answers.

    ``orphaned`` is called with the last request received, or None, when the parent is gone, before the child dies.
    """

    def __init__(self, orphaned: Callable[[Any], None] = lambda _: None) -> None:
        ends = int(sys.argv[1]), int(sys.argv[2])
        for end in ends:
            os.set_inheritable(end, False)  # a process started from here would keep the pipe open
        self._channel = Channel(*ends)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._orphaned = orphaned
        threading.Thread(target=self._listen, name="requests", daemon=True).start()

    def receive(self) -> Any:
        """Wait for the next request and return it."""
        return self._requests.get()

    def send(self, message: object) -> None:
        """Send a message. If the parent is gone, this returns and the other thread is about to kill the process."""
        with suppress(OSError):
            self._channel.send(message)

    def _listen(self) -> None:
        request = None
        try:
            while True:
                request = self._channel.receive()
                self._requests.put(request)
        except Exception:  # the parent is gone, or sent a request that this child cannot unpickle
            self._orphaned(request)
        finally:
            os.killpg(os.getpid(), signal.SIGKILL)


def _unnamed_file() -> IO[bytes]:
    """Return an open file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("output"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def describe(exit_code: int) -> str:
    """Return how a process ended, as a predicate: ``ended with exit code 3``, ``crashed with SIGSEGV``."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"was killed by {name} (out of memory?)" if number == signal.SIGKILL else f"crashed with {name}"


def last_line(file: IO[Any], start: int = 0) -> str | None:
    """Return the last line of a file that is not blank, from byte ``start`` on, without the names of folders."""
    size = os.fstat(file.fileno()).st_size
    tail = os.pread(file.fileno(), _LAST_LINE_BYTES, max(start, size - _LAST_LINE_BYTES))
    lines = [line.strip() for line in tail.decode(errors="replace").splitlines() if line.strip()]
    # folders name users and machines, and messages are stored in run.json
    return re.sub(r"(?:/[^\s/:'\"]+)+/", "", lines[-1])[:300] if lines else None
