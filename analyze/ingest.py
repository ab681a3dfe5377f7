"""From paths to a loaded warehouse or lake: discover, decode, attribute, price, store; each run whole or not at all.

Imports are late on purpose: decoders start first and work while polars, numpy and DuckDB are imported here.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from ridgeline.analyze.attribution.labels import step_pattern
from ridgeline.analyze.companions.discovery import Source, discover
from ridgeline.analyze.companions.identity import identify, identify_on_disk
from ridgeline.analyze.errors import AnalyzeError, TraceError, is_panic
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.pricer import Pricer
from ridgeline.analyze.reading.decoders import Decoders
from ridgeline.analyze.reading.early_start import estimated_bytes
from ridgeline.analyze.reading.fits_memory import check as check_fits
from ridgeline.analyze.resources.limits import Limits, resident_bytes, return_freed_memory
from ridgeline.analyze.sinks import REPRICED_NOW, LakeSink, Sink, Stored, WarehouseSink
from ridgeline.warehouse import datasheets
from ridgeline.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from ridgeline.analyze.reading.columns import Columns
    from ridgeline.analyze.replays.teaching import Matched

Outcome = Literal["loaded", "replaced", "unchanged", "failed"]
_FIGURES = re.compile(r"\([^()]*\)|\d[\d,.]*")
LARGE_TRACE_BYTES = 1 << 20
"""The runs before a larger trace are stored before it is decoded."""
ONE_THREAD_BYTES = 160 << 20
"""A larger trace may have more operators than the 122,880 rows that a thread of DuckDB takes at once."""


class Result(msgspec.Struct, frozen=True):
    """The outcome of one run, or of a path without one."""

    name: str
    outcome: Outcome
    kernels: int = 0
    device_time_ns: int = 0
    on_cpu: bool = False
    """True if operators on the host stand for kernels: no device is in the trace."""
    malformed_events: int = 0
    run_id: str | None = None
    """The run's id in the warehouse."""
    same_as: str | None = None
    """The name under which the same trace was loaded before."""
    error: AnalyzeError | None = None
    matched: Matched | None = None
    """How much of its graph replays matched a twin or a capture, if it has one."""
    teacher: str = "twin"
    """What the replays were matched with: twin, capture, or both."""
    warnings: tuple[str, ...] = ()
    """What the run lacks, with the remedy, and problems that did not prevent it from being loaded; a line each."""
    examined: bool = False
    """True if HTA's analyses were added."""

    def headline(self) -> str:
        """One line for a terminal: the outcome, the device time, and what was left out or not used."""
        if self.error:
            return str(self.error)
        added = ", HTA's analyses added" if self.examined else ""
        if self.outcome == "unchanged":
            same = f", the same trace as {self.same_as}" if self.same_as else ""
            return f"{self.name}: unchanged{same}{added}"
        work, time = ("operators", "time on the CPU") if self.on_cpu else ("kernels", "device time")
        parts = [self.outcome, f"{self.kernels:,} {work}", f"{self.device_time_ns / 1e6:,.3f} ms of {time}"]
        if self.matched and not self.matched.of_kernels:
            parts.append(f"no graph replays for its {self.teacher} to match")
        elif self.matched:
            share = self.matched.duration_ns / max(self.matched.of_duration_ns, 1)
            kernels = f"{self.matched.kernels:,} of {self.matched.of_kernels:,} replayed kernels"
            parts.append(f"the {self.teacher} matched {kernels}, {share:.1%} of their time")
            if not self.matched.kernels and self.teacher == "twin":
                parts.append("so it was refused: record the eager steps of the same model and shapes as the replays'")
        if self.malformed_events:
            parts.append(f"{self.malformed_events:,} malformed events left out")
        return f"{self.name}: {', '.join(parts)}{added}"


def warning_lines(results: Iterable[Result]) -> list[str]:
    """Return the warnings of all results, a line each; sentences that differ only in numbers and names are one line.

    Names stand in parentheses. The line has the numbers of the first run.
    """
    runs: dict[str, list[str]] = {}
    for result in results:
        for warning in result.warnings:
            runs.setdefault(_FIGURES.sub("", warning), []).append(f"{result.name}: warning: {warning}")
    others = {key: len(lines) - 1 for key, lines in runs.items()}
    return [
        line + (f" (and {others[key]:,} more run{'s' * (others[key] > 1)})" if others[key] else "")
        for key, (line, *_) in runs.items()
    ]


