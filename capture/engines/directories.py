"""Run directories of an engine's traces: one, or one a rank."""

import gzip
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ridgeline.capture.engines import traces
from ridgeline.capture.engines.engine import Engine
from ridgeline.capture.engines.traces import Trace
from ridgeline.capture.environment import ridgeline_version
from ridgeline.capture.measuring import cleaning
from ridgeline.capture.recording.ranks import place
from ridgeline.capture.recording.run_directory import write_record
from ridgeline.capture.records import FORMAT, Job


def write(
    path: Path,
    name: str,
    found: Sequence[Trace],
    captures: Sequence[Path],
    engine: Engine,
    *,
    experiment: str,
    facts: dict[str, Any],
) -> None:
    """Write the run of the traces `found` into the directory `path`, with a directory a rank if there are several.

    `captures` are the traces of graph captures; `facts` go into run.json's config.
    """
    for trace, job in zip(found, _jobs(found), strict=True):
        directory, run = place(path, name, job)
        directory.mkdir(exist_ok=True)
        trace.copy.rename(directory / "trace.json.gz")
        _write_captures(directory, traces.of_rank(list(captures), job.rank if job else 0))
        write_record(directory, _record(run, trace, job, engine, experiment, facts))


def _jobs(found: Sequence[Trace]) -> list[Job | None]:
    """The rank of each trace: as the traces say, if their ranks are distinct, else in the order of their names."""
    if len(found) == 1:
        return [None]
    ranks = [trace.rank for trace in found]
    if None in ranks or len(set(ranks)) < len(ranks):
        ranks = list(range(len(found)))
    digest = hashlib.sha256("\n".join(sorted(trace.source.name for trace in found)).encode()).hexdigest()[:16]
    world_size = max(len(found), *(rank + 1 for rank in ranks if rank is not None))
    return [Job(id=digest, rank=rank, world_size=world_size) for rank in ranks if rank is not None]


def _record(
    run: str, trace: Trace, job: Job | None, engine: Engine, experiment: str, facts: dict[str, Any]
) -> dict[str, Any]:
    """The content of run.json: what the engine and the trace's own header say, and nothing else."""
    execution = None  # where a part of the steps is compiled
    if trace.has(traces.REPLAYS) or not trace.has(traces.COMPILED):
        execution = "cuda_graph" if trace.has(traces.REPLAYS) else "eager"
    return {
        "format": FORMAT,
        "name": run,
        "experiment": experiment,
        "outcome": "ok",
        "config": {"execution": execution, **engine.config(), **facts},
        "model": {"name": engine.model} if engine.model else {},
        "environment": _environment(trace.content.header, engine),
        "timings": [],
        **({"job": job} if job else {}),
    }


def _environment(header: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """The device that the trace's header names, and the versions that it and the engine state."""
    devices = header.get("deviceProperties")
    names = [each["name"] for each in devices or [] if isinstance(each, dict) and isinstance(each.get("name"), str)]
    version = header.get("cuda_runtime_version")
    return {
        "device": names[0] if names else "cpu",
        "device_kind": "cuda" if names else "cpu",
        "torch": engine.torch,
        "cuda": f"{version // 1000}.{version % 1000 // 10}" if isinstance(version, int) and version >= 1000 else None,
        "ridgeline": ridgeline_version(),
        "engine": engine.name,
        "engine_version": engine.version,
    }


def _write_captures(directory: Path, files: Sequence[Path]) -> None:
    """Copy the traces of graph captures, cleaned, to where the analysis looks for them, with their list as it is."""
    if not files:
        return
    folder = directory / traces.CAPTURE_FOLDERS[0]
    folder.mkdir()
    for path in files:
        if path.name == traces.DETAILS:
            shutil.copyfile(path, folder / path.name)
            continue
        target = folder / f"{path.name.removesuffix('.gz')}.gz"
        try:
            with (
                gzip.open(path) if path.suffix == ".gz" else path.open("rb") as source,
                gzip.open(target, "wb") as copy,
            ):
                cleaning.copy(source, copy, trace_name=path.name)
        except (EOFError, ValueError, OSError):
            target.unlink(missing_ok=True)  # one of many, cut off or of another kind
