"""Run a command in a process of its own: how long it took and the most memory its process tree held."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import psutil

SAMPLE_EVERY_S = 0.02


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int
    stdout: str


class CommandFailed(Exception):
    """A measured command did not exit with 0."""


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, sample: bool = False) -> Run:
    """Run to the end. `sample` adds up the resident memory of the whole tree as it runs, which costs some of a core;
    without it the peak is that of the largest single process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(env or {})})
        sampler = _Sampler(process.pid) if sample else None
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = max(usage.ru_maxrss * 1024, sampler.stop() if sampler else 0)
        if process.returncode:
            raise CommandFailed(f"{' '.join(command)} exited with {process.returncode}:\n{_tail(err)}")
        out.seek(0)
        return Run(seconds, peak, out.read().decode())


class _Sampler:
    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak

    def _loop(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            self._peak = max(self._peak, _tree_bytes(self._root))


def _tree_bytes(root: psutil.Process) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


def _tail(file: IO[bytes], lines: int = 20) -> str:
    file.seek(0)
    return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
