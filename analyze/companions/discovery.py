"""What is to be analyzed: run directories, bare traces and folders of them, each with its companions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.reader import GZIP_ERRORS, open_bytes

_TRACE = re.compile(r"(.+)\.json(?:\.gz)?")
_COMPANION = re.compile(r".+\.(?:et|twin)\.json(?:\.gz)?|.+\.(?:counters|ncu)\.csv(?:\.gz)?|(?:run|ceilings)\.json")
_KINDS = ("counters.csv", "ncu.csv", "twin.json", "et.json")
SNIFFED_BYTES = 4 << 20


@dataclass(frozen=True)
class Source:
    """One run to load: a trace, a run directory with one, or one without (out of memory)."""

    name: str
    trace: Path | None
    run_json: Path | None = None
    ceilings: Path | None = None
    telemetry: Path | None = None
    counters: Path | None = None
    ncu: Path | None = None
    twin: Path | None = None
    execution_trace: Path | None = None
    no_files: tuple[str, ...] = ()
    """What stands in the place of a companion and is no file, a line each."""


def discover(paths: Iterable[Path]) -> tuple[list[Source], list[TraceError]]:
    """The runs under the given paths, each once, and an error for each path named that holds none."""
    sources: dict[Path, Source] = {}
    errors = []
    for path in paths:
        found = list(_discover(path))
        if not found:
            errors.append(TraceError(_nothing(path)))
        for source in found:
            sources.setdefault((source.trace or source.run_json or path).resolve(), source)
    return list(sources.values()), errors


def _nothing(path: Path) -> str:
    if not path.exists():
        return f"{path}: no such file or folder"
    if path.is_dir():
        return f"{path}: no traces or run directories in this folder"
    if not path.is_file():
        return f"{path}: neither a file nor a folder: write the trace to a file first"
    return f"{path}: belongs to a trace: name the trace beside it"


def _discover(path: Path) -> Iterator[Source]:
    if path.is_dir():
        yield from _in_folder(path)
    elif path.is_file() and not _COMPANION.fullmatch(path.name):
        yield _bare(path)


def _in_folder(folder: Path) -> Iterator[Source]:
    if (folder / "run.json").is_file():
        yield _run_directory(folder)
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _in_folder(path)
        elif _is_named_as_a_trace(path) and _looks_like_a_trace(path):
            yield _bare(path)


def _is_named_as_a_trace(path: Path) -> bool:
    """And is a file: opening a pipe would wait for whoever writes to it."""
    return bool(_TRACE.fullmatch(path.name)) and not _COMPANION.fullmatch(path.name) and path.is_file()


def _run_directory(folder: Path) -> Source:
    traces = [p for p in (folder / "trace.json.gz", folder / "trace.json") if p.is_file()]
    return Source(
        folder.resolve().name,
        traces[0] if traces else None,
        folder / "run.json",
        _existing(folder / "ceilings.json") or _existing(folder.parent / "ceilings.json"),
        _existing(folder / "telemetry.csv"),
        _beside(folder, "trace", "counters.csv"),
        _beside(folder, "trace", "ncu.csv"),
        _beside(folder, "trace", "twin.json"),
        _beside(folder, "trace", "et.json"),
        _no_files(folder, "trace", ("trace.json.gz", "trace.json", "telemetry.csv", "ceilings.json")),
    )


def _bare(path: Path) -> Source:
    if path.name in ("trace.json.gz", "trace.json") and (path.parent / "run.json").is_file():
        return _run_directory(path.parent)
    stem = _TRACE.fullmatch(path.name)
    name = stem[1] if stem else path.name
    if name == "trace":  # says nothing: its folder does
        name = path.resolve().parent.name or name
    counters, ncu, twin, execution_trace = (
        _beside(path.parent, stem[1] if stem else path.name, kind) for kind in _KINDS
    )
    ceilings = _existing(path.parent / "ceilings.json")
    others = ("ceilings.json", "run.json") if stem and stem[1] == "trace" else ("ceilings.json",)
    odd = _no_files(path.parent, stem[1] if stem else path.name, others)
    return Source(
        name, path, ceilings=ceilings, counters=counters, ncu=ncu, twin=twin, execution_trace=execution_trace,
        no_files=odd,
    )  # fmt: skip


def _beside(folder: Path, stem: str, kind: str) -> Path | None:
    """The companion of that kind, gzipped or plain."""
    return _existing(folder / f"{stem}.{kind}.gz") or _existing(folder / f"{stem}.{kind}")


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _no_files(folder: Path, stem: str, others: Iterable[str]) -> tuple[str, ...]:
    """A line for each name of a companion at which something stands that is no file: it is left out."""
    names = [f"{stem}.{kind}{suffix}" for kind in _KINDS for suffix in (".gz", "")]
    odd = ((name, _odd(folder / name)) for name in (*names, *others))
    return tuple(f"{name}: is {what}, expected a file: left out" for name, what in odd if what)


def _odd(path: Path) -> str | None:
    """What is there, if it is anything but a file."""
    if path.is_file() or not os.path.lexists(path):
        return None
    if path.is_dir():
        return "a folder"
    if path.is_fifo():
        return "a pipe"
    if path.is_socket():
        return "a socket"
    return "a device" if path.is_block_device() or path.is_char_device() else "a link that leads nowhere"


def _looks_like_a_trace(path: Path) -> bool:
    """Whether traceEvents begins early; a damaged gzip file counts, so that the reader can say what is wrong."""
    try:
        with open_bytes(path) as file:
            return b'"traceEvents"' in file.read(SNIFFED_BYTES)
    except GZIP_ERRORS:
        return True
    except OSError:
        return False