class Options(msgspec.Struct, frozen=True):
    """How runs are loaded."""

    limits: Limits
    jobs: int = 1
    hta: bool = False
    salvage: bool = False


def analyze(
    paths: str | Path | Iterable[str | Path],
    warehouse: str | Path,
    *,
    jobs: int = 1,
    report: Callable[[Result], None] = lambda _: None,
    twin: Path | None = None,
    capture: Path | None = None,
    step: str | None = None,
    device: str | None = None,
    experiment: str | None = None,
    allocations: bool = False,
    hta: bool = False,
    memory: int | None = None,
    salvage: bool = False,
    lake: str | None = None,
) -> list[Result]:
    """Load every run under ``paths`` into the warehouse file; return a result for each, ``failed`` ones included.

    ``report`` is called with each result once it is stored.

    ``jobs`` is the number of processes that decode traces. ``twin`` is the eager trace of the same steps, for a call
    with one trace, instead of one beside it; ``capture`` likewise the trace of its graphs' capture, or a folder of such
    traces. ``step`` is a regular expression, searched in the names of annotations: a match is a step, and its named
    groups (phase, kind, step, block, query, context, tokens, requests) are the step's keys. ``device`` names the
    datasheet of the traces' devices, instead of the one that fits their names
    (:func:`ridgeline.warehouse.datasheets.named`). ``experiment`` labels the runs, instead of the label in their
    run.json. ``allocations`` loads changes of memory from every trace that has them; without it, only from
    traces whose run.json says that the recording was asked for them.

    With ``hta``, HTA's analyses are stored beside ours, also for a run that is stored already without them; an analysis
    that fails is a warning, and a replaced run loses them. With ``lake`` each run is written there instead, without
    HTA's analyses, and the warehouse is not touched.

    ``memory`` limits the bytes that this process and its children hold; the default is 60 % of what the machine or the
    control group allows. A trace that does not fit fails, with the size that it needs.

    With ``salvage`` every complete event before the break of a damaged trace is loaded; the break is recorded in
    ``warnings``, in the ledger and in the result.

    If a run fails, the warehouse keeps its previous rows and the other runs are still loaded. Raises
    ``WarehouseError`` if the warehouse cannot be opened, :class:`TraceError` if there is no such twin or capture,
    :class:`AnalyzeError` if ``hta`` is asked for and not installed, or ``device`` has no datasheet,
    :class:`StepPatternError` for a ``step`` that cannot be used, and ``RulesError`` if rules from outside cannot.
    """
    if step is not None:
        step_pattern(step)
    if hta:
        from ridgeline.analyze.hta.tables import check_installed

        check_installed()
    named = [paths] if isinstance(paths, str | Path) else paths
    sources, errors = discover(map(Path, named))
    if twin:
        if not twin.is_file():
            raise TraceError(f"{twin}: no such file: expected the eager twin of the trace")
        sources = [replace(source, twin=twin) for source in sources]
    if capture:
        if not capture.exists():
            raise TraceError(f"{capture}: no such file or folder: expected the trace of the graphs' capture")
        sources = [replace(source, capture=capture) for source in sources]
    sheet = named_sheet(device) if device is not None else None
    sources = [
        replace(
            source,
            step=step,
            device=sheet,
            experiment=experiment,
            allocations=allocations or source.allocations,
        )
        for source in sources
    ]
    # the errors come first: their paths are wrong, and the traces may take long
    results = [Result(str(error).partition(":")[0], "failed", error=error) for error in errors]
    for result in results:
        report(result)
    if sources:
        limits = Limits.of(memory)
        options = Options(limits, jobs, hta=hta and not lake, salvage=salvage)
        one_thread = all(not s.trace or estimated_bytes(s.trace) <= ONE_THREAD_BYTES for s in sources)
        sink: Sink = LakeSink(lake, limits) if lake else WarehouseSink(Path(warehouse), limits, one_thread=one_thread)
        with Pricer() as pricer:
            for result in load(sources, sink, pricer, options):
                report(result)
                results.append(result)
        results[-1] = replace(results[-1], warnings=results[-1].warnings + _of_other_runs(sink.stored.values()))
    return results


def _of_other_runs(stored: Iterable[Stored]) -> tuple[str, ...]:
    """Return a line on the stored runs that rules from outside price otherwise, if there are any."""
    names = sorted(run.name for run in stored if run.rules_version == REPRICED_NOW)
    line = f"rules from outside price operators of other stored runs too ({', '.join(names)}): "
    return (line + "`ridgeline reprice` with the same --rules applies them there",) if names else ()


