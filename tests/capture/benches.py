"""A bench without torch that acts by the names of its points and logs each call into the folder of runs."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.points import points
from ridgeline.capture.errors import DeviceError
from ridgeline.capture.recording import run_directory
from ridgeline.capture.records import Environment, Record, Scaled, Timing
from ridgeline.capture.sweep.bench import Place

MEMORY_BYTES = 10**9
PLACE = Place(
    environment=Environment(
        device="Fake 1000",
        device_kind="cpu",
        driver=None,
        torch="0",
        cuda=None,
        transformers="0",
        python="0",
        ridgeline="0",
    ),
    memory_bytes=MEMORY_BYTES,
)


def make_point(name: str = "", **keys: Any) -> Point:
    """A small point, named for what the bench shall do."""
    small = {"model": "tiny-llama", "mode": "ar", "prompt_tokens": 8, "generated_tokens": 4, "dtype": "fp32"}
    (point,) = points({**small, **keys, **({"name": name} if name else {})})
    return point


def log(out: Path) -> list[tuple[int, str, str]]:
    """Calls so far: the process, the method and the point."""
    lines = (out / ".log").read_text().splitlines() if (out / ".log").exists() else []
    return [(int(pid), method, name) for pid, method, name in (line.split() for line in lines)]


class Fake:
    """As ridgeline.capture.sweep.bench.Bench."""

    def places(self, points: list[Point], progress: Callable[[str], None]) -> dict[str, Place]:
        if any(point.name == "refused" for point in points):
            raise DeviceError("refused: this device lacks bf16.")
        if any(point.name == "unable" for point in points):
            os._exit(3)
        return {"auto": PLACE, "cpu": PLACE}

    def ceilings(self, point: Point, shared: Path, progress: Callable[[str], None]) -> dict[str, Any]:
        progress("memory")
        if point.name == "roofless":
            raise RuntimeError("no roof")
        shared.write_text("{}")
        return {"format": 1}

    def record(self, point: Point, directory: Path, progress: Callable[[str], None]) -> Record:
        _write_log(directory, "record", point)
        progress("making weights")
        (directory / "trace.json.gz").write_bytes(b"trace")
        progress("timing, repeat 1 of 3")
        if point.name.startswith("big"):
            result = _unfinished(point, "oom", "CUDA out of memory. Tried to allocate 2.00 GiB.")
        elif point.name == "captured":
            result = _unfinished(point, "oom", "CUDA out of memory. (AcceleratorError: CUDA error: capture failed)")
        elif point.name == "assert":
            result = _unfinished(point, "error", "AcceleratorError: CUDA error: device-side assert triggered")
        elif point.name == "plain":
            result = _unfinished(point, "error", "ValueError: odd")
        else:
            _do(point.name)
            result = _finished(point)
            if point.name == "half-lost":
                lost = "AcceleratorError: CUDA error: an illegal memory access was encountered"
                result.scaled = Scaled(layers=2, other_depth=1, of=4, message=lost)
        run_directory.write_record(directory, result)
        return result

    def count(self, point: Point, directory: Path, method: str, progress: Callable[[str], None]) -> Record | None:
        _write_log(directory, f"count-{method}", point)
        (directory / "trace.counters.csv.gz").write_bytes(b"half")
        (directory / "run.json").write_bytes(b"half")
        progress("window 1 of 3")
        _do(point.name.removeprefix("counters-"))
        counted = _finished(point)
        counted.counters = {"outcome": "ok", "method": method}
        run_directory.write_record(directory, counted)
        return counted

    def close(self) -> None:
        """Nothing to let go of."""


def _do(name: str) -> None:
    """What a name says; nothing for most."""
    if name == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "segfault":
        sys.stderr.write("first\n/home/someone/lib/native.cpp:12: all is lost\n")
        sys.stderr.flush()
        ctypes.string_at(0)
    elif name == "noisy":
        print("somebody's banner", flush=True)
    elif name == "exit":
        sys.exit(7)
    elif name == "raise":
        raise ValueError("odd\nsecond line")
    elif name == "hang":
        time.sleep(60)
    elif name == "spin":
        while True:
            pass


def _unfinished(point: Point, outcome: str, message: str) -> Record:
    return run_directory.unfinished(point, PLACE.environment, outcome=outcome, message=message)


def _finished(point: Point) -> Record:
    """A record with numbers enough to be summarized."""
    result = _unfinished(point, "ok", "")
    result.message = None
    result.tokens = {"committed": 4, "forwards": {"decode": 4}}
    result.timings = [
        Timing(metric=metric, phase=None, kind=None, step=None, repeat=0, value_ns=1, started_ns=0)
        for metric in ("end_to_end", "ttft")
    ]
    return result


def _write_log(directory: Path, method: str, point: Point) -> None:
    with (directory.parent / ".log").open("a") as file:
        file.write(f"{os.getpid()} {method} {point.directory}\n")
