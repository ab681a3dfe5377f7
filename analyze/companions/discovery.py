"""Finds the runs to analyze: run directories, bare traces and folders of them, each with its companions."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.reader import GZIP_ERRORS, JSON_ERRORS, open_bytes

_TRACE = re.compile(r"(.+)\.json(?:\.gz)?")
_COMPANION = re.compile(
    r".+\.(?:et|twin|capture)\.json(?:\.gz)?|.+\.(?:counters|ncu)\.csv(?:\.gz)?|(?:run|ceilings)\.json"
)
_KINDS = {
    "counters": "counters.csv",
    "ncu": "ncu.csv",
    "twin": "twin.json",
    "capture": "capture.json",
    "execution_trace": "et.json",
}
"""The ends of companions' names, by field of :class:`Source`."""
CAPTURE_FOLDER = "capture_traces"
"""The folder beside a trace in which serving engines write what they recorded while they captured their graphs."""
_LIST = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\{")
_EVENT_KEYS = (b'"ph"', b'"ts"', b'"cat"')
"""Keys of events: a list of objects with these is a trace in the Chrome format's form without a header."""
SNIFFED_BYTES = 4 << 20
"""The start of a file in a folder that must name traceEvents, for the file to be a trace."""
_ODD_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class Source(msgspec.Struct, frozen=True):
    """One run to load: a trace, a run directory with one, or a run directory without (out of memory)."""

    name: str
    trace: Path | None
    run_json: Path | None = None
    ceilings: Path | None = None
    telemetry: Path | None = None
    counters: Path | None = None
    ncu: Path | None = None
    twin: Path | None = None
    capture: Path | None = None
    """The trace of a graph's capture, or a folder of such traces."""
    execution_trace: Path | None = None
    step: str | None = None
    """The regular expression of ``--step``."""
    device: str | None = None
    """The datasheet that ``--device`` names."""
    experiment: str | None = None
    """The label of ``--experiment``."""
    allocations: bool = False
    """True if the trace's changes of memory are loaded: with ``--allocations``, or if they were asked for when it was
    recorded."""
    no_files: tuple[str, ...] = ()
    """A line for each name of a companion that belongs to something other than a file."""


class _Rank(msgspec.Struct):
    """What run.json says of a rank of a job."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    job: dict[str, msgspec.Raw]


class _Recording(msgspec.Struct):
    """The fields of run.json that tell what the recording was asked to record."""

    allocations: bool = False


_rank, _recording = msgspec.json.Decoder(_Rank), msgspec.json.Decoder(_Recording)


def discover(paths: Iterable[Path]) -> tuple[list[Source], list[TraceError]]:
    """Return the runs under ``paths``, each once, and an error for each path without one."""
    sources: dict[Path, Source] = {}
    errors = []
    for path in paths:
        runs: list[Source] = []
        if path.is_dir():
            runs = list(_in_folder(path))
            message = "no traces or run directories in this folder"
        elif path.is_file():
            runs = [] if _COMPANION.fullmatch(path.name) else [_bare(path)]
            message = "belongs to a trace: name the trace beside it"
        elif path.exists():
            message = "neither a file nor a folder: write the trace to a file first"
        else:
            message = "no such file or folder"
        if not runs:
            errors.append(TraceError(f"{path}: {message}"))
        for source in runs:
            # the same run may be named twice, by its folder and by its trace
            sources.setdefault((source.trace or source.run_json or path).resolve(), source)
    return list(sources.values()), errors


def _in_folder(folder: Path) -> Iterator[Source]:
    """Yield the runs in a folder and its subfolders, in order of their names; skip hidden ones."""
    if (folder / "run.json").is_file():
        yield _run_directory(folder)
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.name != CAPTURE_FOLDER:
                yield from _in_folder(path)
        # is_file, since opening a pipe would wait for a writer
        elif _TRACE.fullmatch(path.name) and not _COMPANION.fullmatch(path.name) and path.is_file():
            try:
                with open_bytes(path) as file:
                    start = file.read(SNIFFED_BYTES)
                    is_list = _LIST.match(start) and all(key in start for key in _EVENT_KEYS)
                    is_trace = b'"traceEvents"' in start or bool(is_list)
            except GZIP_ERRORS:
                is_trace = True  # so that the reader reports the damage
            except OSError:
                is_trace = False
            if is_trace:
                yield _bare(path)


def _run_directory(folder: Path) -> Source:
    trace = _existing(folder / "trace.json.gz") or _existing(folder / "trace.json")
    others = ("trace.json.gz", "trace.json", "telemetry.csv", "ceilings.json")
    name, allocations = _name_and_allocations(folder)
    source = _with_companions(folder, "trace", name, trace, others)
    return replace(
        source,
        run_json=folder / "run.json",
        ceilings=source.ceilings or _existing(folder.parent / "ceilings.json"),
        telemetry=_existing(folder / "telemetry.csv"),
        allocations=allocations,
    )


def _name_and_allocations(folder: Path) -> tuple[str, bool]:
    """Return the name of a run directory, and whether allocations were recorded in it.

    The name is that of the directory. A rank's directory is ``rank0``, so its name is the one in run.json.
    """
    file, name, allocations = folder / "run.json", folder.resolve().name, False
    with suppress(OSError, *JSON_ERRORS):  # loading the run reports the error
        if file.stat().st_size <= SNIFFED_BYTES:
            text = file.read_bytes()
            with suppress(*JSON_ERRORS):
                allocations = _recording.decode(text).allocations
            name = _rank.decode(text).name
    return name, allocations


def _bare(path: Path) -> Source:
    """Return the source of a trace file; ``trace.json`` in a run directory is that run."""
    if path.name in ("trace.json.gz", "trace.json") and (path.parent / "run.json").is_file():
        return _run_directory(path.parent)
    match = _TRACE.fullmatch(path.name)
    stem = match[1] if match else path.name
    # the name `trace` says nothing, so use that of the folder
    name = (path.resolve().parent.name or stem) if stem == "trace" else stem
    others = ("ceilings.json", "run.json") if match and stem == "trace" else ("ceilings.json",)
    return _with_companions(path.parent, stem, name, path, others)


def _with_companions(folder: Path, stem: str, name: str, trace: Path | None, others: tuple[str, ...]) -> Source:
    """Return a trace with the companions of each kind, gzipped or plain, and the ceilings in its folder.

    A companion's name, or one of the ``others``, that belongs to something other than a file is left out with a line.
    """
    companions: dict[str, Any] = {
        field: _existing(folder / f"{stem}.{kind}.gz") or _existing(folder / f"{stem}.{kind}")
        for field, kind in _KINDS.items()
    }
    if not companions["capture"] and (folder / CAPTURE_FOLDER).is_dir():
        companions["capture"] = folder / CAPTURE_FOLDER
    no_files = []
    for companion in (*(f"{stem}.{kind}{suffix}" for kind in _KINDS.values() for suffix in (".gz", "")), *others):
        path = folder / companion
        if path.is_file() or not os.path.lexists(path):
            continue
        try:
            mode = path.stat().st_mode
            what = next(what for is_kind, what in _ODD_KINDS if is_kind(mode))
        except OSError:
            what = "a link that leads nowhere"
        no_files.append(f"{companion}: is {what}, expected a file: left out")
    ceilings = _existing(folder / "ceilings.json")
    return Source(name, trace, ceilings=ceilings, no_files=tuple(no_files), **companions)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