def named_sheet(device: str) -> str:
    """Return the name of the datasheet that ``device`` names. Raises :class:`AnalyzeError` with close names."""
    try:
        return str(datasheets.named(device)["device"])
    except LookupError as e:
        raise AnalyzeError(f"--device {device}: no such datasheet: expected one of {e}") from None


def load(sources: list[Source], sink: Sink, pricer: Pricer, options: Options) -> Iterator[Result]:
    """Load runs into the sink, in order; yield each result once its run is stored.

    Small runs are stored several in a transaction. Raises ``WarehouseError`` if the sink cannot be opened or written.
    """
    limits = options.limits
    jobs = limits.decoders(options.jobs)
    # prices that PyTorch gave once are in the warehouse
    is_new = sink.is_new
    found = pricer.expect if is_new else lambda _: None
    with Decoders(jobs, sink.scratch, limits.event_bytes, found) as decoders:
        # decoding overlaps with the imports of this process
        if sources[0].trace:
            decoders.submit(sources[0].trace, allocations=sources[0].allocations)
        if is_new:  # no sequence of kernels is stored
            decoders.expect_simulation()
        with _importing("polars", "ridgeline.analyze.run", "ridgeline.analyze.pricing.price"), sink:
            loader = _Loader(sink, decoders, pricer, options)
            # a commit costs as much for thirty small runs as for one
            waiting: list[tuple[Source, Result]] = []
            for source, unchanged in _decoding_ahead(sources, sink.stored, decoders, jobs):
                trace = source.trace
                is_large = trace is not None and trace.exists() and trace.stat().st_size > LARGE_TRACE_BYTES
                if is_large and waiting:  # decoding it takes long: an interruption must not lose the runs before
                    yield from loader.commit(waiting)
                waiting.append((source, loader.load(source, unchanged, alone=is_large)))
                if is_large or sink.is_full or options.hta:  # HTA's tables refer to a stored run
                    yield from loader.commit(waiting)
            yield from loader.commit(waiting)


def _read_tables() -> None:
    """Read the package's tables, which every trace with a device needs, while decoders work."""
    from ridgeline.analyze.attribution.labels import engine_annotations
    from ridgeline.analyze.pricing.families import tables

    tables()
    engine_annotations()
    datasheets.match("")  # compiles the patterns of all names


@contextmanager
def _importing(*modules: str) -> Iterator[None]:
    """Import modules in a thread while DuckDB, in native code, opens a warehouse in this one."""

    def run() -> None:
        with suppress(Exception):  # the main thread raises it again
            for name in modules:
                import_module(name)
            _read_tables()

    import_module("ridgeline.warehouse.database")  # first, since threads take turns in importing
    thread = Thread(target=run, name="imports", daemon=True)
    thread.start()
    yield
    thread.join()


def _decoding_ahead(
    sources: list[Source], stored: dict[str, Stored], decoders: Decoders, jobs: int
) -> Iterator[tuple[Source, str | None]]:
    """Yield the sources in order, with the run id of an unchanged one, while ``jobs`` more traces are being decoded.

    The first source's trace must be submitted already.
    """
    queue: deque[tuple[Source, str | None]] = deque()
    for i, source in enumerate(sources):
        unchanged = None
        # hashing a trace takes long, so only do it for a run of the same name
        if any(run.name == source.name and run.rules_version == RULES_VERSION for run in stored.values()):
            identity = identify_on_disk(source)
            if identity and stored.get(identity.run_id) == (source.name, identity.content_sha256, RULES_VERSION):
                unchanged = identity.run_id
        if source.trace and i == 0 and unchanged:
            decoders.discard()  # it was submitted before the stored runs were known
        elif source.trace and i > 0 and not unchanged:
            decoders.submit(source.trace, allocations=source.allocations)
        queue.append((source, unchanged))
        # a source without a trace to decode need not wait for the others
        while queue and (len(decoders) > jobs or not queue[0][0].trace or queue[0][1]):
            yield queue.popleft()
    decoders.finish()
    yield from queue


