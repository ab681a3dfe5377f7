"""From paths to a loaded warehouse: discover, decode, attribute, price, load; each run is stored whole or not at all.

Imports are late on purpose: decoders start first and work while polars, numpy and DuckDB are imported here.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Literal, NamedTuple

from ridgeline.analyze.companions.discovery import Source, discover
from ridgeline.analyze.companions.size_limit import SHARE, sha256_on_disk
from ridgeline.analyze.errors import AnalyzeError, TraceError, is_panic
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.pricer import Pricer
from ridgeline.analyze.reading.decoders import Decoders
from ridgeline.analyze.reading.reader import BLOCK_BYTES, GZIP_ERRORS, LARGEST_EVENT_BYTES, check_size, open_bytes
from ridgeline.analyze.resources.memory_limit import check, decoders_within, default_bytes, resident_bytes
from ridgeline.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    import duckdb

    from ridgeline.analyze.graph_twin import Matched
    from ridgeline.analyze.reading.columns import Columns
    from ridgeline.analyze.run import Beside
    from ridgeline.warehouse.lake import Commit
    from ridgeline.warehouse.load import Batch, RunRows

Outcome = Literal["loaded", "replaced", "unchanged", "failed"]


class Stored(NamedTuple):
    """What the warehouse has of a run."""

    name: str
    content: str
    rules_version: int


Known = dict[str, Stored]
"""By run id."""
LARGE_TRACE_BYTES = 1 << 20
"""A larger trace waits for the runs before it to be stored."""
_UNREADABLE: tuple[type[Exception], ...] = (OSError, TraceError, *GZIP_ERRORS)


@dataclass(frozen=True)
class Result:
    """What became of one run, or of a path that holds none."""

    name: str
    outcome: Outcome
    kernels: int = 0
    device_time_ns: int = 0
    malformed_events: int = 0
    run_id: str | None = None
    """As which it is in the warehouse."""
    same_as: str | None = None
    """The name under which the same trace was loaded before."""
    error: AnalyzeError | None = None
    matched: Matched | None = None
    """What of its graph replays the twin told of, if it has a twin."""
    uncounted: str | None = None
    """What of its counters was not used, and why."""
    warnings: tuple[str, ...] = ()
    """What went wrong without keeping the run from being loaded, a line each."""
    examined: bool = False
    """Whether HTA's analyses were added."""

    def headline(self) -> str:
        """One line for a terminal: the outcome, the device time, and what was left out or not used."""
        if self.error:
            return str(self.error)
        added = ", HTA's analyses added" if self.examined else ""
        if self.outcome == "unchanged":
            same = f", the same trace as {self.same_as}" if self.same_as else ""
            return f"{self.name}: unchanged{same}{added}"
        parts = [self.outcome, f"{self.kernels:,} kernels", f"{self.device_time_ns / 1e6:,.3f} ms of device time"]
        if self.matched and not self.matched.of_kernels:
            parts.append("no graph replays for its twin to match")
        elif self.matched:
            share = self.matched.duration_ns / max(self.matched.of_duration_ns, 1)
            kernels = f"{self.matched.kernels:,} of {self.matched.of_kernels:,} replayed kernels"
            parts.append(f"the twin matched {kernels}, {share:.1%} of their time")
        if self.malformed_events:
            parts.append(f"{self.malformed_events:,} malformed events left out")
        # `runs.counters_message` has the whole message
        counters = f"; counters: {shorten(self.uncounted, 120, placeholder=' ...')}" if self.uncounted else ""
        return f"{self.name}: {', '.join(parts)}{added}{counters}"


def analyze(
    paths: Iterable[Path],
    warehouse: Path,
    *,
    jobs: int = 1,
    report: Callable[[Result], None] = lambda _: None,
    twin: Path | None = None,
    hta: bool = False,
    memory: int | None = None,
    salvage: bool = False,
    lake: str | None = None,
) -> list[Result]:
    """Load every run under ``paths`` into the warehouse file; ``report`` is told of each as it is done.

    ``twin`` is the eager trace of the same steps, for a call with one trace, instead of one beside it. With ``hta``
    HTA's analyses are stored beside ours, also for a run that is there already, unless it has them; what fails of them
    is a warning. They stay until the run is replaced. With ``lake`` each run is written there instead, without HTA's
    analyses, and the warehouse is left alone.

    ``memory`` is what this process and its children may hold, in bytes; 60 % of what there is unless given. A trace
    that does not fit fails, with what it takes.

    With ``salvage`` of a trace that is cut off or damaged every complete event before the break is loaded; the run says
    so in ``warnings``, in an account of its own in the ledger, and in its result's warnings.

    What cannot be read leaves the warehouse, and what it has of that run, as they were. Raises ``WarehouseError`` if
    the warehouse cannot be opened, :class:`TraceError` if there is no such twin.
    """
    sources, errors = discover(paths)
    if twin:
        if not twin.is_file():
            raise TraceError(f"{twin}: no such file: expected the eager twin of the trace")
        sources = [replace(source, twin=twin) for source in sources]
    results = [Result(str(error).partition(":")[0], "failed", error=error) for error in errors]
    for result in results:
        report(result)
    wanted = Wanted(memory or default_bytes(), hta=hta, salvage=salvage, lake=lake)
    loaded = _load_into_lake(sources, jobs, wanted) if lake else _load_all(sources, warehouse, jobs, wanted)
    for result in loaded if sources else ():
        report(result)
        results.append(result)
    return results


