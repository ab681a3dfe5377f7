"""Writes the run directory of a recording: whole, or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from ridgeline.capture.ceilings import ceiling
from ridgeline.capture.ceilings.measure import kept
from ridgeline.capture.measuring import peak_memory
from ridgeline.capture.recording import ranks, run_directory
from ridgeline.capture.recording.findings import Findings
from ridgeline.capture.recording.outcomes import one_line, outcome_of
from ridgeline.capture.recording.plan import Pass
from ridgeline.capture.records import Job

Say = Callable[[str], None]


def finish(
    findings: Findings,
    path: Path,
    device: torch.device,
    modules: Sequence[nn.Module],
    error: BaseException | None,
    say: Say,
) -> Path | None:
    """Write the run directory of a recording and return where; None where there is nothing to write.

    `error` is the exception that ended the program, if any did before the planned steps were traced. Ranks of a job
    write into a directory each inside of `path`. Raises OSError where it cannot be written, and CaptureError where
    something that is no run stands there.
    """
    findings.job = findings.job or ranks.rank_of_process()
    directory, findings.name = ranks.place(path, findings.name, findings.job)
    failed = isinstance(error, Exception) and not findings.complete
    if not failed and Pass.traced not in findings.traces:
        remedy = "more steps, or fewer that warm up and are timed"
        if findings.generations:
            remedy = "steps in every generation: `for _ in rec.generations():` around them, run to its end"
        say(f"{directory} is not written: no step was traced, {findings.ran} ran; expected {remedy}.")
        return None
    if failed and not findings.ran:
        return None
    if failed:
        findings.traces.clear()
        findings.window, findings.counted = [], None
    record = findings.record(device, modules)  # which also decides which counters stay
    if failed and error is not None:
        record.outcome, record.message = outcome_of(error)
    with run_directory.written(directory, replace=True) as temporary:
        findings.write(temporary)
        run_directory.write_record(temporary, record)
        if findings.job is not None:  # once all is written, so that a full disk leaves what was there
            run_directory.make_room_for_ranks(path, findings.job.world_size)
    return directory


def add_ceilings(directory: Path, path: Path, job: Job | None, device: torch.device, say: Say) -> None:
    """Write the device's ceilings into the run `directory`: those in the folder of `path`, else measured for both.

    Of the ranks of a job the first one measures; the others find its ceilings in the folder above theirs. What fails is
    said: datasheets can replace a measurement.
    """
    if job is not None and job.rank != 0:
        return
    shared = path.absolute().parent / ceiling.FILE_NAME
    try:
        if ceiling.stored(shared, device) is None:
            say(f"measuring the device's ceilings, once for {shared.parent}")
        # The program's random numbers stay as they were.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            ceilings = kept(shared, device)
        peak_memory.release(device)
        for folder in {directory, path} if job is not None else {directory}:
            ceiling.save(folder / ceiling.FILE_NAME, ceilings)
    except Exception as error:
        say(f"ceilings: not measured: {one_line(error)}")
