"""The traces that an engine writes into its folder: which are new, and when they are complete.

vLLM: `dp0_pp0_tp0_dcp0_ep0_rank0.1790857026.pt.trace.json.gz`, before 0.15 `HOST_PID…` (torch's tensorboard handler);
SGLang: `1790857026.1-TP-0[-DP-0][-PP-0][-EP-0][-DECODE].trace.json.gz`.
"""

import gzip
import re
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring import cleaning
from ridgeline.capture.measuring.cleaning import Cleaned, Unfinished

PATIENCE_S = 120.0
"""Seconds without growth after which a trace counts as cut off. Exports of large traces pause, while they compress."""
SILENCE_S = 3.0
"""Seconds of waiting before a line says so."""
POLL_S = 0.2
_TRACE = re.compile(r"[^.].*\.json(?:\.gz)?")
_OTHERS = re.compile(r".*\.async_llm\..*|merged-.*|execution_details\.json|(?:run|ceilings)\.json")
"""Traces of vLLM's frontend, which runs no model, SGLang's sums of all ranks, and files of another kind."""
_RANK = re.compile(r"(?:rank[_-]?|TP-)(\d{1,9})(?!\d)")
DETAILS = "execution_details.json"
"""The list of a folder of capture traces, by batch and mode."""
CAPTURE_FOLDERS = ("capture_traces", "graph_capture_profile")
"""The folders of capture traces in the folder of traces: vLLM's and SGLang's older one, SGLang's."""

KERNELS = (b'"cat": "kernel"', b'"cat":"kernel"')
OPERATORS = (b'"cat": "cpu_op"', b'"cat":"cpu_op"')
REPLAYS = (b"cudaGraphLaunch", b"hipGraphLaunch", b"cuGraphLaunch")
COMPILED = (b"Torch-Compiled Region", b"CompiledFxGraph")
WORDS = KERNELS + OPERATORS + REPLAYS + COMPILED

Sizes = dict[Path, tuple[int, int]]
"""Bytes and time of change of each file."""


class Trace(NamedTuple):
    """A trace of an engine, and its cleaned copy."""

    source: Path
    copy: Path
    content: Cleaned

    def has(self, words: tuple[bytes, ...]) -> bool:
        """Whether one of `words` occurs in the events."""
        return not self.content.words.isdisjoint(words)

    @property
    def rank(self) -> int | None:
        """The rank by the trace's own header, else by the file's name."""
        distributed: Mapping[str, Any] = self.content.header.get("distributedInfo") or {}
        rank, named = distributed.get("rank"), _RANK.search(self.source.name)
        return rank if isinstance(rank, int) else int(named[1]) if named else None


def sizes(folder: Path) -> Sizes:
    """The traces of ranks in `folder`, which need not exist; capture traces are in folders of their own."""
    found: Sizes = {}
    for path in sorted(folder.glob("*.json*")):
        if _TRACE.fullmatch(path.name) and not _OTHERS.fullmatch(path.name) and path.is_file():
            status = path.stat()
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def new(folder: Path, before: Sizes) -> Sizes:
    """The traces in `folder` that were not there `before`, or are others now."""
    return {path: size for path, size in sizes(folder).items() if before.get(path) != size}


def collect(
    folder: Path, before: Sizes, scratch: Path, *, ranks: int | None, say: Callable[[str], None], patience_s: float
) -> list[Trace]:
    """Copy the traces that are new in `folder` into `scratch`, cleaned, as soon as they are complete.

    Waits while files grow, and `patience_s` more for files that are missing or not complete. Raises CaptureError where
    there is no complete trace at the end of it.
    """
    found, files = _awaited(folder, before, scratch, ranks or 1, patience_s, say)
    if not files:
        raise CaptureError(
            f"{folder}: the engine wrote no trace there in {patience_s:g} s: name the folder of its traces, as seen "
            "from this machine, with --traces DIR"
        )
    for path in files.keys() - found.keys():
        line = f"{path}: still being written, or cut off: it did not grow for {patience_s:g} s"
        if not found:
            raise CaptureError(f"{line}; once it is complete, `ridgeline analyze` reads it as it is")
        say(f"{line}; left out")
    if ranks and len(found) < ranks:
        say(f"{folder}: found {len(found)} traces, expected {ranks}, one a rank: the others may be on another machine")
    return [found[path] for path in sorted(found)]


def _awaited(
    folder: Path, before: Sizes, scratch: Path, ranks: int, patience_s: float, say: Callable[[str], None]
) -> tuple[dict[Path, Trace], Sizes]:
    """The complete traces once all files are, or once nothing has changed for `patience_s`; and all files."""
    found: dict[Path, Trace] = {}
    last: Sizes = {}
    tried: Sizes = {}
    began_s = changed_s = time.monotonic()
    is_said = False
    while time.monotonic() - changed_s <= patience_s:
        files = new(folder, before)
        if files != last:
            last, changed_s = files, time.monotonic()
        else:
            for path in (path for path, size in files.items() if tried.get(path) != size):
                tried[path] = files[path]
                trace = _copied(path, scratch / f"{path.name.removesuffix('.gz')}.gz")
                if trace:
                    found[path] = trace
            if files and len(found) == len(files) >= ranks:
                break
        if not is_said and time.monotonic() - began_s > SILENCE_S:
            is_said = True
            say(f"waiting until the engine's traces in {folder} are complete")
        time.sleep(POLL_S)
    return found, last


def _copied(path: Path, copy: Path) -> Trace | None:
    """The trace at `path` with its cleaned `copy`; None while it is not complete."""
    try:
        with (
            gzip.open(path) if path.suffix == ".gz" else path.open("rb") as source,
            gzip.open(copy, "wb", compresslevel=6) as target,
        ):
            return Trace(path, copy, cleaning.copy(source, target, trace_name="trace.json", words=WORDS))
    except (EOFError, Unfinished, gzip.BadGzipFile, zlib.error):
        return None
    except ValueError as error:
        raise CaptureError(f"{path}: not a Kineto trace: {error}") from None


def captures(folder: Path) -> list[Path]:
    """The traces of graph captures in `folder`: files of the first of CAPTURE_FOLDERS that holds any."""
    for name in CAPTURE_FOLDERS:
        files = [path for path in sorted((folder / name).glob("*.json*")) if _TRACE.fullmatch(path.name)]
        if files:
            return files
    return []


def of_rank(files: list[Path], rank: int) -> list[Path]:
    """The capture traces for `rank`: its own and those of no rank, else all, since ranks capture the same graphs."""
    named = {path: _RANK.search(path.name) for path in files}
    own = [path for path, match in named.items() if match is None or int(match[1]) == rank]
    return own if any(_TRACE.fullmatch(path.name) and not _OTHERS.fullmatch(path.name) for path in own) else files