class _Pending(NamedTuple):
    source: Source
    unchanged: str | None
    """The run as which it is in the warehouse already."""
    submitted: bool


class Wanted(NamedTuple):
    """What is asked of loading each run."""

    memory: int
    hta: bool = False
    salvage: bool = False
    lake: str | None = None
    """Where runs go from the warehouse, if not to stay there."""


class _Workers(NamedTuple):
    """The child processes."""

    decoders: Decoders
    pricer: Pricer


class _Loading(NamedTuple):
    """What loading a run takes."""

    connection: duckdb.DuckDBPyConnection
    workers: _Workers
    known: Known
    wanted: Wanted


def _load_all(sources: list[Source], warehouse: Path, jobs: int, wanted: Wanted) -> Iterator[Result]:
    jobs = decoders_within(wanted.memory, jobs)
    with _decoders(jobs, wanted, _scratch(warehouse)) as decoders, Pricer() as pricer:
        if sources[0].trace:
            decoders.submit(sources[0].trace)
        created = not warehouse.exists()
        if created and sources[0].trace:
            pricer.start()  # nothing is priced: it can import PyTorch meanwhile
        from ridgeline.warehouse import connect

        connection = connect(warehouse)
        kept = False
        try:
            connection.execute(f"SET memory_limit = '{wanted.memory // 4} B'")
            known = _known(connection)
            kept = bool(known)
            loading = _Loading(connection, _Workers(decoders, pricer), known, wanted)
            for source, result in _in_batches(loading, _ahead(sources, known, decoders, jobs)):
                kept = kept or result.outcome == "loaded"
                yield _examined(connection, source, result, wanted.memory) if wanted.hta else result
        finally:
            if created and not kept:  # while it is ours: another process may be waiting for it
                warehouse.unlink(missing_ok=True)
            connection.close()


def _in_batches(loading: _Loading, pending: Iterable[_Pending]) -> Iterator[tuple[Source, Result]]:
    """Load runs, small ones several in a transaction; yield each result once its run is stored."""
    from ridgeline.warehouse.load import Batch

    batch = Batch(loading.connection)
    waiting: list[tuple[Source, Result]] = []
    for each in pending:
        if waiting and _is_large(each.source):
            yield from _commit(batch, waiting, loading.known)
        waiting.append((each.source, _finish(loading, each, batch.add)))
        if batch.is_full or _is_large(each.source) or loading.wanted.hta:  # HTA's tables refer to a stored run
            yield from _commit(batch, waiting, loading.known)
    yield from _commit(batch, waiting, loading.known)


def _commit(batch: Batch, waiting: list[tuple[Source, Result]], known: Known) -> Iterator[tuple[Source, Result]]:
    """Store the batch and empty ``waiting``; a run that could not be stored becomes a failed result."""
    errors = iter(batch.commit())
    for source, result in waiting:
        if result.outcome in ("loaded", "replaced") and (error := next(errors)):
            known.pop(result.run_id or "", None)
            result = _failed(source, error)
        yield source, result
    waiting.clear()


def _is_large(source: Source) -> bool:
    """True where decoding may take long enough that the runs before it should be stored first."""
    return source.trace is not None and source.trace.exists() and source.trace.stat().st_size > LARGE_TRACE_BYTES


