"""Hardware counters of a recorded point: by CUPTI in this process, or by Nsight Compute in a child of its own."""

import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from ridgeline import IMPORT_ROOT
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.counters import by_cupti as counters
from ridgeline.capture.counters import by_ncu as nsight
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.execution import Direct, walk
from ridgeline.capture.steps import Step
from ridgeline.child_process import describe, last_line

Progress = Callable[[str], None]
CUPTI_FILE = "trace.counters.csv.gz"
NCU_FILE = "trace.ncu.csv.gz"
NCU_LIMIT_S = 900.0
"""Seconds Nsight Compute may take for one step: it needs some 40 ms a kernel, and its child makes the weights anew."""

NCU_SILENCE_S = 60.0
"""Seconds in which neither it nor its child may write anything: it tells of each kernel, its child of each step."""

_POLL_S = 5.0


def count(
    point: Point,
    window: Sequence[Step],
    launched: Direct,
    device: torch.device,
    directory: Path,
    method: str,
    say: Progress,
) -> dict[str, Any] | None:
    """Count the steps of `window` into files of `directory`; what was counted and what it cost, for run.json.

    `method` is `auto`, `cupti` or `ncu`. With `auto` it is CUPTI where that works, else Nsight Compute where that is
    installed, else nothing, and which and why is told; with `ncu` a step is counted by both where both work, and
    compared. None where `auto` finds no CUDA device.
    """
    if method == "auto" and device.type != "cuda":
        return None
    capability = counters.probe(device)
    ncu = nsight.find() if device.type == "cuda" else None
    told: dict[str, Any] = {"outcome": "ok", "cupti": capability.reason}
    if capability.works:
        say("counters by CUPTI")
        told |= by_cupti(point, window, launched, device, directory, say)
    if method == "ncu" or (method == "auto" and not capability.works and ncu is not None):
        told |= _second(point, window[-1], directory, ncu, say, first="method" in told)
    if not {"method", "ncu"} & told.keys():
        wanted = (
            "Nsight Compute (ncu) is not installed either" if method == "auto" else f"counters = {method} was asked for"
        )
        return {"outcome": "failed", "reason": f"{capability.reason}; {wanted}"}
    return told


def by_cupti(
    point: Point, window: Sequence[Step], launched: Direct, device: torch.device, directory: Path, say: Progress
) -> dict[str, Any]:
    """Count by CUPTI's range profiler: what its report says."""
    report = counters.record(
        window,
        launched.run,
        device,
        directory / CUPTI_FILE,
        prepare=lambda: go_to(launched, window[0], say),
        windows=sets(point),
    )
    told = {name: value for name, value in msgspec.to_builtins(report).items() if value}
    return told if report.windows else {**told, "outcome": "failed", "reason": "; ".join(report.problems)}


TENSOR_SETS = {"bf16": "tensor", "fp16": "tensor_fp16", "fp32": "tensor_tf32"}
"""The set that counts the tensor operations of a dtype; they do not all fit one pass."""


def sets(point: Point) -> tuple[str, ...]:
    """The metric sets that a point's `counted` asks for."""
    tensor = (TENSOR_SETS[point.dtype],)
    return {"memory": ("memory",), "tensor": ("memory", *tensor), "all": ("memory", *tensor, "sass")}[point.counted]


def go_to(launched: Direct, first: Step, say: Progress = lambda _: None) -> None:
    """Bring a generation to just before a step. That may take minutes, so it says how far it is."""
    launched.generation.reset()
    for step in walk(launched.generation):
        if step.index == first.index:
            return
        say(f"going to step {first.index} to count it, at {step.index}")
        launched.run(step)


def _second(
    point: Point, step: Step, directory: Path, ncu: Path | None, say: Progress, *, first: bool
) -> dict[str, Any]:
    """Count by Nsight Compute. Where CUPTI counted `first`, its failure is told and costs nothing."""
    try:
        return _by_ncu(point, step, directory, ncu, say)
    except CaptureError as error:
        if not first:
            raise
        return {"ncu": {"outcome": "failed", "reason": str(error)}}


def _by_ncu(point: Point, step: Step, directory: Path, ncu: Path | None, say: Progress) -> dict[str, Any]:
    """Count one step by Nsight Compute, and compare with CUPTI's counters of the same step where there are some."""
    if ncu is None:
        raise CaptureError("Nsight Compute (ncu) is not installed; install it, or choose --counters cupti.")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        task, output = Path(temporary) / "task.json", Path(temporary) / "ncu.csv"
        task.write_bytes(msgspec.json.encode({"point": _anywhere(point), "step": step.index}))
        _run(
            nsight.command([sys.executable, "-m", "ridgeline.capture.sweep.one_step", str(task)], output, ncu=ncu),
            output,
            say,
        )
        lines = [line for line in output.read_text().splitlines(keepends=True) if not line.startswith("==")]
    kernels = nsight.read(_written(directory / NCU_FILE, "".join(lines)))
    told: dict[str, Any] = {"step": step.index, "kernels": len(kernels), "seconds": time.perf_counter() - started}
    if (directory / CUPTI_FILE).exists():
        ours = [
            row for row in counters.read(directory / CUPTI_FILE) if row.step == step.index and row.window == "memory"
        ]
        told["agreement"] = msgspec.to_builtins(nsight.agree(ours, kernels))
    return {"ncu": told}


def _anywhere(point: Point) -> Point:
    """The point as a process in another folder may read it."""
    if point.checkpoint is None:
        return point
    return msgspec.structs.replace(point, checkpoint=str(Path(point.checkpoint).resolve()))


def _written(path: Path, text: str) -> Path:
    """A gzipped file."""
    with gzip.open(path, "wt", newline="") as file:
        file.write(text)
    return path


def _run(command: list[str], log: Path, say: Progress) -> None:
    """Run a program that writes to `log`, and say now and then that it still runs.

    Its standard input ends when it is ended, for what it started. Raises CaptureError when it fails, takes too long or
    falls silent.
    """
    started = heard = time.monotonic()
    written = -1
    with tempfile.TemporaryFile() as noise:
        with subprocess.Popen(
            command, cwd=IMPORT_ROOT, stdin=subprocess.PIPE, stdout=noise, stderr=subprocess.STDOUT
        ) as child:
            try:
                while child.poll() is None:
                    now = time.monotonic()
                    before, written = written, os.fstat(noise.fileno()).st_size + _size(log)
                    heard = now if written != before else heard
                    _check_time(now - started, now - heard)
                    say(f"counters by Nsight Compute, {now - started:.0f} s")
                    time.sleep(_POLL_S)
            finally:
                child.kill()
        if child.returncode != 0:
            message = last_line(noise) or "it printed nothing"
            raise CaptureError(f"Nsight Compute {describe(child.returncode)}: {message}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_time(passed_s: float, silent_s: float) -> None:
    if passed_s > NCU_LIMIT_S:
        raise CaptureError(f"Nsight Compute took more than {NCU_LIMIT_S:.0f} s for a step; it was ended.")
    if silent_s > NCU_SILENCE_S:
        raise CaptureError(f"Nsight Compute hung: it wrote nothing for {NCU_SILENCE_S:.0f} s; it was ended.")