class _Loader:
    """Loads runs whose traces were submitted to ``decoders``, in the same order."""

    def __init__(self, sink: Sink, decoders: Decoders, pricer: Pricer, options: Options) -> None:
        from ridgeline.analyze.run import Tools

        def decode_twin(path: Path) -> list[Columns]:
            parts = decoders.read(path)
            check_fits(path, parts, options.limits.memory_bytes)
            return parts

        self._sink, self._decoders, self._options = sink, decoders, options
        self._tools = Tools(sink.connection, pricer, decode_twin, options.limits, decoders.simulate)

    def load(self, source: Source, unchanged: str | None, *, alone: bool) -> Result:
        """Add one run to the sink's next commit and return its result; an error of this run is a failed result.

        A run that is ``alone`` in its commit is stored while it is built.
        """
        from ridgeline.analyze.run import build
        from ridgeline.warehouse.rollups import FEW_KERNELS

        if unchanged:
            return Result(source.name, "unchanged", run_id=unchanged)
        stored = self._sink.stored
        try:
            parts = self._decoded(source)
            identity = identify(source, parts[0].sha256 if parts else None)
            run_id, content = identity
            before, after = stored.get(run_id), Stored(source.name, content, RULES_VERSION)
            # a salvaged run has the digest of its complete events, which the file on disk does not have
            if before == after:
                return Result(source.name, "unchanged", run_id=run_id)
            # a run belongs to the name under which its trace was loaded first
            is_named_otherwise = before is not None and before.name != source.name
            tools = self._tools if is_named_otherwise or not alone else self._tools._replace(begin=self._sink.begin)
            run, matched = build(source, identity, parts, tools)
            if before and is_named_otherwise:
                return Result(source.name, "unchanged", run_id=run_id, same_as=before.name)
            if len(run.frames.get("kernels", ())) > FEW_KERNELS:  # storing their rows takes as much memory anew
                return_freed_memory()
            self._sink.add(run)
        except WarehouseError:  # no other run could be stored either
            raise
        except BaseException as e:
            self._sink.abandon()
            if not (isinstance(e, Exception) or is_panic(e)):
                raise
            return _failed(source, e)
        # the same run may follow in this call, before the commit
        stored[run_id] = after
        row = run.records["runs"][0]
        return Result(
            source.name,
            "replaced" if before else "loaded",
            kernels=len(run.frames.get("kernels", ())),
            device_time_ns=row["device_time_ns"],
            on_cpu=row["device_kind"] == "cpu",
            malformed_events=row["malformed_events"] or 0,
            run_id=run_id,
            matched=matched,
            teacher=" and ".join(kind for kind in ("capture", "twin") if getattr(source, kind)) or "twin",
            warnings=tuple(row["message"] for row in run.records["warnings"]),
        )

    def _decoded(self, source: Source) -> list[Columns]:
        """Return the decoded trace, or what can be salvaged of it. Raises :class:`TraceError`."""
        if source.trace is None:
            return []
        try:
            parts = self._decoders.take()
        except TraceError:
            if not self._options.salvage:
                raise
            from ridgeline.analyze.reading.salvage import salvage

            parts = [salvage(source.trace, allocations=source.allocations)]
        check_fits(source.trace, parts, self._options.limits.memory_bytes)
        return parts

    def commit(self, waiting: list[tuple[Source, Result]]) -> Iterator[Result]:
        """Store the runs added and empty ``waiting``; a run that could not be stored becomes a failed result."""
        errors = iter(self._sink.commit())
        for source, result in waiting:
            if result.outcome in ("loaded", "replaced") and (error := next(errors)):
                self._sink.stored.pop(result.run_id or "", None)
                result = _failed(source, error)
            yield self._examined(source, result) if self._options.hta else result
        waiting.clear()

    def _examined(self, source: Source, result: Result) -> Result:
        """Return the result with HTA's analyses added, if the run has a trace and is stored without them."""
        from ridgeline.analyze.hta.tables import SOURCE, examine, is_examined, store

        connection, run_id = self._sink.connection, result.run_id
        if not run_id or not source.trace or is_examined(connection, run_id):
            return result
        # HTA gets what this process does not hold already, less a quarter for DuckDB
        most_bytes = self._options.limits.memory_bytes * 3 // 4 - resident_bytes()
        findings = examine(source.trace, most_bytes=most_bytes)
        store(connection, run_id, findings)
        warnings = tuple(f"{SOURCE}: {line}" for line in findings.warnings)
        return replace(result, examined=True, warnings=result.warnings + warnings)


def _failed(source: Source, e: BaseException) -> Result:
    """Return the result of a run that an exception prevented from being loaded."""
    if isinstance(e, AnalyzeError):
        return Result(source.name, "failed", error=e)
    if "RIDGELINE_TRACEBACK" in os.environ:
        raise e
    path = source.trace or source.run_json
    message = f"{path}: cannot be loaded: {type(e).__name__}: {e} (RIDGELINE_TRACEBACK=1 shows where)"
    return Result(source.name, "failed", error=AnalyzeError(message))