def _decoders(jobs: int, wanted: Wanted, folder: Path | None = None) -> Decoders:
    return Decoders(jobs, folder, min(LARGEST_EVENT_BYTES, wanted.memory // 16))


def _load_into_lake(sources: list[Source], jobs: int, wanted: Wanted) -> Iterator[Result]:
    """Load each run into a warehouse in memory, which keeps the prices, and move it from there into the lake."""
    assert wanted.lake
    jobs = decoders_within(wanted.memory, jobs)
    with _decoders(jobs, wanted) as decoders, Pricer() as pricer:
        if sources[0].trace:
            decoders.submit(sources[0].trace)
        from ridgeline.warehouse import connect
        from ridgeline.warehouse.lake import Lake, commits

        known = {commit.run_id: _stored(commit) for commit in commits(Lake(wanted.lake))}
        if not known and sources[0].trace:
            pricer.start()
        connection = connect(":memory:")
        try:
            connection.execute(f"SET memory_limit = '{wanted.memory // 4} B'")
            loading = _Loading(connection, _Workers(decoders, pricer), known, wanted)
            for pending in _ahead(sources, known, decoders, jobs):
                yield _finish(loading, pending, partial(_move, connection, wanted.lake))
        finally:
            connection.close()


def _move(connection: duckdb.DuckDBPyConnection, lake: str, run: RunRows) -> None:
    """Store a run in a lake, by way of the warehouse in memory."""
    from ridgeline.warehouse.lake import move_run
    from ridgeline.warehouse.load import load

    load(connection, run, for_lake=True)
    move_run(connection, lake, run.run_id)


def load_source(connection: duckdb.DuckDBPyConnection, source: Source, lake: str, pricer: Pricer) -> Result:
    """Load one run into a lake, by way of a warehouse in memory that keeps the prices for the next, as the pricer does.

    Raises ``WarehouseError`` if there is no reading the lake; what else goes wrong is the result.
    """
    from ridgeline.warehouse.lake import Lake, commits

    run_id = _run_id_on_disk(source)
    known = {commit.run_id: _stored(commit) for commit in commits(Lake(lake), run_id)} if run_id else {}
    if unchanged := _unchanged(source, known):
        return Result(source.name, "unchanged", run_id=unchanged)
    wanted = Wanted(default_bytes(), lake=lake)
    with _decoders(1, wanted) as decoders:
        if source.trace:
            decoders.submit(source.trace)
        pending = _Pending(source, None, source.trace is not None)
        loading = _Loading(connection, _Workers(decoders, pricer), known, wanted)
        return _finish(loading, pending, partial(_move, connection, lake))


def _run_id_on_disk(source: Source) -> str | None:
    try:
        return _sha256(source.trace or source.run_json or Path())[:16]
    except _UNREADABLE:
        return None  # reading it will say what is wrong


def _stored(commit: Commit) -> Stored:
    """What a lake has of a run."""
    return Stored(commit.name, commit.content_sha256, commit.rules_version)


def _known(connection: duckdb.DuckDBPyConnection) -> Known:
    rows = connection.execute("SELECT run_id, name, content_sha256, rules_version FROM runs").fetchall()
    return {run_id: Stored(*stored) for run_id, *stored in rows}


def _unchanged(source: Source, known: Known) -> str | None:
    """The run that has the source's content already, by its id."""
    stored = {
        run.content: run_id
        for run_id, run in known.items()
        if run.name == source.name and run.rules_version == RULES_VERSION
    }
    return stored.get(_content_on_disk(source) or "") if stored else None


def _ahead(sources: list[Source], known: Known, decoders: Decoders, jobs: int) -> Iterator[_Pending]:
    """The sources in order, with ``jobs`` more being decoded ahead; the first was submitted on suspicion."""
    queue: deque[_Pending] = deque()
    for i, source in enumerate(sources):
        unchanged = _unchanged(source, known)
        submitted = source.trace is not None and (i == 0 or not unchanged)
        if source.trace and submitted and i:
            decoders.submit(source.trace)
        queue.append(_Pending(source, unchanged, submitted))
        while queue and (len(decoders) > jobs or not queue[0].submitted):
            yield queue.popleft()
    yield from queue


def _scratch(warehouse: Path) -> Path | None:
    """Where files of columns lie for a while: beside the warehouse, since temporary folders may be in memory."""
    return None if "TMPDIR" in os.environ else warehouse.absolute().parent


def _finish(loading: _Loading, pending: _Pending, store: Callable[[RunRows], None]) -> Result:
    """Load one run, or say why not: whatever goes wrong with it, the others are loaded."""
    try:
        return _load_one(loading, pending, store)
    except WarehouseError:  # no other run could be stored either
        raise
    except BaseException as e:
        if not (isinstance(e, Exception) or is_panic(e)):
            raise
        return _failed(pending.source, e)


def _failed(source: Source, e: BaseException) -> Result:
    """The result of a run that an exception kept from being loaded."""
    if isinstance(e, AnalyzeError):
        return Result(source.name, "failed", error=e)
    if "RIDGELINE_TRACEBACK" in os.environ:
        raise e
    path = source.trace or source.run_json
    if isinstance(e, ImportError):  # torch, where reports are made of traces priced elsewhere
        what = f"{path}: needs {e.name or 'a library'} to price what no trace here had before"
        return Result(source.name, "failed", error=AnalyzeError(f"{what}: install it ({e})"))
    error = AnalyzeError(f"{path}: cannot be loaded: {type(e).__name__}: {e} (RIDGELINE_TRACEBACK=1 shows where)")
    return Result(source.name, "failed", error=error)


def _examined(connection: duckdb.DuckDBPyConnection, source: Source, result: Result, memory: int) -> Result:
    """The result with HTA's analyses added, where the run has a trace and is stored without them."""
    from ridgeline.analyze.hta.tables import SOURCE, examine, is_examined, store

    run_id = result.run_id
    if not run_id or not source.trace or is_examined(connection, run_id):
        return result
    findings = examine(source.trace, most_bytes=memory * 3 // 4 - resident_bytes())
    store(connection, run_id, findings)
    warnings = tuple(f"{SOURCE}: {each}" for each in findings.warnings)
    return replace(result, examined=True, warnings=result.warnings + warnings)


def _load_one(loading: _Loading, pending: _Pending, store: Callable[[RunRows], None]) -> Result:
    from ridgeline.analyze.run import build

    connection, workers, known, wanted = loading
    source = pending.source
    parts = _parts(workers.decoders, source, salvage=wanted.salvage) if pending.submitted else []
    if pending.unchanged:
        return Result(source.name, "unchanged", run_id=pending.unchanged)
    if source.trace:
        check(source.trace, parts, wanted.memory)
    content = _content(source, parts[0].sha256 if parts else "")
    if parts and known.get(parts[0].sha256[:16]) == Stored(source.name, content, RULES_VERSION):
        return Result(source.name, "unchanged", run_id=parts[0].sha256[:16])  # salvaged before: the file said another
    run, told = build(connection, source, parts, content, workers.pricer, _beside(workers.decoders, wanted))
    before = known.get(run.run_id)
    if before and before.name != source.name:
        return Result(source.name, "unchanged", same_as=before.name)
    store(run)
    known[run.run_id] = Stored(source.name, content, RULES_VERSION)
    summary = run.records["runs"][0]
    kernels = len(run.frames["kernels"]) if run.frames else 0
    outcome: Outcome = "replaced" if before else "loaded"
    malformed = summary["malformed_events"] or 0
    return Result(
        source.name,
        outcome,
        kernels,
        summary["device_time_ns"],
        malformed,
        run_id=run.run_id,
        matched=told,
        uncounted=summary["counters_message"],
        warnings=tuple(row["message"] for row in run.records["warnings"]),
    )


def _beside(decoders: Decoders, wanted: Wanted) -> Beside:
    from ridgeline.analyze.run import Beside

    def twin(path: Path) -> list[Columns]:
        parts = decoders.read(path)
        check(path, parts, wanted.memory)
        return parts

    return Beside(wanted.memory // SHARE, twin)


def _parts(decoders: Decoders, source: Source, *, salvage: bool) -> list[Columns]:
    """The decoded trace, or what can be had of it."""
    try:
        return decoders.take()
    except TraceError:
        if not salvage or not source.trace:
            raise
        from ridgeline.analyze.reading.salvage import salvage as salvaged

        return [salvaged(source.trace)]


def _content(source: Source, trace_sha256: str) -> str:
    """What a run was made of: the hash of its trace's and its companions' hashes, theirs of the files as they are.

    What stands there and is no file counts too: the run tells of it.
    """
    digest = hashlib.sha256(trace_sha256.encode())
    companions = (
        source.run_json, source.ceilings, source.telemetry, source.counters, source.ncu, source.twin,
        source.execution_trace,
    )  # fmt: skip
    for companion in companions:
        digest.update(b"-" if companion is None else sha256_on_disk(companion).encode())
    for line in source.no_files:
        digest.update(line.encode())
    return digest.hexdigest()


def _content_on_disk(source: Source) -> str | None:
    try:
        return _content(source, _sha256(source.trace) if source.trace else "")
    except _UNREADABLE:
        return None  # reading it will say what is wrong


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_bytes(path) as file:
        size = 0
        while block := file.read(BLOCK_BYTES):
            size += len(block)
            check_size(path, size)
            digest.update(block)
    return digest.hexdigest()
