"""The traces that a serving engine wrote while it captured its graphs: which batch and rank each one is of.

A file's name says it (``bs_32_rank0.json.gz``, ``graph_capture_rank_0.1773.pt.trace.json.gz``), or
``execution_details.json`` beside it, a list of ``{"file": "bs_32_rank0.json.gz", "batch_size": 32, "mode": "FULL"}``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ridgeline.analyze.companions.size_limit import companion_errors, read_bounded
from ridgeline.analyze.errors import CompanionError
from ridgeline.analyze.resources.limits import STANDARD, Limits

DETAILS = "execution_details.json"
_TRACE = re.compile(r".+\.json(?:\.gz)?")
_REQUESTS = re.compile(r"(?:^|[_-])bs_(\d{1,9})(?!\d)")
_RANK = re.compile(r"(?:rank_?|TP-)(\d{1,9})(?!\d)")


class Batch(NamedTuple):
    """The batch that a graph was captured for; None where unknown. A replay may run a smaller one, padded to it."""

    requests: int | None = None
    tokens: int | None = None
    mode: str | None = None


class CaptureFile(NamedTuple):
    """A trace of a capture."""

    path: Path
    batch: Batch
    rank: int | None


class _Detail(msgspec.Struct):
    file: str
    batch_size: int | None = None
    mode: str | None = None


def capture_files(path: Path) -> list[Path]:
    """Return the files that make up the capture at ``path``, a trace or a folder, in order of their names."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if _TRACE.fullmatch(file.name) and file.is_file())


def describe(path: Path, limits: Limits = STANDARD) -> tuple[list[CaptureFile], list[str]]:
    """Return the capture traces at ``path``, a trace or a folder, and a line if the folder's details cannot be read."""
    paths, messages = capture_files(path), []
    details: dict[str, _Detail] = {}
    try:
        details = _details([file for file in paths if file.name == DETAILS], limits)
    except CompanionError as e:
        messages.append(f"{e}: capture traces are chosen by their names and contents")
    files = []
    for file in paths:
        if file.name == DETAILS and path.is_dir():
            continue
        requests, rank = _REQUESTS.search(file.name), _RANK.search(file.name)
        detail = details.get(file.name) or _Detail(file.name)
        batch = Batch(int(requests[1]) if requests else None, None if requests else detail.batch_size, detail.mode)
        files.append(CaptureFile(file, batch, int(rank[1]) if rank else None))
    return files, messages


def _details(paths: Sequence[Path], limits: Limits) -> dict[str, _Detail]:
    """Return the entries of the folder's details by file name. Raises :class:`CompanionError`."""
    entries: list[_Detail] = []
    for path in paths:
        with companion_errors(path, 'expected a list of {"file": ..., "batch_size": ..., "mode": ...}'):
            entries += msgspec.json.decode(read_bounded(path, limits), type=list[_Detail])
    return {Path(entry.file).name: entry for entry in entries}
