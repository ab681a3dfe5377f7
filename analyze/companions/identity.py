"""The identity of a run: which trace it is, and whether the trace or a companion changed since it was loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from ridgeline.analyze.companions.discovery import Source
from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.reader import BLOCK_BYTES, GZIP_ERRORS, check_size, largest_trace_bytes, open_bytes

_UNREADABLE: tuple[type[Exception], ...] = (OSError, TraceError, *GZIP_ERRORS)


class Identity(NamedTuple):
    """The id of a run, and the digest of everything that it was made of."""

    run_id: str
    content_sha256: str


def identify(source: Source, trace_sha256: str | None) -> Identity:
    """Return the identity of a source whose trace has the digest ``trace_sha256``; None for a run without a trace.

    The content is the digest of the digests of the trace, as decompressed, and of its companions, as they lie on disk,
    and of ``--step``, ``--device``, ``--experiment`` and ``--allocations``.
    A folder or pipe in the place of a companion is part of it, since the run has a warning about it.
    """
    content = hashlib.sha256((trace_sha256 or "").encode())
    companions = (
        source.run_json, source.ceilings, source.telemetry, source.counters, source.ncu, source.twin,
        source.execution_trace,
    )  # fmt: skip
    for path in companions:
        content.update(_companion_sha256(path).encode() if path else b"-")
    for line in source.no_files:
        content.update(line.encode())
    if source.capture:
        # imported here, since it imports polars, which must wait until the decoders have started
        from ridgeline.analyze.companions.capture_folder import capture_files

        for path in capture_files(source.capture):
            content.update(f"{path.name} {_companion_sha256(path)}".encode(errors="surrogateescape"))
    if source.step is not None:  # other steps make other rows
        content.update(f"step {source.step}".encode(errors="surrogateescape"))
    if source.device is not None:
        content.update(f"device {source.device}".encode())
    if source.experiment is not None:
        content.update(f"experiment {source.experiment}".encode(errors="surrogateescape"))
    if source.allocations:
        content.update(b"allocations")
    if trace_sha256 is None:
        assert source.run_json
        trace_sha256 = _companion_sha256(source.run_json)
    return Identity(trace_sha256[:16], content.hexdigest())


def identify_on_disk(source: Source) -> Identity | None:
    """Return the identity of a source whose trace is not decoded yet; None if a file of it cannot be read."""
    try:
        if source.trace is None:
            return identify(source, None)
        digest, size = hashlib.sha256(), 0
        with open_bytes(source.trace) as file:
            while block := file.read(BLOCK_BYTES):
                size += len(block)
                check_size(source.trace, size)
                digest.update(block)
        return identify(source, digest.hexdigest())
    except _UNREADABLE:
        return None  # decoding it will report the error


def _companion_sha256(path: Path) -> str:
    """Return the digest of a file as it lies on disk; of a file that is too large or unreadable, of that fact."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > largest_trace_bytes():
                return hashlib.sha256(f"too large: {size}".encode()).hexdigest()
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        return hashlib.sha256(f"unreadable: {e.errno}".encode()).hexdigest()
