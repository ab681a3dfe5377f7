"""Hardware counters of a recorded point: by CUPTI in this process, or by Nsight Compute in a child process."""

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
from ridgeline.capture.counters import by_cupti, by_ncu
from ridgeline.capture.counters.counting import FILE
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.execution import Direct, walk
from ridgeline.capture.steps import Step
from ridgeline.child_process import describe, last_line

Progress = Callable[[str], None]
NCU_FILE = "trace.ncu.csv.gz"
NCU_LIMIT_S = 900.0
"""Time limit of Nsight Compute for one step: about 40 ms per kernel, after its child has made the weights again."""

NCU_SILENCE_S = 60.0
"""Time limit between two lines of Nsight Compute or its child, which print one per kernel and one per step."""

TENSOR_SETS = {"bf16": "tensor", "fp16": "tensor_fp16", "fp32": "tensor_tf32"}
"""The metric set that counts the tensor operations of a dtype. One pass does not fit all of them."""

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
    """Count the steps of `window` into files of `directory`. Returns what run.json says of the counters and their cost.

    `method` is `auto`, `cupti` or `ncu`. `auto` uses CUPTI where it works, else Nsight Compute where it is installed.
    `ncu` counts one step by Nsight Compute, and by CUPTI as well where that works, and compares the two. Returns None
    for `auto` on a device other than CUDA. Raises CaptureError if `ncu` fails and CUPTI counted nothing.
    """
    if method == "auto" and device.type != "cuda":
        return None
    capability = by_cupti.probe(device)
    ncu = by_ncu.find() if device.type == "cuda" else None
    counters: dict[str, Any] = {"outcome": "ok", "cupti": capability.reason}
    if capability.works:
        say("counters by CUPTI")
        counters |= count_by_cupti(point, window, launched, device, directory, say)
    if method == "ncu" or (method == "auto" and not capability.works and ncu is not None):
        try:
            counters["ncu"] = _count_by_ncu(point, window[-1], directory, ncu, say)
        except CaptureError as error:
            if "method" not in counters:
                raise
            counters["ncu"] = {"outcome": "failed", "reason": str(error)}
    if not {"method", "ncu"} & counters.keys():
        remedy = "Nsight Compute (ncu) is not installed either" if method == "auto" else "choose --counters auto or off"
        return {"outcome": "failed", "reason": f"{capability.reason}; {remedy}"}
    return counters


def count_by_cupti(
    point: Point, window: Sequence[Step], launched: Direct, device: torch.device, directory: Path, say: Progress
) -> dict[str, Any]:
    """Count the steps of `window` by CUPTI. Returns its report for run.json, without empty parts."""
    report = by_cupti.record(
        window,
        launched.run,
        device,
        directory / FILE,
        prepare=lambda: go_to(launched, window[0], say),
        windows=sets(point),
    )
    counters = {name: value for name, value in msgspec.to_builtins(report).items() if value}
    return counters if report.windows else {**counters, "outcome": "failed", "reason": "; ".join(report.problems)}


def sets(point: Point) -> tuple[str, ...]:
    """Return the metric sets that a point's `counted` asks for."""
    tensor = TENSOR_SETS[point.dtype]
    return {"memory": ("memory",), "tensor": ("memory", tensor), "all": ("memory", tensor, "sass")}[point.counted]


def go_to(launched: Direct, first: Step, say: Progress = lambda _: None) -> None:
    """Run a generation from its start to just before `first`. That may take minutes, so every step is announced."""
    launched.generation.reset()
    for step in walk(launched.generation):
        if step.index == first.index:
            return
        say(f"going to step {first.index} to count it, at {step.index}")
        launched.run(step)


def _count_by_ncu(point: Point, step: Step, directory: Path, ncu: Path | None, say: Progress) -> dict[str, Any]:
    """Count one step by Nsight Compute, and compare with CUPTI's counters of the same step if there are any."""
    if ncu is None:
        raise CaptureError("Nsight Compute (ncu) is not installed; install it, or choose --counters cupti.")
    started = time.perf_counter()
    if point.checkpoint is not None:  # the child runs in another folder
        point = msgspec.structs.replace(point, checkpoint=str(Path(point.checkpoint).resolve()))
    # Nsight Compute must start the process that it profiles, so the child makes the decoder again.
    with tempfile.TemporaryDirectory() as temporary:
        task, output = Path(temporary) / "task.json", Path(temporary) / "ncu.csv"
        task.write_bytes(msgspec.json.encode({"point": point, "step": step.index}))
        child = [sys.executable, "-m", "ridgeline.capture.sweep.one_step", str(task)]
        _run(by_ncu.command(child, output, ncu=ncu), output, say)
        with gzip.open(directory / NCU_FILE, "wt", newline="") as file:
            # ncu's messages may name folders of this machine
            file.writelines(line for line in output.read_text().splitlines(keepends=True) if not line.startswith("=="))
    kernels = by_ncu.read(directory / NCU_FILE)
    counters = {"step": step.index, "kernels": len(kernels), "seconds": time.perf_counter() - started}
    if (directory / FILE).exists():
        rows = by_cupti.read(directory / FILE)
        # The agreement is judged by DRAM bytes, which the window "memory" counts.
        memory = [row for row in rows if row.step == step.index and row.window == "memory"]
        counters["agreement"] = msgspec.to_builtins(by_ncu.agree(memory, kernels))
    return counters


def _run(command: list[str], log: Path, say: Progress) -> None:
    """Run a command that writes to `log`, and report every few seconds that it still runs.

    Its standard input is a pipe, which closes when this returns: processes that the command started end by that. Raises
    CaptureError if the command fails or exceeds NCU_LIMIT_S or NCU_SILENCE_S.
    """
    started = last_growth = time.monotonic()
    size = -1
    with tempfile.TemporaryFile() as printed:
        with subprocess.Popen(
            command, cwd=IMPORT_ROOT, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.STDOUT
        ) as child:
            try:
                while child.poll() is None:
                    now = time.monotonic()
                    # Either file growing shows that ncu or its child still works.
                    before = size
                    size = os.fstat(printed.fileno()).st_size + (log.stat().st_size if log.exists() else 0)
                    if size != before:
                        last_growth = now
                    if now - started > NCU_LIMIT_S:
                        raise CaptureError(
                            f"Nsight Compute took more than {NCU_LIMIT_S:.0f} s for a step; it was ended."
                        )
                    if now - last_growth > NCU_SILENCE_S:
                        raise CaptureError(
                            f"Nsight Compute hung: it wrote nothing for {NCU_SILENCE_S:.0f} s; it was ended."
                        )
                    say(f"counters by Nsight Compute, {now - started:.0f} s")
                    time.sleep(_POLL_S)
            finally:
                child.kill()
        if child.returncode != 0:
            message = last_line(printed) or "it printed nothing"
            raise CaptureError(f"Nsight Compute {describe(child.returncode)}: {message}")
