"""Bounded reads of the files beside a trace: they are read whole, and a small gzip file may expand without end."""

from __future__ import annotations

import errno
from pathlib import Path

from ridgeline.analyze.reading.reader import BLOCK_BYTES, GZIP_ERRORS, largest_trace_bytes, open_bytes
from ridgeline.analyze.resources.limits import COMPANION_SHARE, STANDARD, Limits


def read_bounded(path: Path, limits: Limits = STANDARD) -> bytes:
    """Return the file's bytes, decompressed.

    Raises ``OSError`` if it cannot be read, or is larger than ``limits.companion_bytes`` or than a trace may be
    (``RIDGELINE_MAX_TRACE_BYTES``).
    """
    most_bytes, remedy = limits.companion_bytes, f"give {COMPANION_SHARE} times that by --memory"
    if largest_trace_bytes() < most_bytes:
        most_bytes, remedy = largest_trace_bytes(), "set RIDGELINE_MAX_TRACE_BYTES"
    blocks: list[bytes] = []
    size = 0
    try:
        with open_bytes(path) as file:
            while block := file.read(BLOCK_BYTES):
                size += len(block)
                if size > most_bytes:  # before the block is kept
                    message = f"more than {most_bytes:,} bytes, as decompressed"
                    raise OSError(errno.EFBIG, f"{message}; if it is meant to be that large, {remedy}", str(path))
                blocks.append(block)
    except GZIP_ERRORS as e:
        if isinstance(e, OSError) and e.strerror:  # BadGzipFile is an OSError, but has no strerror
            raise
        message = f"gzip data cut off or damaged after {size:,} decompressed bytes"
        raise OSError(errno.EILSEQ, message, str(path)) from None
    return b"".join(blocks)
